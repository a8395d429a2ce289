"""The character room's door to ComfyUI."""

import tempfile
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ...trainers import lora_file
from ..names import confined, unused
from ..sockets import CHARACTER, CHOICE, DATASET, LORA_MODEL, RUN
from ..training.base_model import base_model_of
from . import archive, loras, pictures, records
from .library import Library


class SaveCharacter(io.ComfyNode):
    """Keep a character, or change what is kept of it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSaveCharacter",
            display_name="Save Character",
            category="Isengard/characters",
            description="Keep a character in the library: a new one, or what is filled in of one of that name.",
            is_output_node=True,
            inputs=[
                io.String.Input("name", default="", tooltip="Who it is. The same name finds the same character again."),
                io.String.Input(
                    "trigger", default="", tooltip="The word that means the character in captions and prompts."
                ),
                io.String.Input("class_noun", default="", tooltip="What the character is: woman, man, dog, robot."),
                io.String.Input("description", default="", multiline=True, tooltip="How it looks, for people."),
                io.String.Input("notes", default="", multiline=True, tooltip="Whatever you want to remember."),
                DATASET.Input(
                    "references", optional=True, tooltip="Its pictures are added; one that is there is not added twice."
                ),
            ],
            outputs=[CHARACTER.Output(display_name="character")],
        )

    @classmethod
    def execute(cls, name, trigger, class_noun, description, notes, references=None):
        characters = library()
        stored = characters.put(name, trigger=trigger, class_noun=class_noun, description=description, notes=notes)
        if references is not None:
            stored = pictures.add(characters, stored.character.slug, references)
        return io.NodeOutput(stored.character, ui=ui.PreviewText(records.in_short(stored.character)))


class LoadCharacter(io.ComfyNode):
    """A character of the library."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardLoadCharacter",
            display_name="Load Character",
            category="Isengard/characters",
            description="A character of the library, with its words and its reference pictures.",
            inputs=[io.Combo.Input("character", options=library().slugs(), tooltip="By its folder's name.")],
            outputs=[
                CHARACTER.Output(display_name="character"),
                DATASET.Output(display_name="references", tooltip="Its pictures with their captions."),
                io.String.Output(display_name="trigger"),
                io.String.Output(display_name="class_noun"),
                io.String.Output(display_name="description"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, character):
        return library().get(character).etag if character in library().slugs() else float("nan")

    @classmethod
    def execute(cls, character):
        found = library().get(character).character
        references = pictures.dataset_of(library(), found)
        return io.NodeOutput(found, references, found.trigger, found.class_noun, found.description)


class ListCharacters(io.ComfyNode):
    """All characters of the library."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardListCharacters",
            display_name="List Characters",
            category="Isengard/characters",
            description="Every character of the library, one by one for the nodes after it, and as a text.",
            inputs=[],
            outputs=[
                CHARACTER.Output(display_name="characters", is_output_list=True),
                io.String.Output(display_name="text"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls):
        return float("nan")  # looked at every time

    @classmethod
    def execute(cls):
        found = [library().get(slug).character for slug in library().slugs()]
        return io.NodeOutput(found, "\n".join(map(records.in_short, found)))


class AddCharacterLora(io.ComfyNode):
    """Keep a trained LoRA as a character's next version."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardAddCharacterLora",
            display_name="Add LoRA to Character",
            category="Isengard/characters",
            description="Keep a LoRA that was trained as the character's next version, with the run that trained it.",
            is_output_node=True,
            inputs=[
                CHARACTER.Input("character", tooltip="From Save Character or Load Character."),
                LORA_MODEL.Input("lora", tooltip="From Train Character LoRA or Pick Best."),
                RUN.Input("run", tooltip="From Train Character LoRA, or from Pick Best with its LoRA."),
                io.Combo.Input(
                    "precision", options=list(lora_file.PRECISIONS), default="fp16", tooltip="Of the weights."
                ),
                io.String.Input("note", default="", tooltip="What is special about this version."),
                CHOICE.Input("choice", optional=True, tooltip="From Pick Best: its scores are kept with the version."),
            ],
            outputs=[
                CHARACTER.Output(display_name="character"),
                io.String.Output(display_name="version", tooltip="v1, v2, …"),
            ],
        )

    @classmethod
    def execute(cls, character, lora, run, precision, note, choice=None):
        said = lora_file.metadata(lora, run, base_model_of(run), character.trigger)
        with tempfile.TemporaryDirectory(dir=library().root, prefix=".new-") as folder:
            file = Path(folder) / "lora.safetensors"
            lora_file.save(lora, file, precision, said)
            about = {"run": run.id, "base": run.base_hash, "note": note, "scores": choice.scores if choice else {}}
            stored = library().add_version(character.slug, file, **about)
        added = stored.character.versions[-1].id
        return io.NodeOutput(stored.character, added, ui=ui.PreviewText(f"{stored.character.name}: {added}"))


class ChooseCharacterVersion(io.ComfyNode):
    """Which of a character's LoRAs is used from now on."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardChooseCharacterVersion",
            display_name="Choose Character Version",
            category="Isengard/characters",
            description="Say which of a character's LoRAs is used from now on.",
            is_output_node=True,
            inputs=[
                CHARACTER.Input("character", tooltip="From Load Character."),
                io.String.Input("version", default="", tooltip="v1, v2, …; empty: always the latest."),
            ],
            outputs=[CHARACTER.Output(display_name="character")],
        )

    @classmethod
    def execute(cls, character, version):
        return io.NodeOutput(library().choose(character.slug, version.strip()).character)


class CharacterLora(io.ComfyNode):
    """A character's LoRA, for core's LoRA nodes."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCharacterLora",
            display_name="Character LoRA",
            category="Isengard/characters",
            description="The LoRA of a character: the chosen version, the latest, or one by its name.",
            inputs=[
                CHARACTER.Input("character", tooltip="From Load Character."),
                io.String.Input("version", default="", tooltip="v1, v2, …; empty: the chosen one, else the latest."),
            ],
            outputs=[
                LORA_MODEL.Output(display_name="lora", tooltip="For core's Load LoRA Model, or to train on."),
                io.String.Output(display_name="version"),
            ],
        )

    @classmethod
    def execute(cls, character, version):
        found = loras.read(library(), character, version.strip())
        return io.NodeOutput(found.weights, found.version.id)


class ExportCharacter(io.ComfyNode):
    """A character as one file."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardExportCharacter",
            display_name="Export Character",
            category="Isengard/characters",
            description="Write a character with its pictures and LoRAs as one zip file below ComfyUI's output folder.",
            is_output_node=True,
            inputs=[CHARACTER.Input("character", tooltip="From Load Character.")],
            outputs=[io.String.Output(display_name="path", tooltip="Below ComfyUI's output folder.")],
        )

    @classmethod
    def execute(cls, character):
        root = Path(folder_paths.get_output_directory()).resolve()
        file = unused(root / "isengard" / "characters" / f"{character.slug}.zip")
        file.parent.mkdir(parents=True, exist_ok=True)
        archive.write(library(), character.slug, file)
        written = file.relative_to(root).as_posix()
        return io.NodeOutput(written, ui=ui.PreviewText(written))


class ImportCharacter(io.ComfyNode):
    """A character from a file that Export Character wrote."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardImportCharacter",
            display_name="Import Character",
            category="Isengard/characters",
            description="Add the character of a zip file, beside those that are there.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "file", options=_archives(), tooltip="A zip file in ComfyUI's input folder, by Export Character."
                )
            ],
            outputs=[CHARACTER.Output(display_name="character")],
        )

    @classmethod
    def execute(cls, file):
        stored = archive.read(library(), confined(_input(), file, "file"))
        return io.NodeOutput(stored.character, ui=ui.PreviewText(records.in_short(stored.character)))


def library() -> Library:
    """Of the one user that ComfyUI has unless it is started with several."""
    return Library(Path(folder_paths.get_user_directory()) / "default" / "isengard" / "characters")


def _input() -> Path:
    return Path(folder_paths.get_input_directory())


def _archives() -> list[str]:
    return sorted(file.name for file in _input().glob("*.zip"))


NODES: list[type[io.ComfyNode]] = [
    SaveCharacter,
    LoadCharacter,
    ListCharacters,
    AddCharacterLora,
    ChooseCharacterVersion,
    CharacterLora,
    ExportCharacter,
    ImportCharacter,
]
