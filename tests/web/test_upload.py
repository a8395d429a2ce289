"""Data sets that are uploaded on the Load Dataset node, in a real browser on a real ComfyUI."""

from __future__ import annotations

import re
import time
import uuid
import zipfile
from contextlib import contextmanager

import pytest
from PIL import Image
from playwright.sync_api import Route

pytestmark = [pytest.mark.comfyui, pytest.mark.browser]

PIECE = re.compile(r"/isengard/datasets/uploads/\w+\?from=\d+")
END = re.compile(r"/isengard/datasets/uploads/\w+$")

# a workflow with two nodes that load data sets; what other nodes there are does not matter
OPEN = """(id) => {
    const node = (id, x) => ({id, type: "IsengardLoadDataset", pos: [x, 200], size: [320, 260], flags: {}, order: 0,
        mode: 0, title: `load ${id}`, inputs: [], outputs: [], properties: {},
        widgets_values: ["[sample] Mira", "", true, false, "white"]});
    const nodes = [node(1, 100), node(2, 500)];
    return app.loadGraphData({id, version: 0.4, last_node_id: 2, last_link_id: 0, nodes, links: [], groups: []},
        true, true, id);
}"""

# those of the workflow that was open before may still be there
SHOWN = """() => {
    const ours = app.graph.nodes.map((node) => node.widgets.find((widget) => widget.name === "upload").element);
    const shown = [...document.querySelectorAll(".isengard-upload")];
    return shown.length === 2 && shown.every((element) => ours.includes(element));
}"""


class Loader:
    """The two Load Dataset nodes of an open workflow: what is done with the first, and what both show."""

    def __init__(self, editor, folder):
        self.editor, self.page, self.input = editor, editor.page, folder
        self.workflow = str(uuid.uuid4())
        self.page.on("filechooser", lambda chooser: None)  # Playwright is late to catch them where nobody listens yet
        self.open(self.workflow)

    def open(self, workflow: str) -> None:
        self.editor.ask(OPEN, workflow)
        self.editor.wait(SHOWN)

    @property
    def part(self):
        """Of the node at the left."""
        parts = self.page.locator(".isengard-upload")
        return min((parts.nth(place) for place in range(parts.count())), key=lambda part: part.bounding_box()["x"])

    def button(self, text: str):
        return self.part.get_by_role("button", name=text)

    def choose(self, button: str, path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.button(button).click()
        chooser.value.set_files(path)

    def wait_for(self, state: str) -> str:
        """Gives what the node says then."""
        self.page.wait_for_function(
            "(state) => [...document.querySelectorAll('.isengard-upload')].some((one) => one.dataset.state === state)",
            arg=state,
        )
        return self.part.get_by_role("status").inner_text()

    def wait_for_folder(self, name: str) -> None:
        """Until it is chosen in the first node."""
        self.editor.wait("(name) => app.graph.getNodeById(1).widgets[0].value === name", name)

    def folders(self, node: int) -> list[str]:
        """That a node lets choose from."""
        return self.editor.ask("(node) => app.graph.getNodeById(node).widgets[0].options.values", node)

    def visible(self, name: str) -> bool:
        """Whether there is such a folder on the server."""
        return (self.input / name).exists()

    def half_made(self) -> list[str]:
        """Waits a moment for what is being removed."""
        for _ in range(100):
            found = [path.name for path in self.input.iterdir() if path.name.startswith(".")]
            if not found:
                break
            time.sleep(0.05)
        return found

    def let_one_through(self, waiting: list[Route]) -> None:
        while not waiting:
            self.page.wait_for_timeout(20)
        waiting.pop(0).continue_()

    @contextmanager
    def held(self):
        """While in it, pieces do not get through; gives their requests."""
        waiting: list[Route] = []
        self.page.route(PIECE, lambda route: waiting.append(route))
        try:
            yield waiting
        finally:
            self.page.unroute(PIECE)  # which lets them through


@pytest.fixture
def loader(editor, comfyui):
    return Loader(editor, comfyui.base / "input")


@pytest.fixture
def hero(tmp_path, request):
    """A folder with pictures, captions and other things, that has a name of its own."""
    folder = tmp_path / re.sub(r"\W+", " ", request.node.name).strip()[:60]
    for name in ("01.png", "02.png", "face/03.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 64), 50).save(folder / name)
        (folder / name).with_suffix(".txt").write_text(f"mira, {name}")
    (folder / "notes.docx").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "04.png").write_bytes(b"x")
    return folder


@pytest.fixture
def large(hero):
    """The same with files that make several pieces: they begin with 1 MB and grow."""
    for number in range(4):
        (hero / f"large {number}.bmp").write_bytes(bytes(range(256)) * 2**12 * (number + 1))
    return hero


def packed(folder, file):
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder.parent))
    return file


def contents(folder) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def expected(folder) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if name[0] != "." and not name.endswith("docx")}


def test_a_folder_is_uploaded_and_chosen(loader, hero):
    loader.choose("Upload folder…", hero)
    assert loader.wait_for("done") == f"Uploaded {hero.name}: 3 pictures. 1 file left out: notes.docx."
    loader.wait_for_folder(hero.name)
    assert contents(loader.input / hero.name) == expected(hero)
    for node in (1, 2):
        assert hero.name in loader.folders(node)
    assert loader.editor.ask("() => app.graph.getNodeById(2).widgets[0].value") == "[sample] Mira"
    assert loader.half_made() == []


def test_a_new_node_has_it_in_its_list_too(loader, hero):
    loader.choose("Upload folder…", hero)
    loader.wait_for_folder(hero.name)
    new = "() => LiteGraph.createNode('IsengardLoadDataset').widgets[0].options.values"
    assert hero.name in loader.editor.ask(new)


def test_a_zip_is_uploaded_and_chosen(loader, hero, tmp_path):
    loader.choose("Upload zip…", packed(hero, tmp_path / f"{hero.name} packed.zip"))
    assert "Uploaded" in loader.wait_for("done")
    loader.wait_for_folder(f"{hero.name} packed")
    assert contents(loader.input / f"{hero.name} packed") == expected(hero)


def test_files_of_several_pieces_arrive_whole(loader, large, tmp_path):
    pieces = []
    loader.page.on("request", lambda request: pieces.append(request.url) if PIECE.search(request.url) else None)
    loader.choose("Upload folder…", large)
    loader.wait_for_folder(large.name)
    assert contents(loader.input / large.name) == expected(large)
    assert 3 <= len(pieces) <= 10, "1, 2, 4 and 8 MB, on a slow machine less"
    loader.choose("Upload zip…", packed(large, tmp_path / f"{large.name} packed.zip"))
    loader.wait_for_folder(f"{large.name} packed")
    assert contents(loader.input / f"{large.name} packed") == expected(large)


def test_the_same_again_gets_a_number(loader, hero):
    for name in (hero.name, f"{hero.name}-2"):
        loader.choose("Upload folder…", hero)
        loader.wait_for_folder(name)


def test_many_files_are_uploaded(loader, hero):
    for number in range(500):
        (hero / f"n{number}.png").write_bytes(b"%d" % number)
    loader.choose("Upload folder…", hero)
    assert "503 pictures" in loader.wait_for("done")
    assert contents(loader.input / hero.name) == expected(hero)


def test_progress_is_shown(loader, large):
    with loader.held() as waiting:
        loader.choose("Upload folder…", large)
        assert loader.wait_for("sending") == "Uploading …"
        assert loader.part.locator(".isengard-upload-count").inner_text() == "0 of 10 files"
        bar = loader.part.get_by_role("progressbar", name="Upload of the data set")
        assert (bar.get_attribute("value"), bar.is_visible()) == ("0", True)
        assert loader.button("Upload folder…").count() == 0, "a second upload at the same time"
        loader.let_one_through(waiting)
        loader.editor.wait("() => document.querySelector('.isengard-upload progress[value]')?.value === 2 ** 20")
        assert re.fullmatch(r"\d of 10 files", loader.part.locator(".isengard-upload-count").inner_text())
        assert not loader.visible(large.name)
        assert large.name not in loader.folders(1)
    loader.wait_for("done")


def test_cancelling_leaves_nothing(loader, large):
    with loader.held() as waiting:
        loader.choose("Upload folder…", large)
        loader.wait_for("sending")
        loader.let_one_through(waiting)
        loader.button("Cancel").click()
        assert loader.wait_for("cancelled") == "Cancelled. Nothing of it was kept."
    assert not loader.visible(large.name)
    assert loader.half_made() == []
    loader.choose("Upload folder…", large)
    loader.wait_for_folder(large.name)


def test_what_the_server_refuses_is_shown(loader, tmp_path):
    (tmp_path / "evil.zip").write_bytes(b"no zip at all")
    loader.choose("Upload zip…", tmp_path / "evil.zip")
    assert "This is no zip file that can be read" in loader.wait_for("failed")
    assert not loader.visible("evil")
    assert loader.half_made() == []
    assert loader.button("Upload zip…").is_visible(), "it may be tried again"


def test_a_long_message_can_be_read(loader, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / f"{'a very long name ' * 12}?.png").write_bytes(b"x")
    loader.choose("Upload folder…", tmp_path / "odd")
    message = loader.wait_for("failed")
    assert message.endswith("Choose another name.")
    assert loader.part.get_attribute("title") == message
    status = loader.part.get_by_role("status")
    before = loader.editor.ask("() => app.canvas.ds.scale")
    status.hover()
    loader.page.mouse.wheel(0, 40)
    loader.page.wait_for_function(
        "() => document.querySelector('.isengard-upload[data-state=failed]').lastChild.scrollTop"
    )
    assert loader.editor.ask("() => app.canvas.ds.scale") == before


def test_a_folder_without_pictures_is_told_before_it_is_sent(loader, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.docx").write_bytes(b"x")
    with loader.held() as waiting:
        loader.choose("Upload folder…", tmp_path / "papers")
        assert "There is no picture among 1 files: papers/a.docx" in loader.wait_for("failed")
        assert waiting == []


def test_a_connection_that_fails_for_a_moment_does_no_harm(loader, hero):
    failed = []

    def fail_twice(route: Route) -> None:
        if len(failed) < 2:
            failed.append(route)
            route.abort("connectionreset")
        else:
            route.continue_()

    loader.page.route(PIECE, fail_twice)
    try:
        loader.choose("Upload folder…", hero)
        loader.wait_for_folder(hero.name)
    finally:
        loader.page.unroute(PIECE)
    assert contents(loader.input / hero.name) == expected(hero)
    assert len(failed) == 2


def test_a_proxy_that_does_not_wait_for_the_end_does_no_harm(loader, hero):
    asked = []

    def give_up_once(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.fetch().status)
        if asked == [201]:
            route.fulfill(status=504, body="<h1>Gateway Time-out</h1>")
        else:
            route.fallback()

    loader.page.route(END, give_up_once)
    try:
        loader.choose("Upload folder…", hero)
        loader.wait_for_folder(hero.name)
    finally:
        loader.page.unroute(END)
    assert asked == [201, 201]
    assert contents(loader.input / hero.name) == expected(hero)
    assert not loader.visible(f"{hero.name}-2")


def test_a_file_that_is_changed_meanwhile_is_named(loader, large):
    with loader.held() as waiting:
        loader.choose("Upload folder…", large)
        loader.wait_for("sending")
        while not waiting:  # so that the first piece has been read
            loader.page.wait_for_timeout(20)
        time.sleep(0.01)
        (large / "large 3.bmp").write_bytes(b"another")
    assert "large 3.bmp cannot be read any more" in loader.wait_for("failed")
    assert not loader.visible(large.name)
    assert loader.half_made() == []


def drop(loader, x: float, y: float, *paths) -> None:
    """As from a window of the system."""
    session = loader.page.context.new_cdp_session(loader.page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})
        loader.page.wait_for_timeout(50)
    session.detach()


def on_the_part(loader) -> tuple[float, float]:
    box = loader.part.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] - 12


def on_the_title(loader) -> tuple[float, float]:
    return tuple(
        loader.editor.ask(
            """() => {
                const node = app.graph.getNodeById(1);
                const [x, y] = app.canvas.convertOffsetToCanvas([node.pos[0] + 100, node.pos[1] - 12]);
                const canvas = app.canvas.canvas.getBoundingClientRect();
                return [x + canvas.left, y + canvas.top];
            }"""
        )
    )


def took_nothing_itself(editor) -> bool:
    """Whether the editor left the files to the node: it opens what it can, and complains of the rest."""
    complaints = editor.page.locator(".p-toast-message-warn, .p-toast-message-error")
    return editor.ask("() => app.graph.nodes.length") == 2 and not complaints.count()


@pytest.mark.parametrize("place", [on_the_part, on_the_title])
def test_a_folder_is_dropped(loader, hero, place):
    for number in range(150):  # a browser tells a hundred at a time
        (hero / f"{number:03}.txt").write_text("mira")
    drop(loader, *place(loader), hero)
    loader.wait_for_folder(hero.name)
    assert contents(loader.input / hero.name) == expected(hero)


def test_a_zip_is_dropped(loader, hero, tmp_path):
    drop(loader, *on_the_part(loader), packed(hero, tmp_path / f"{hero.name}.zip"))
    loader.wait_for_folder(hero.name)
    assert took_nothing_itself(loader.editor)
    assert contents(loader.input / hero.name) == expected(hero)


@pytest.mark.parametrize("place", [on_the_part, on_the_title])
def test_pictures_are_dropped(loader, hero, place):
    drop(loader, *place(loader), hero / "01.png", hero / "02.png", hero / "02.txt")
    assert re.fullmatch(r"Uploaded dataset(-\d+)?: 2 pictures\.", loader.wait_for("done"))
    loader.page.wait_for_timeout(500)
    assert took_nothing_itself(loader.editor)


def test_a_workflow_that_is_dropped_is_opened(loader, tmp_path):
    """As anywhere else in the editor."""
    (tmp_path / "flow.json").write_text('{"nodes": [], "links": [], "version": 0.4, "last_node_id": 0}')
    drop(loader, *on_the_title(loader), tmp_path / "flow.json")
    loader.editor.wait("() => app.graph.nodes.length === 0")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_buttons_work_with_the_keyboard(loader, hero, key):
    loader.button("Upload folder…").focus()
    with loader.page.expect_file_chooser() as chooser:
        loader.page.keyboard.press(key)
    chooser.value.set_files(hero)
    loader.wait_for_folder(hero.name)
    loader.button("Upload folder…").focus()
    loader.page.keyboard.press("Tab")
    assert loader.editor.ask("() => document.activeElement.textContent") == "Upload zip…"


def test_an_upload_goes_on_when_another_workflow_is_opened(loader, hero):
    with loader.held() as waiting:
        loader.choose("Upload folder…", hero)
        loader.wait_for("sending")
        while not waiting:
            loader.page.wait_for_timeout(20)
        loader.open(str(uuid.uuid4()))
        loader.page.wait_for_function(
            "() => [...document.querySelectorAll('.isengard-upload')].every((one) => one.dataset.state === 'idle')"
        )
    loader.editor.wait("(name) => app.graph.getNodeById(1).widgets[0].options.values.includes(name)", hero.name)
    loader.page.wait_for_timeout(300)  # all that the end of an upload does is done
    assert loader.editor.ask("() => app.graph.getNodeById(1).widgets[0].value") == "[sample] Mira"
    loader.open(loader.workflow)
    loader.wait_for_folder(hero.name)
    assert "3 pictures" in loader.wait_for("done")


def test_an_upload_ends_with_the_page(open_editor, comfyui, hero):
    loader = Loader(open_editor(comfyui.url), comfyui.base / "input")
    waiting: list[Route] = []
    loader.page.route(PIECE, lambda route: waiting.append(route))
    loader.choose("Upload folder…", hero)
    loader.wait_for("sending")
    loader.page.goto("about:blank")
    assert loader.half_made() == []
    assert not loader.visible(hero.name)


def test_it_works_with_nodes_2(loader, hero, tmp_path):
    switch = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    loader.editor.ask(switch, True)
    try:
        loader.page.locator(".lg-node .isengard-upload").first.wait_for()
        loader.choose("Upload folder…", hero)
        loader.wait_for_folder(hero.name)
        box = loader.part.bounding_box()
        assert box["height"] > 60
        file = packed(hero, tmp_path / f"{hero.name} dropped.zip")
        drop(loader, box["x"] + box["width"] / 2, box["y"] + box["height"] - 12, file)
        loader.wait_for_folder(f"{hero.name} dropped")
        assert contents(loader.input / f"{hero.name} dropped") == expected(hero)
    finally:
        loader.editor.ask(switch, False)


def test_nothing_of_it_is_saved(loader, hero):
    loader.choose("Upload folder…", hero)
    loader.wait_for_folder(hero.name)
    saved = loader.editor.ask("() => app.graph.getNodeById(1).serialize().widgets_values")
    assert saved == [hero.name, "", True, False, "white"]


def test_what_is_chosen_afterwards_stays(loader, hero):
    """Also when the editor makes the nodes anew, as it does for Undo."""
    loader.choose("Upload folder…", hero)
    loader.wait_for_folder(hero.name)
    again = """async () => {
        app.graph.getNodeById(1).widgets[0].value = "[sample] Mira";
        await app.loadGraphData(app.graph.serialize(), true, true);
        return app.graph.getNodeById(1).widgets[0].value;
    }"""
    assert loader.editor.ask(again) == "[sample] Mira"
    assert "3 pictures" in loader.wait_for("done"), "what became of the upload is still told"
