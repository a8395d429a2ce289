"""A browser for the tests of this folder: Chromium, one process for all of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from isengard.tests.web.editor import Editor

BUILD = Path(__file__).resolve().parents[2] / "build"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the same with and without a network
]


@pytest.fixture(scope="module")
def browser():
    """Chromium. Without one the tests are skipped, and in CI they fail.

    Not for the whole session: while Playwright runs, no other test can call asyncio.run.
    """
    path = os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, _NAMES)), None)
    if not path:
        message = "there is no Chromium. Install one (apt install chromium), or name it in CHROMIUM_PATH."
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_editor(browser):
    """Opens the editor of a server, in a browser profile of its own."""
    contexts = []

    def open_(url: str) -> Editor:
        contexts.append(browser.new_context(viewport={"width": 1600, "height": 1000}, locale="en-US"))
        contexts[-1].set_default_timeout(30_000)
        return Editor(contexts[-1].new_page(), url).start()

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def shared_editor(open_editor, comfyui):
    return open_editor(comfyui.url)


@pytest.fixture
def editor(shared_editor, request):
    """The editor of the shared server. A failed test leaves a picture of it in build/, and the next a fresh page."""
    yield shared_editor
    if getattr(request.node, "failed", False):
        BUILD.mkdir(exist_ok=True)
        shared_editor.page.screenshot(path=BUILD / f"{request.node.name}.png")
        shared_editor.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.failed = getattr(item, "failed", False) or report.failed
    return report
