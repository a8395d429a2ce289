"""The caption room's door to ComfyUI."""

from contextlib import suppress

from comfy_api.latest import io, ui

from ...sota import registry
from ..characters.nodes import library
from ..characters.records import Character, CharacterError
from ..progress import progress
from ..sockets import CHARACTER, DATASET
from . import checks, edits, given, rules, templates

ANY = "any"


class CaptionByTemplate(io.ComfyNode):
    """Captions put together of the trigger, tags and what else is known of a picture."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCaptionByTemplate",
            display_name="Caption by Template",
            category="Isengard/dataset/captions",
            description="Write every picture's caption by a template, of the trigger, the class noun, its tags and the "
            "caption it has.",
            inputs=[
                DATASET.Input("dataset", tooltip="The pictures."),
                io.String.Input(
                    "template",
                    default="{trigger} {class}, {caption}",
                    multiline=True,
                    dynamic_prompts=False,  # its braces are fields
                    tooltip="Fields: " + ", ".join(f"{{{field}}} ({what})" for field, what in templates.FIELDS.items()),
                ),
                CHARACTER.Input("character", optional=True, tooltip="Gives trigger and class noun."),
                io.String.Input(
                    "trigger", optional=True, default="", tooltip="In the place of the character's, if it is filled in."
                ),
                io.String.Input(
                    "class_noun", optional=True, default="", tooltip="In the place of the character's, if filled in."
                ),
            ],
            outputs=[DATASET.Output(display_name="dataset")],
        )

    @classmethod
    def execute(cls, dataset, template, character=None, trigger="", class_noun=""):
        who = checks.subject(character, trigger, class_noun)
        return io.NodeOutput(templates.by_template(dataset, template, who.trigger, who.class_noun, progress()))


class CaptionFromText(io.ComfyNode):
    """What a captioner says of the pictures, as their captions."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCaptionFromText",
            display_name="Caption from Text",
            category="Isengard/dataset/captions",
            description="Take captions from texts that another node gives, one for each picture: from any captioner or "
            "tagger.",
            inputs=[
                DATASET.Input("dataset", tooltip="The pictures, of which Dataset to Images made the captioner's."),
                io.String.Input(
                    "texts", force_input=True, tooltip="One for each picture, in the order of Dataset to Images."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(given.MODES),
                    default=given.REPLACE,
                    tooltip="Instead of the captions that are there, at the end of each, or as one more.",
                ),
            ],
            outputs=[DATASET.Output(display_name="dataset")],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, dataset, texts, mode):
        return io.NodeOutput(given.captioned(dataset[0], texts, mode[0]))


class EditCaptions(io.ComfyNode):
    """Captions changed by rules, a line each."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardEditCaptions",
            display_name="Edit Captions",
            category="Isengard/dataset/captions",
            description="Change captions by rules, one a line: add, remove, replace and order tags and phrases.",
            is_output_node=True,
            inputs=[
                DATASET.Input("dataset", tooltip="The pictures."),
                io.String.Input(
                    "rules",
                    default="once",
                    multiline=True,
                    dynamic_prompts=False,  # braces stay as they are
                    tooltip="Such as:\n" + "\n".join(rules.EXAMPLES) + "\nLines that begin with # are none.",
                ),
                io.String.Input(
                    "only_with",
                    optional=True,
                    default="",
                    tooltip="Only pictures that have this tag, or all of these between commas; empty: all pictures.",
                ),
            ],
            outputs=[
                DATASET.Output(display_name="dataset"),
                io.String.Output(display_name="changes", tooltip="What each rule did, and captions before and after."),
            ],
        )

    @classmethod
    def execute(cls, dataset, rules, only_with=""):
        edited = edits.edit(dataset, rules, only_with, progress())
        said = edits.in_words(edited)
        return io.NodeOutput(edited.dataset, said, ui=ui.PreviewText(said))


class CheckCaptions(io.ComfyNode):
    """What in the captions keeps the trigger from learning."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCheckCaptions",
            display_name="Check Captions",
            category="Isengard/dataset/captions",
            description="Find what in the captions keeps the trigger from learning the character, and slips: phrases "
            "that are always there, other names, a missing trigger, empty, doubled and too long captions.",
            is_output_node=True,
            inputs=[
                DATASET.Input("dataset", tooltip="The pictures with their captions."),
                CHARACTER.Input("character", optional=True, tooltip="Gives trigger, class noun, name and description."),
                io.String.Input(
                    "trigger", optional=True, default="", tooltip="In the place of the character's, if it is filled in."
                ),
                io.String.Input(
                    "class_noun",
                    optional=True,
                    default="",
                    tooltip="What the character is, such as woman. In the place of the character's, if filled in.",
                ),
                io.Combo.Input(
                    "family",
                    optional=True,
                    options=[ANY, *registry.families()],
                    default=ANY,
                    tooltip="The model that is trained: whether it wants tags or sentences, and how long they may be.",
                ),
                io.Clip.Input("clip", optional=True, tooltip="Counts tokens. Without it the length is not checked."),
                io.Float.Input(
                    "share",
                    optional=True,
                    default=0.8,
                    min=0.05,
                    max=1.0,
                    step=0.05,
                    tooltip="A phrase in so many of the captions competes with the trigger.",
                ),
                io.Boolean.Input(
                    "fix",
                    optional=True,
                    default=False,
                    tooltip="Take out phrases that compete and doubled tags, and add the trigger where it is missing.",
                ),
            ],
            outputs=[
                DATASET.Output(display_name="dataset", tooltip="Fixed, or as it was."),
                DATASET.Output(display_name="flagged", tooltip="The pictures with findings; they stay in dataset too."),
                io.String.Output(display_name="report", tooltip="What was found, worst first."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return str([(each.slug, each.name, each.trigger) for each in _other_characters()])  # which are looked for

    @classmethod
    def execute(cls, dataset, character=None, trigger="", class_noun="", family=ANY, clip=None, share=0.8, fix=False):
        who = checks.subject(character, trigger, class_noun)
        known = None if family == ANY else registry.families()[family]
        result = checks.run(dataset, who, _other_characters(), known, clip, share, fix, progress())
        return io.NodeOutput(result.dataset, result.flagged, result.report, ui=ui.PreviewText(result.report))


def _other_characters() -> list[Character]:
    """All of the library but for damaged ones, which are not this node's; a character's own words are told from the
    others' by themselves."""
    found = []
    for slug in library().slugs():
        with suppress(CharacterError):
            found.append(library().get(slug).character)
    return found


NODES: list[type[io.ComfyNode]] = [CaptionByTemplate, CaptionFromText, EditCaptions, CheckCaptions]
