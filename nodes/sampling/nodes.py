"""The sampling room's door to ComfyUI."""

import functools
from pathlib import Path

import comfy.utils
import folder_paths
from comfy_api.latest import io, ui
from PIL import Image, ImageOps

from ...trainers import comfy_sampling
from ..captions import tokens
from ..characters import loras, pictures
from ..characters.nodes import library
from ..characters.records import Character, CharacterError
from ..dataset import images
from ..dataset.records import Dataset
from ..settings import groups
from ..sockets import CHARACTER, DATASET, sampler_inputs
from . import comfy_apply, comfy_draws, comfy_references, prompts, references, sheet, shots, wildcards


def character_inputs() -> tuple[io.Input, io.Input, io.Input]:
    """Which character, by name or connected, and which of its LoRAs (see `lora_of`)."""
    return (
        io.Combo.Input(
            "name", options=[CONNECTED, *library().slugs()], default=CONNECTED,
            tooltip="The character by its folder's name, where none is connected.",
        ),
        CHARACTER.Input("character", optional=True, tooltip="From Load Character. Counts before name."),
        io.String.Input(
            "version", optional=True, default="", tooltip="v1, v2, …; empty: the chosen one, else the latest."
        ),
    )  # fmt: skip


class ApplyCharacter(io.ComfyNode):
    """A character's LoRA on a model, and the words that call it."""

    @classmethod
    def define_schema(cls):
        name, character, version = character_inputs()
        return io.Schema(
            node_id="IsengardApplyCharacter",
            display_name="Apply Character",
            category="Isengard/sampling",
            description="Put a character's LoRA on a model and its text encoder. A LoRA that was trained on another "
            "kind of model is refused.",
            inputs=[
                io.Model.Input("model", tooltip="The base that the LoRA was trained on, or another of its kind."),
                io.Clip.Input("clip", tooltip="The model's text encoder."),
                name,
                io.Float.Input(
                    "strength", default=1.0, min=-10.0, max=10.0, step=0.05, tooltip="Of the LoRA. 0: the base alone."
                ),
                character,
                version,
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                CHARACTER.Output(display_name="character"),
                io.String.Output(display_name="trigger"),
                io.String.Output(display_name="class_noun"),
                io.String.Output(display_name="version"),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, name, **inputs):
        return etag_of(name)

    @classmethod
    def execute(cls, model, clip, name, strength, character=None, version=""):
        lora = lora_of(name, character, version)
        model, clip = comfy_apply.applied(model, clip, lora, strength)
        who = lora.character
        return io.NodeOutput(model, clip, who, who.trigger, who.class_noun, lora.version.id)


class CharacterPrompt(io.ComfyNode):
    """A prompt by a template, with the character's words."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCharacterPrompt",
            display_name="Character Prompt",
            category="Isengard/sampling",
            description="Fill a template with the character's words, choices and lists, and encode it. Says when the "
            "trigger is missing or the text is too long.",
            is_output_node=True,
            inputs=[
                io.Clip.Input("clip", tooltip="From Apply Character, or a checkpoint."),
                CHARACTER.Input("character", tooltip="From Apply Character or Load Character."),
                io.String.Input(
                    "template", multiline=True, default="{trigger} {class}, {tags}",
                    tooltip="{trigger}, {class}, {tags}, {description}; {a|b|c} chooses one; __name__ takes a line of "
                    "user/default/isengard/wildcards/name.txt.",
                ),
                io.String.Input("tags", multiline=True, default="", tooltip="In the place of {tags}."),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**63 - 1, control_after_generate=False,
                    tooltip="Of the choices. The same seed makes the same prompt.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="conditioning"),
                io.String.Output(display_name="prompt"),
                io.String.Output(display_name="notes", tooltip="What to know of it; empty where all is well."),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return wildcards.fingerprint(lists())

    @classmethod
    def execute(cls, clip, character, template, tags, seed):
        prompt = _filled(character, tags, template, seed)
        said = "\n".join(prompts.notes(prompt, character.trigger, tokens.lengths(clip, prompt)))
        shown = ui.PreviewText("\n\n".join(filter(None, [prompt, said])))
        return io.NodeOutput(comfy_sampling.encode(clip, prompt), prompt, said, ui=shown)


CONNECTED = "[connected]"


def lora_of(name: str, character: Character | None, version: str) -> loras.CharacterLora:
    """By the inputs of `character_inputs`."""
    return loras.read(library(), character or _named(name), version.strip())


def _named(name: str) -> Character:
    if name == CONNECTED:
        raise CharacterError("no character is connected, and none is chosen. Connect Load Character, or choose a name.")
    return library().get(name).character


def etag_of(name: str) -> str:
    """Another one when the character of that name was changed; empty where there is none."""
    return library().get(name).etag if name in library().slugs() else ""


def _filled(character: Character, tags: str, template: str, seed: int) -> str:
    values = {"trigger": character.trigger, "class": character.class_noun, "tags": tags,
              "description": character.description}  # fmt: skip
    return prompts.filled(template, values, functools.partial(wildcards.lines, lists()), seed)


def lists() -> Path:
    """The folder of wildcards, of the one user that ComfyUI has unless it is started with several."""
    return Path(folder_paths.get_user_directory()) / "default" / "isengard" / "wildcards"


class CharacterReferences(io.ComfyNode):
    """A character's pictures in the conditioning."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCharacterReferences",
            display_name="Character References",
            category="Isengard/sampling",
            description="Put a character's pictures beside the prompt, for models that were trained for that: Flux.1 "
            "Kontext, Flux.2, Qwen-Image-Edit. With a LoRA or without.",
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="Its family decides how it is shown the pictures. Nothing is changed."),
                io.Clip.Input("clip", tooltip="Encodes the prompts; for Qwen-Image-Edit it sees the pictures too."),
                io.Vae.Input("vae", tooltip="Encodes the pictures."),
                io.String.Input("prompt", multiline=True, default="", tooltip="Chooses the pictures too."),
                io.String.Input("negative", multiline=True, default="", tooltip="Gets the same pictures."),
                io.Int.Input(
                    "count", default=3, min=1, max=references.MOST,
                    tooltip="Pictures at most, those with the nearest captions to the prompt. Qwen edit takes 3.",
                ),
                io.Combo.Input(
                    "method", options=list(references.METHODS), default=references.AUTO,
                    tooltip="ComfyUI cannot tell Flux.1 Kontext from dev, nor Qwen-Image-Edit from Qwen-Image: auto "
                    "takes them for the edit models.",
                ),
                CHARACTER.Input("character", optional=True, tooltip="From Load Character, with reference pictures."),
                DATASET.Input("pictures", optional=True, tooltip="Counts before the character's own pictures."),
                io.Conditioning.Input(
                    "conditioning", optional=True,
                    tooltip="In the place of the encoded prompt, which then chooses the pictures alone. Not for Qwen "
                    "edit.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
                io.String.Output(display_name="report", tooltip="Which pictures, and how."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, clip, vae, prompt, negative, count, method, character=None, pictures=None, conditioning=None
    ):
        policy = comfy_references.policy_of(model, method)
        samples = references.chosen(prompt, _references_of(character, pictures), count)
        asked = comfy_references.Prompts(prompt, negative, conditioning)
        shown = [images.read(sample) for sample in samples]
        positive, negative = comfy_references.conditioned(model, clip, vae, asked, shown, policy)
        report = references.report(samples, policy)
        return io.NodeOutput(positive, negative, report, ui=ui.PreviewText(report))


def _references_of(character: Character | None, dataset: Dataset | None) -> Dataset:
    if dataset is None and character is None:
        raise references.ReferencesError(
            "no pictures are connected. Connect Load Character to character, or a data set to pictures."
        )
    return pictures.dataset_of(library(), character) if dataset is None else dataset


class CharacterSampler(io.ComfyNode):
    """Pictures of a character: every prompt, strength and seed."""

    @classmethod
    def define_schema(cls):
        name, character, version = character_inputs()
        return io.Schema(
            node_id="IsengardCharacterSampler",
            display_name="Character Sampler",
            category="Isengard/sampling",
            description="Draw every prompt at every strength of a character's LoRA with every seed, and save each "
            "picture as soon as it is drawn. Each is what Apply Character, Character Prompt and KSampler give.",
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The base that the LoRA was trained on, or another of its kind."),
                io.Clip.Input("clip", tooltip="The model's text encoder."),
                io.Vae.Input("vae", tooltip="Decodes the pictures."),
                name,
                io.String.Input(
                    "prompts", multiline=True, default="{trigger} {class}, {tags}",
                    tooltip="One a line. {trigger}, {class}, {tags}, {description}; {a|b|c} chooses one; __name__ "
                    "takes a line of user/default/isengard/wildcards/name.txt, both by the picture's seed.",
                ),
                io.String.Input("tags", multiline=True, default="", tooltip="In the place of {tags}."),
                io.String.Input("negative", multiline=True, default="", tooltip="The negative prompt of all."),
                io.String.Input(
                    "strengths", default="1.0", tooltip="Of the LoRA, with commas between: 0.6, 0.8, 1.0. 0: the base."
                ),
                io.String.Input("seeds", default="0", tooltip="With commas between; 100-103 are four: 1, 5, 100-103."),
                *sampler_inputs(),
                io.String.Input(
                    "filename_prefix", default="isengard/character", tooltip="Below ComfyUI's output folder."
                ),
                character,
                version,
                io.Latent.Input(
                    "latent", optional=True, tooltip="A picture to draw over. Its size counts before width and height."
                ),
                io.Float.Input(
                    "denoise", optional=True, default=1.0, min=0.0, max=1.0, step=0.01,
                    tooltip="Of what is drawn over: less keeps more of it. Without a latent it is always 1.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images"),
                io.String.Output(display_name="prompts", is_output_list=True, tooltip="One for each picture."),
                io.String.Output(display_name="labels", is_output_list=True, tooltip="seed 5 · 0.8 · prompt …"),
                io.String.Output(display_name="report", tooltip="What was drawn, and what to know of it."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, name, **inputs):
        return etag_of(name) + wildcards.fingerprint(lists())

    @classmethod
    def validate_inputs(cls, prompts, strengths, seeds):
        try:
            shots.plan(prompts, strengths, seeds)  # now, not when what comes before has run
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls, model, clip, vae, name, prompts, tags, negative, strengths, seeds, filename_prefix,
        character=None, version="", latent=None, denoise=1.0, **settings,
    ):  # fmt: skip
        lora = lora_of(name, character, version)
        wanted = shots.plan(prompts, strengths, seeds).shots(functools.partial(_filled, lora.character, tags))
        fitted = comfy_apply.fitted(model, clip, lora)
        sampler, start = comfy_sampling.SamplerSettings(**settings), comfy_draws.start_of(latent, denoise)
        drawing = comfy_draws.Drawing(vae, negative, sampler, start)
        files, drawn = comfy_draws.drawn_and_saved(fitted, wanted, drawing, filename_prefix, cls.hidden)
        notes = comfy_draws.notes(clip, lora.character.trigger, wanted)
        report = shots.report(lora.called, wanted, [comfy_draws.name_of(file) for file in files], notes)
        texts = [shot.prompt for shot in wanted], [shot.label for shot in wanted]
        shown = ui.SavedImages(files).as_dict() | ui.PreviewText(report).as_dict()
        return io.NodeOutput(drawn, *texts, report, ui=shown)


class ContactSheet(io.ComfyNode):
    """The same prompts and seeds before and after, side by side."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardContactSheet",
            display_name="Contact Sheet",
            category="Isengard/sampling",
            description="Sample every prompt with every seed, with the base model and with the trained one, and lay "
            "the pictures out with labels. Each picture is what KSampler gives for its seed.",
            is_output_node=True,
            inputs=[
                io.Model.Input("before", tooltip="The model without the LoRA."),
                io.Model.Input("after", tooltip="The model with the LoRA."),
                io.Clip.Input("clip", tooltip="Encodes the prompts."),
                io.Vae.Input("vae", tooltip="Decodes the pictures."),
                io.String.Input("prompts", multiline=True, default="", tooltip="One prompt a line."),
                io.String.Input("negative", multiline=True, default="", tooltip="The negative prompt of all."),
                io.String.Input("title", default="Before and after", tooltip="Written above the sheet."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="Of the first picture; the next has the next seed.",
                ),
                io.Int.Input("seeds", default=3, min=1, max=16, tooltip="Pictures a prompt: seed, seed + 1, …"),
                *sampler_inputs(),
                io.String.Input("filename_prefix", default="isengard/sheet", tooltip="Below ComfyUI's output folder."),
                DATASET.Input(
                    "reference",
                    optional=True,
                    tooltip="Beside each prompt, this data set's picture with the nearest caption: what the character "
                    "looks like.",
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def validate_inputs(cls, prompts):
        if prompts is None or groups.lines(prompts):  # None: comes through a link
            return True
        return _NO_PROMPT  # now, not when the training before it has run

    @classmethod
    def execute(
        cls, before, after, clip, vae, prompts, negative, title, seed, seeds, filename_prefix,
        reference=None, **settings,
    ):  # fmt: skip
        lines = groups.lines(prompts)
        if not lines:
            raise ValueError(_NO_PROMPT)
        sampler = comfy_sampling.SamplerSettings(**settings)
        nearest = _nearest_pictures(reference, lines) if reference is not None else []  # may fail: before the sampling
        drawn = _sample_all({"before": before, "after": after}, clip, vae, lines, negative, seed, seeds, sampler)
        seed_labels = tuple(f"seed {seed + place}" for place in range(seeds))
        sections = [sheet.Section("before", seed_labels), sheet.Section("after", seed_labels)]
        rows = [
            tuple(drawn[model, line, place] for model in ("before", "after") for place in range(seeds))
            for line in lines
        ]
        if reference is not None:
            sections.append(sheet.Section("data set", ("nearest caption",)))
            fitted = [ImageOps.fit(picture, rows[0][0].size, Image.Resampling.LANCZOS) for picture in nearest]
            rows = [(*row, picture) for row, picture in zip(rows, fitted, strict=True)]
        picture = sheet.draw(title, sections, [sheet.Row(*row) for row in zip(lines, rows, strict=True)])
        image = images.pixels(picture)
        return io.NodeOutput(image, ui=ui.ImageSaveHelper.get_save_images_ui(image, filename_prefix, cls))


_NO_PROMPT = "there is no prompt to sample. Write one prompt a line into 'prompts'."


def _nearest_pictures(dataset: Dataset, prompts: list[str]) -> list[Image.Image]:
    """For each prompt the data set's picture with the nearest caption. Raises images.UnreadableImage."""
    captions = [sample.caption for sample in dataset.samples]
    samples = [dataset.samples[references.nearest(prompt, captions)] for prompt in prompts]
    pixels = [images.read(sample)[0] for sample in samples]  # H,W,3 in 0..1
    return [Image.fromarray(each.mul(255).round().byte().cpu().numpy()) for each in pixels]


def _sample_all(models, clip, vae, prompts, negative, seed, seeds, settings) -> dict[tuple, Image.Image]:
    """A picture for each model, prompt and seed; model by model, so that each is loaded once."""
    bar = comfy.utils.ProgressBar(len(models) * len(prompts) * seeds * settings.steps)
    bad = comfy_sampling.encode(clip, negative)
    good = {prompt: comfy_sampling.encode(clip, prompt) for prompt in prompts}
    latents = {}
    for row, model in models.items():
        for prompt in prompts:
            for place in range(seeds):
                latents[row, prompt, place] = comfy_sampling.sample(
                    model, good[prompt], bad, seed + place, settings, on_step=lambda: bar.update(1)
                )
    return {key: images.picture(comfy_sampling.decode(vae, latent)) for key, latent in latents.items()}
