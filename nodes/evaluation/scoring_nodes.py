"""Whether pictures show a character and their prompts: the nodes."""

import torch
from comfy_api.latest import io, ui

from ..characters import pictures
from ..characters.nodes import library
from ..curation.nodes import embedding
from ..dataset import images
from ..dataset.records import Dataset
from ..progress import progress
from ..settings import groups
from ..sockets import CHARACTER, DATASET, IDENTITY
from . import adherence, comfy_adherence, packages, scoring
from . import identity as identities


class IdentityNode(io.ComfyNode):
    """A character as an image encoder knows it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardIdentity",
            display_name="Identity",
            category="Isengard/evaluation",
            description="Learn from a character's own pictures and those of other people how alike a picture has to be "
            "to show the character. Says so where it cannot tell.",
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "encoder", options=[CLIP_VISION, *packages.ENCODERS], default=CLIP_VISION,
                    tooltip="Looks at pictures: what is connected to clip_vision, or one from a Python package.",
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="From Load CLIP Vision: SigLIP, DINO, CLIP."
                ),
                CHARACTER.Input("character", optional=True, tooltip="From Load Character, with reference pictures."),
                DATASET.Input(
                    "references", optional=True, tooltip="The character's pictures. Counts before the library's."
                ),
                DATASET.Input(
                    "others", optional=True,
                    tooltip="Pictures of other people in the same manner. Without any: the references of all other "
                    "characters of the library.",
                ),
            ],
            outputs=[
                IDENTITY.Output(display_name="identity", tooltip="For Score Images and Pick Best."),
                io.String.Output(display_name="report", tooltip="How well it tells the character from others."),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **inputs):
        return [library().get(slug).etag for slug in library().slugs()]

    @classmethod
    def execute(cls, encoder, clip_vision=None, character=None, references=None, others=None):
        name, own = _own_pictures(character, references)
        sees = _encoder(encoder, clip_vision)
        foreign = _library_without(name) if others is None else others.samples
        show, of = progress(), len(own) + len(foreign)
        vectors = sees.vectors((images.read(sample) for sample in (*own, *foreign)), of, show)
        found = identities.calibrated(name, sees, vectors[: len(own)], vectors[len(own) :])
        report = scoring.described(found)
        return io.NodeOutput(found, report, ui=ui.PreviewText(report))


CLIP_VISION = "[clip_vision]"


def _encoder(name: str, clip_vision) -> identities.Encoder:
    if name != CLIP_VISION:
        return packages.encoder(name)
    if clip_vision is None:
        raise identities.IdentityError("no CLIP_VISION is connected. Connect Load CLIP Vision, or choose an encoder.")
    return identities.Encoder("the CLIP_VISION", embedding(clip_vision))


def _own_pictures(character, references: Dataset | None) -> tuple[str, tuple]:
    """The character's name and its samples."""
    if references is None and character is None:
        raise identities.IdentityError("nobody is connected. Connect Load Character, or a data set to references.")
    name = references.name if character is None else character.name
    return name, (pictures.dataset_of(library(), character) if references is None else references).samples


def _library_without(name: str) -> list:
    """The references of all characters but those of that name."""
    stored = (library().get(slug).character for slug in library().slugs())
    return [sample for who in stored if who.name != name for sample in pictures.dataset_of(library(), who).samples]


class ScoreImages(io.ComfyNode):
    """How much pictures show a character."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardScoreImages",
            display_name="Score Images",
            category="Isengard/evaluation",
            description="Score pictures against a character and their prompts, write the numbers on them, and keep "
            "those that show both.",
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="Pictures to score."),
                IDENTITY.Input("identity", tooltip="From Identity."),
                io.Combo.Input(
                    "keep", options=list(scoring.KEPT), default=scoring.ALL,
                    tooltip="What comes out of kept: all, those above the identity's own threshold, or those with a "
                    "score of at_least.",
                ),
                io.Float.Input(
                    "at_least", default=0.5, min=-10.0, max=10.0, step=0.05,
                    tooltip="0: as other people; 1: as the character's own pictures.",
                ),
                io.Mask.Input(
                    "masks", optional=True, tooltip="Where the character is: one for all pictures, or one for each."
                ),
                io.String.Input(
                    "prompts", optional=True, multiline=True, default="",
                    tooltip="What the pictures should show, without the trigger: one line for all, or one for each. "
                    "Takes clip and clip_vision.",
                ),
                io.Clip.Input(
                    "clip", optional=True, tooltip="Reads the prompts: clip_l or clip_g from Load CLIP, without a LoRA."
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="The CLIP that was trained with it, such as CLIP-ViT-L."
                ),
                io.Float.Input(
                    "least_adherence", optional=True, default=0.0, min=0.0, max=2.5, step=0.05,
                    tooltip="What comes out of kept shows its prompt at least so well. 0: however.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="kept"),
                io.Image.Output(display_name="annotated", tooltip="All pictures with their scores."),
                io.Float.Output(display_name="scores", is_output_list=True, tooltip="Of each picture; unscored: -100."),
                io.Float.Output(
                    display_name="diversity", tooltip="1: they differ as the references do. Of one picture: 0."
                ),
                io.String.Output(display_name="table", tooltip="The likest first."),
                io.Float.Output(
                    display_name="adherences", is_output_list=True,
                    tooltip="How well each picture shows its prompt (CLIPScore); without prompts: -100.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, images, identity, keep, at_least, masks=None, prompts="", clip=None, clip_vision=None, least_adherence=0.0
    ):
        shown = scoring.regions(images, masks)
        followed = _adherences(images, groups.lines(prompts), clip, clip_vision)
        found = scoring.scored(identity, identity.encoder.vectors(shown, len(shown), progress()), followed)
        places = scoring.kept(found, keep, at_least, least_adherence)
        table = scoring.table(identity, found, places)
        values = [UNSCORED if score.value is None else score.value for score in found.scores]
        following = [UNSCORED if each is None else each.value for _, each in found.pairs]
        return io.NodeOutput(
            images[places], _annotated(images, found), values, found.diversity or 0.0, table, following,
            ui=ui.PreviewText(table),
        )  # fmt: skip


UNSCORED = -100.0  # below what any picture has


def _adherences(pictures, lines, clip, clip_vision) -> tuple[adherence.Adherence, ...] | None:
    if not lines and clip is None and clip_vision is None:
        return None
    missing = [name for name, there in (("prompts", lines), ("clip", clip), ("clip_vision", clip_vision)) if not there]
    if missing:
        raise adherence.AdherenceError(
            f"it takes prompts, clip and clip_vision to say whether pictures show their prompts, and "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing. Give all three, or none."
        )
    asked = adherence.prompts(lines, len(pictures))
    texts = comfy_adherence.text_vectors(clip, clip_vision, asked.texts)
    sees = identities.Encoder("the CLIP_VISION", embedding(clip_vision))
    return adherence.adherences(sees.vectors((each[None] for each in pictures), len(pictures)), texts, asked.own)


def _annotated(pictures_, found: scoring.Scored):
    drawn = (
        scoring.annotated(images.picture(each), *scores) for each, scores in zip(pictures_, found.pairs, strict=True)
    )
    return torch.cat([images.pixels(each) for each in drawn])
