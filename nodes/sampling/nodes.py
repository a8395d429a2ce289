"""The sampling room's door to ComfyUI."""

import comfy.utils
from comfy_api.latest import io, ui
from PIL import Image, ImageOps

from ...trainers import comfy_sampling
from ..dataset import images
from ..dataset.records import Dataset
from ..settings import groups
from ..sockets import DATASET, sampler_inputs
from . import references, sheet


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
        cls,
        before,
        after,
        clip,
        vae,
        prompts,
        negative,
        title,
        seed,
        seeds,
        filename_prefix,
        reference=None,
        **settings,
    ):
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
