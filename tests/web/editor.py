"""ComfyUI's graph editor in a real browser, as the tests use it."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

from playwright.sync_api import Locator, Page

# The tour of a first start covers the editor; news about releases would be fetched from the network.
_SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Notification.ShowVersionUpdates": False}

_LIVE = ".isengard-live"

# Everything the live part of a node showed, since it may be over before a test looks.
_RECORD = """() => {
    const live = document.querySelector('.isengard-live');
    const now = () => ({state: live.dataset.state, points: +live.dataset.points, text: live.innerText});
    const note = () => window.seen.push(now());
    window.seen = [];
    new MutationObserver(note).observe(live, {attributes: true, childList: true, subtree: true});
}"""


class Editor:
    """The editor on one page. `messages`: what it wrote to the console as an error or warning, and uncaught errors."""

    def __init__(self, page: Page, url: str):
        self.page = page
        self.url = url
        self.messages: set[str] = set()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.messages.add(self._normal(f"uncaught: {error}")))

    def start(self) -> Editor:
        """Load the page and wait until the editor has its nodes and its first graph."""
        request = urllib.request.Request(
            f"{self.url}/settings", json.dumps(_SETTINGS).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()
        self.page.goto(self.url)
        self.wait("() => !!window.LiteGraph?.registered_node_types.KSampler && window.app?.graph?.nodes.length > 0")
        self.page.locator("[data-testid=queue-button]").wait_for()
        self.page.wait_for_load_state("networkidle")
        return self

    def wait(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument)

    def ask(self, function: str, argument: Any = None) -> Any:
        return self.page.evaluate(function, argument)

    def open(self, workflow: dict, name: str) -> None:
        """Open a workflow in the editor's format in a tab of its own."""
        self.ask("([workflow, name]) => app.loadGraphData(workflow, true, true, name)", [workflow, name])

    def set(self, **values) -> None:
        """Set widgets by the title of their node: set(train__steps=20)."""
        for name, value in values.items():
            title, _, widget = name.partition("__")
            self.ask(
                """([title, name, value]) => {
                    const node = app.graph.nodes.find((node) => node.title === title);
                    const widget = node.widgets.find((widget) => widget.name === name);
                    widget.value = value;
                    widget.callback?.(value);
                }""",
                [title, widget, value],
            )

    def run(self) -> None:
        """Press Run."""
        button = self.page.locator("[data-testid=queue-button]")
        inner = button.locator("button").first  # 1.32.9: a split button around it
        (inner if inner.count() else button).click()

    def cancel(self) -> None:
        """Press the button that interrupts."""
        self.page.get_by_label("Cancel current run").first.click()

    def record(self) -> None:
        """From now on keep what the train node shows; `seen` gives it back."""
        self.ask(_RECORD)

    def seen(self) -> list[dict[str, Any]]:
        return self.ask("() => window.seen")

    @property
    def live(self) -> Locator:
        return self.page.locator(_LIVE)

    def wait_for_state(self, state: str) -> None:
        """Until the live part of the train node shows that state; an error box in the editor ends the wait."""
        self.wait(
            """(state) => {
                const shown = document.querySelector('.isengard-live')?.dataset.state;
                const failed = app.lastExecutionError || Object.keys(app.lastNodeErrors ?? {}).length;
                if (failed) throw new Error(JSON.stringify(app.lastExecutionError || app.lastNodeErrors));
                return shown === state;
            }""",
            state,
        )

    def _on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            place = message.location["url"] if message.text.startswith("Failed to load resource") else ""
            self.messages.add(self._normal(f"{message.type}: {message.text} {place}"))

    def _normal(self, text: str) -> str:
        """Without what differs from server to server: its address, and ids in queries."""
        text = text.replace(self.url, "").strip()
        return re.sub(r"(clientId|rand|t)=[\w.-]+", r"\1=…", text)
