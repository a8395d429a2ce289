"""The curation room's door to ComfyUI."""

from comfy_api.latest import io

from ..progress import progress
from ..sockets import DATASET
from . import duplicates, identity, quality, selection, splits

CATEGORY = "Isengard/dataset/curate"


def kept_and_dropped() -> list[io.Output]:
    return [
        DATASET.Output(display_name="kept"),
        DATASET.Output(display_name="dropped", tooltip="What was taken out, each picture with the reason."),
    ]


def dataset_input() -> io.Input:
    return DATASET.Input("dataset", tooltip="From Load Dataset from Folder, for instance.")


class MeasureDataset(io.ComfyNode):
    """Scores for sharpness, exposure and compression."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardMeasureDataset",
            display_name="Measure Dataset",
            category=CATEGORY,
            description="Measure how sharp, bright, rich in contrast and compressed each picture is, and write that "
            "into its scores. Nodes that need those measure by themselves; put this before them to try limits quickly.",
            inputs=[dataset_input()],
            outputs=[DATASET.Output(display_name="dataset", tooltip="The same pictures, with scores.")],
        )

    @classmethod
    def execute(cls, dataset):
        return io.NodeOutput(quality.measured(dataset, progress()))


class DropPoorPictures(io.ComfyNode):
    """Blurred, badly exposed, over-compressed and small pictures are taken out."""

    @classmethod
    def define_schema(cls):
        usual = quality.Limits()
        return io.Schema(
            node_id="IsengardDropPoorPictures",
            display_name="Drop Poor Pictures",
            category=CATEGORY,
            description="Take out pictures that are blurred, too dark or bright, flat, compressed too much, or small.",
            inputs=[
                dataset_input(),
                io.Float.Input(
                    "sharpness", default=usual.sharpness, min=0.0, max=1.0, step=0.01,
                    tooltip="At least, where the picture is sharpest. 0: do not ask.",
                ),
                io.Float.Input(
                    "darkest", default=usual.darkest, min=0.0, max=1.0, step=0.01,
                    tooltip="Brightness without a plain background, at least. 0: do not ask.",
                ),
                io.Float.Input(
                    "brightest", default=usual.brightest, min=0.0, max=1.0, step=0.01,
                    tooltip="Brightness without a plain background, at most. 1: do not ask.",
                ),
                io.Float.Input(
                    "contrast", default=usual.contrast, min=0.0, max=1.0, step=0.01,
                    tooltip="Between the darkest and the brightest percent of the pixels, at least. 0: do not ask.",
                ),
                io.Float.Input(
                    "jpeg_quality", default=usual.jpeg_quality, min=0.0, max=100.0, step=1.0,
                    tooltip="At least, by the file's own tables. 0: do not ask.",
                ),
                io.Float.Input(
                    "blockiness", default=usual.blockiness, min=1.0, max=100.0, step=0.1,
                    tooltip="Traces of JPEG blocks in the pixels, at most; 1 is none. 100: do not ask.",
                ),
                io.Int.Input(
                    "shortest", default=usual.shortest, min=1, max=16384,
                    tooltip="Pixels of the shorter side, at least. 1: do not ask.",
                ),
            ],
            outputs=kept_and_dropped(),
        )  # fmt: skip

    @classmethod
    def execute(cls, dataset, **limits):
        return io.NodeOutput(*selection.not_all(*quality.sorted_out(dataset, quality.Limits(**limits), progress())))


class DeduplicateDataset(io.ComfyNode):
    """Of pictures that are one, the best stays."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDeduplicateDataset",
            display_name="Deduplicate Dataset",
            category=CATEGORY,
            description="Take out copies of a picture: recompressed, resized, slightly cropped, brighter or darker. "
            "The one with the most detail stays; its caption stays with it.",
            inputs=[
                dataset_input(),
                io.Float.Input(
                    "similarity",
                    default=0.8,
                    min=0.5,
                    max=1.0,
                    step=0.01,
                    tooltip="1 minus how much two pictures may differ where they differ most, laid over each other. "
                    "Higher keeps more.",
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="Takes out pictures that it sees as the same, too."
                ),
                io.Float.Input(
                    "clip_similarity",
                    optional=True,
                    default=0.97,
                    min=0.5,
                    max=1.0,
                    step=0.005,
                    tooltip="Of clip_vision's embeddings (cosine), from which pictures count as the same.",
                ),
            ],
            outputs=kept_and_dropped(),
        )

    @classmethod
    def execute(cls, dataset, similarity, clip_vision=None, clip_similarity=0.97):
        show = progress()
        vectors = None if clip_vision is None else identity.vectors(dataset, embedding(clip_vision), show)
        return io.NodeOutput(*duplicates.deduplicated(dataset, similarity, show, vectors, clip_similarity))


class DropOddOnesOut(io.ComfyNode):
    """Pictures of somebody else are taken out."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardDropOddOnesOut",
            display_name="Drop Odd Ones Out",
            category=CATEGORY,
            description="Take out pictures that show somebody else than most of them do, or than the references do.",
            inputs=[
                dataset_input(),
                io.ClipVision.Input(
                    "clip_vision",
                    tooltip="Says how alike pictures are. It sees hair, clothes and style better than faces.",
                ),
                io.Float.Input(
                    "deviations",
                    default=2.0,
                    min=0.5,
                    max=20.0,
                    step=0.1,
                    tooltip="How many deviations less like the others than usual a picture is. Lower drops more.",
                ),
                DATASET.Input(
                    "references", optional=True, tooltip="Pictures that surely show the character, four or more."
                ),
            ],
            outputs=kept_and_dropped(),
        )

    @classmethod
    def execute(cls, dataset, clip_vision, deviations, references=None):
        embed, show = embedding(clip_vision), progress()
        known = None if references is None else identity.vectors(references, embed, show)
        found = identity.vectors(dataset, embed, show)
        return io.NodeOutput(*selection.not_all(*identity.without_others(dataset, found, deviations, known)))


class FilterByTag(io.ComfyNode):
    """Pictures with certain tags."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardFilterByTag",
            display_name="Filter Dataset by Tag",
            category=CATEGORY,
            description="Keep the pictures that have any, all or none of some tags.",
            inputs=[
                dataset_input(),
                io.String.Input(
                    "tags", default="", tooltip="With commas between them. A part of a caption between commas is a tag."
                ),
                io.Combo.Input(
                    "which",
                    options=[selection.ANY, selection.ALL, selection.NONE],
                    default=selection.ANY,
                    tooltip="How many of the tags a picture has to have.",
                ),
            ],
            outputs=kept_and_dropped(),
        )

    @classmethod
    def execute(cls, dataset, tags, which):
        return io.NodeOutput(*selection.not_all(*selection.with_tags(dataset, tags, which)))


class FilterByScore(io.ComfyNode):
    """Pictures within the limits of a score."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardFilterByScore",
            display_name="Filter Dataset by Score",
            category=CATEGORY,
            description="Keep the pictures whose score is within limits.",
            inputs=[
                dataset_input(),
                io.String.Input(
                    "score",
                    default="sharpness",
                    tooltip=f"One of {', '.join(quality.SCORES)} (from Measure Dataset), {identity.SCORE} (from Drop "
                    "Odd Ones Out), or what a manifest has.",
                ),
                io.Float.Input("least", default=0.0, min=-1e9, max=1e9, step=0.01, tooltip="The lowest that is kept."),
                io.Float.Input("most", default=1e9, min=-1e9, max=1e9, step=0.01, tooltip="The highest that is kept."),
            ],
            outputs=kept_and_dropped(),
        )

    @classmethod
    def execute(cls, dataset, score, least, most):
        return io.NodeOutput(*selection.not_all(*selection.with_score(dataset, score, least, most)))


class SampleDataset(io.ComfyNode):
    """So many pictures of a data set."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSampleDataset",
            display_name="Sample Dataset",
            category=CATEGORY,
            description="Keep so many of the pictures.",
            inputs=[
                dataset_input(),
                io.Int.Input("count", default=20, min=1, max=1_000_000, tooltip="How many are kept, at most."),
                io.Combo.Input(
                    "how",
                    options=[selection.RANDOM, selection.FIRST, selection.SPREAD, selection.BEST],
                    default=selection.RANDOM,
                    tooltip="Which ones: random, the first, evenly spread over the order, or with the highest score.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**32 - 1, tooltip="Of the random choice. Another seed, other ones."
                ),
                io.String.Input(
                    "score", optional=True, default="sharpness", tooltip="Of which the highest are kept, if so."
                ),
            ],
            outputs=kept_and_dropped(),
        )

    @classmethod
    def execute(cls, dataset, count, how, seed, score=""):
        return io.NodeOutput(*selection.chosen(dataset, count, how, seed, score))


class WeighDataset(io.ComfyNode):
    """How often pictures are shown, and how much they count."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardWeighDataset",
            display_name="Weigh Dataset",
            category=CATEGORY,
            description="Show pictures more often in an epoch, or make them count more or less in the loss. Merged "
            "with others afterwards, they keep that.",
            inputs=[
                dataset_input(),
                io.Int.Input("repeats", default=1, min=1, max=1000, tooltip="Times what each picture has already."),
                io.Float.Input(
                    "weight", default=1.0, min=0.001, max=1000.0, step=0.05,
                    tooltip="Of the loss; times what each picture has already.",
                ),
                io.String.Input(
                    "tags", optional=True, default="", tooltip="Only pictures with any of these tags. Empty: all."
                ),
            ],
            outputs=[DATASET.Output(display_name="dataset")],
        )  # fmt: skip

    @classmethod
    def execute(cls, dataset, repeats, weight, tags=""):
        return io.NodeOutput(selection.weighted(dataset, repeats, weight, tags))


class MergeDatasets(io.ComfyNode):
    """Several data sets as one."""

    @classmethod
    def define_schema(cls):
        more = [DATASET.Input(f"dataset_{n}", optional=True, tooltip="Comes after the others.") for n in range(3, 7)]
        return io.Schema(
            node_id="IsengardMergeDatasets",
            display_name="Merge Datasets",
            category=CATEGORY,
            description="Put data sets one after the other. Names that come twice are numbered.",
            inputs=[
                DATASET.Input("dataset_1", tooltip="Comes first."),
                DATASET.Input("dataset_2", tooltip="Comes next."),
                *more,
                io.String.Input(
                    "name",
                    optional=True,
                    default="",
                    tooltip="Of the new one. Empty: the names of all, with + between.",
                ),
            ],
            outputs=[DATASET.Output(display_name="dataset")],
        )

    @classmethod
    def execute(cls, name="", **datasets):
        return io.NodeOutput(selection.merged([datasets[key] for key in sorted(datasets)], name))


class SplitDataset(io.ComfyNode):
    """Hold pictures out of training."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardSplitDataset",
            display_name="Split Dataset",
            category=CATEGORY,
            description="Hold some pictures out of training; Train LoRA measures its loss on them. Pictures stay on "
            "their side when others are added.",
            inputs=[
                dataset_input(),
                io.Float.Input(
                    "share", default=0.1, min=0.0, max=0.9, step=0.01, tooltip="About so much of the pictures."
                ),
                io.String.Input(
                    "tags",
                    default="",
                    tooltip="Of each of these, with commas between them, some are held out: front, side, back. Empty: "
                    "whichever.",
                ),
                io.Int.Input("seed", default=0, min=0, max=2**32 - 1, tooltip="Another seed, other pictures."),
                io.Boolean.Input(
                    "keep_held_out", optional=True, default=True, tooltip="What is held out already stays so."
                ),
            ],
            outputs=[
                DATASET.Output(display_name="dataset", tooltip="All pictures, each with its side."),
                DATASET.Output(display_name="training", tooltip="Those that are trained on."),
                DATASET.Output(display_name="held_out", tooltip="Those that are not."),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(cls, dataset, share, tags, seed, keep_held_out=True):
        parted = splits.split(dataset, share, tags, seed, keep_held_out)
        return io.NodeOutput(parted, *splits.sides(parted), splits.described(parted, tags))


def embedding(clip_vision):
    """What a CLIP_VISION makes of pictures (1,H,W,3 in 0..1): 1,d. Nothing is cut off: heads are at the border."""

    def embed(pixels):
        found = clip_vision.encode_image(pixels, crop=False)["image_embeds"]
        return found.mean(1) if found.dim() == 3 else found  # SigLIP gives its patches

    return embed


NODES = [
    MeasureDataset,
    DropPoorPictures,
    DeduplicateDataset,
    DropOddOnesOut,
    FilterByTag,
    FilterByScore,
    SampleDataset,
    WeighDataset,
    MergeDatasets,
    SplitDataset,
]
