"""The scene room's door to ComfyUI."""

import functools

from comfy_api.latest import io, ui

from ..captions import tokens
from ..dataset import images
from ..sampling import prompts, wildcards
from ..sampling.nodes import character_inputs, etag_of, lists, lora_of
from ..sockets import SCENE_CHARACTER
from . import comfy_scene, notes, places, regions
from .comfy_scene import Blend, SceneCharacter


class SceneCharacterNode(io.ComfyNode):
    """Somebody in a scene."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSceneCharacter",
            display_name="Scene Character",
            category="Isengard/sampling",
            description="A character for a Scene: its LoRA, its own words and, where a mask is connected, its place.",
            inputs=[
                *character_inputs(),
                io.String.Input(
                    "prompt", multiline=True, default="{trigger} {class}",
                    tooltip="The character's own words: who it is, what it wears and does. {trigger}, {class}, "
                    "{description}, {a|b} and __lists__ as in Character Prompt.",
                ),
                io.Float.Input(
                    "strength", default=1.0, min=-10.0, max=10.0, step=0.05, tooltip="Of the LoRA. 0: the base alone."
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=False,
                    tooltip="Of the prompt's choices.",
                ),
                io.Mask.Input(
                    "mask", optional=True,
                    tooltip="Where it stands, of the scene's shape. Without one the scene's layout says it.",
                ),
            ],
            outputs=[
                SCENE_CHARACTER.Output(display_name="scene_character"),
                io.String.Output(display_name="prompt"),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, name, **inputs):
        return etag_of(name) + wildcards.fingerprint(lists())

    @classmethod
    def execute(cls, name, prompt, strength, seed, character=None, version="", mask=None):
        lora = lora_of(name, character, version)
        who = lora.character
        values = {"trigger": who.trigger, "class": who.class_noun, "description": who.description}
        text = prompts.filled(prompt, values, functools.partial(wildcards.lines, lists()), seed)
        return io.NodeOutput(SceneCharacter(lora, text, strength, mask), text)


class Scene(io.ComfyNode):
    """Several characters in one picture."""

    @classmethod
    def define_schema(cls):
        more = [SCENE_CHARACTER.Input(f"character_{n}", optional=True, tooltip="From Scene Character.") for n in (3, 4)]
        return io.Schema(
            node_id="IsengardScene",
            display_name="Scene",
            category="Isengard/sampling",
            description="Two to four characters in one picture, each in its own region with its own LoRA and words. "
            "What comes out goes into any sampler.",
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The base, without the characters' LoRAs."),
                io.Clip.Input("clip", tooltip="The model's text encoder."),
                SCENE_CHARACTER.Input("character_1", tooltip="From Scene Character."),
                SCENE_CHARACTER.Input("character_2", tooltip="From Scene Character."),
                *more,
                io.String.Input(
                    "prompt", multiline=True, default="",
                    tooltip="Of the whole: the place, the light, how many there are. No triggers.",
                ),
                io.String.Input("negative", multiline=True, default="", tooltip="The negative prompt."),
                io.Int.Input("width", default=1024, min=64, max=8192, step=16, tooltip="Of the picture, in pixels."),
                io.Int.Input("height", default=1024, min=64, max=8192, step=16, tooltip="Of the picture, in pixels."),
                io.String.Input(
                    "boxes", multiline=True, default="",
                    tooltip="Where everybody stands: a line each of left, top, width and height in percent. Drag the "
                    "boxes below. Empty: side by side.",
                ),
                io.Combo.Input(
                    "overlap", options=list(regions.OVERLAPS), default=regions.REFUSE,
                    tooltip="Of regions: refused, or the one of the lower number takes what both want.",
                ),
                io.Float.Input(
                    "whole", default=0.2, min=0.0, max=10.0, step=0.05,
                    tooltip="How much the prompt of the whole counts inside the regions, where a region counts 1.",
                ),
                io.Float.Input(
                    "until", default=0.15, min=0.0, max=1.0, step=0.05,
                    tooltip="Up to which share of the steps it does. Less is faster, more ties the regions together.",
                ),
                io.Int.Input(
                    "feather", default=16, min=0, max=256, tooltip="Soft edge of the regions, in pixels."
                ),
                io.Image.Input(
                    "layout", optional=True,
                    tooltip="A drawn layout: a colour for each region, on black; from left to right they are those of "
                    "character_1, character_2, … It counts before the boxes.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative", tooltip="Use this one, and not another."),
                io.Latent.Output(display_name="latent", tooltip="Empty, of the picture's size."),
                io.Image.Output(display_name="layout_picture", tooltip="The regions with their names."),
                io.String.Output(display_name="notes", tooltip="What to know of it; empty where all is well."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, clip, prompt, negative, width, height, boxes, overlap, whole, until, feather, layout=None,
        **characters,
    ):  # fmt: skip
        who = [characters[key] for key in sorted(characters) if characters[key] is not None]
        where = _where(who, layout, boxes, width, height, overlap)
        scene = comfy_scene.made(model, clip, who, where, prompt, negative, Blend(whole, until, feather))
        said = notes.notes([each.lora.character for each in who], [each.prompt for each in who], prompt,
                           functools.partial(tokens.lengths, clip))  # fmt: skip
        shown = ui.PreviewText("\n".join(said) or "Everybody has a place.")
        picture = images.pixels(places.picture(where))
        return io.NodeOutput(
            scene.model, scene.positive, scene.negative, scene.latent, picture, "\n".join(said), ui=shown
        )


def _where(who: list[SceneCharacter], drawn, boxes: str, width: int, height: int, overlap: str) -> list[regions.Region]:
    names = [each.name for each in who]
    layout_picture = None if drawn is None else drawn[0, ..., :3]
    masks = places.shared_out(names, [each.mask for each in who], layout_picture, boxes, width, height)
    return regions.of_masks(names, masks, width, height, overlap)


NODES = [SceneCharacterNode, Scene]
