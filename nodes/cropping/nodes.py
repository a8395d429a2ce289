"""The cropping room's door to ComfyUI."""

from comfy_api.latest import io

from ..curation.selection import not_all
from ..progress import progress
from ..sockets import DATASET
from .boxes import AUTO, CHOICES, FORMS, LARGEST
from .crop import DROP, NOT_FOUND, TOO_SMALL, WIDEN, Fit, to_buckets, to_subject
from .framing import FIGURE, FULL, KINDS, SETS, Framing
from .report import of_cropping
from .subject import CENTRE, METHODS, Search, finder
from .windows import BUCKETS, SHAPES, bucket_sizes

_CATEGORY = "Isengard/dataset"


def _search_inputs() -> list[io.Input]:
    """How a subject is found, beside by what."""
    return [
        io.Float.Input(
            "threshold",
            optional=True,
            default=0.5,
            min=0.01,
            max=1.0,
            step=0.01,
            tooltip="With mask and alpha: from how much white, or how opaque, a pixel belongs to the subject.",
        ),
        io.AnyType.Input(
            "boxes",
            optional=True,
            tooltip="With boxes: what a detector found in the pictures of Dataset to Images. BOUNDING_BOX, SEGS, "
            "lists, tensors and JSON are understood.",
        ),
        io.Combo.Input(
            "box_format",
            optional=True,
            options=list(FORMS),
            default=AUTO,
            tooltip="What four numbers without names mean. auto: the boxes have names for them.",
        ),
        io.Combo.Input(
            "which_box",
            optional=True,
            options=list(CHOICES),
            default=LARGEST,
            tooltip="Of several boxes in one picture.",
        ),
    ]


def _outputs() -> list[io.Output]:
    return [
        DATASET.Output(display_name="dataset", tooltip="The pictures with what is shown of them."),
        DATASET.Output(display_name="dropped", tooltip="The others, with the reason."),
        io.String.Output(display_name="report", tooltip="What became of the pictures. Preview Any shows it."),
    ]


class CropToSubject(io.ComfyNode):
    """Pictures cropped to their subject, in one or several framings."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCropToSubject",
            display_name="Crop to Subject",
            category=_CATEGORY,
            description="Crop every picture to its subject: to all of it, to the bust, to the face, or to several of "
            "these at once.",
            inputs=[
                DATASET.Input("dataset", tooltip="From Load Dataset from Folder, for instance."),
                io.Combo.Input(
                    "subject_by",
                    options=list(METHODS),
                    default="mask",
                    tooltip="What says where the subject is: the picture's mask, its transparency, a detector's boxes, "
                    "or what stands out from the border.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(SETS),
                    default=FULL,
                    tooltip="What is shown of the subject. Of several, each becomes a picture of its own.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.1,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="Room on every side, as a share of the frame's longer side.",
                ),
                io.Combo.Input(
                    "if_not_found",
                    options=list(NOT_FOUND),
                    default=DROP,
                    tooltip="What becomes of a picture in which no subject is found.",
                ),
                io.Combo.Input(
                    "subject_is",
                    optional=True,
                    options=list(KINDS),
                    default=FIGURE,
                    tooltip="What masks or boxes are of: the figure, as far as it is there, or the face alone.",
                ),
                io.Float.Input(
                    "heads",
                    optional=True,
                    default=7.5,
                    min=1.0,
                    max=12.0,
                    step=0.1,
                    tooltip="How many heads tall the figure is: 7.5 for adults, 6 for children, 2 to 4 for chibi.",
                ),
                *_search_inputs(),
            ],
            outputs=_outputs(),
            is_input_list=True,  # a detector that runs once for each picture gives a list
        )

    @classmethod
    def execute(
        cls, dataset, subject_by, framing, margin, if_not_found, subject_is=(FIGURE,), heads=(7.5,), threshold=(0.5,),
        boxes=None, box_format=(AUTO,), which_box=(LARGEST,),
    ):  # fmt: skip
        search = Search(subject_by[0], threshold[0], box_format[0], which_box[0])
        frame = Framing(SETS[framing[0]], subject_is[0], heads[0], margin[0])
        cropped = to_subject(dataset[0], finder(dataset[0], search, boxes), frame, if_not_found[0], progress())
        return io.NodeOutput(*not_all(cropped.dataset, cropped.dropped), of_cropping(cropped))


class CropToBuckets(io.ComfyNode):
    """Pictures cut to the sizes that they are trained at, with their subject in frame."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="IsengardCropToBuckets",
            display_name="Crop to Buckets",
            category=_CATEGORY,
            description="Cut every picture to the shape that it is trained in, around its subject instead of its "
            "middle, and sort out what is too small.",
            inputs=[
                DATASET.Input("dataset", tooltip="From Load Dataset from Folder or Crop to Subject, for instance."),
                io.Int.Input(
                    "resolution", default=1024, min=64, max=8192, step=8, tooltip="As in the training's settings."
                ),
                io.Combo.Input(
                    "crop",
                    options=list(SHAPES),
                    default=BUCKETS,
                    tooltip="As in Picture Settings. buckets: the shape that keeps the subject and loses least.",
                ),
                io.Int.Input(
                    "bucket_step",
                    default=64,
                    min=8,
                    max=512,
                    step=8,
                    tooltip="As in Picture Settings: sides of buckets are multiples of this.",
                ),
                io.Combo.Input(
                    "subject_by",
                    options=[CENTRE, *METHODS],
                    default="saliency",
                    tooltip="What says where the subject is, which stays in frame; where none is found, the middle.",
                ),
                io.Float.Input(
                    "upscale_limit",
                    default=1.5,
                    min=1.0,
                    max=100.0,
                    step=0.05,
                    tooltip="How many times a picture may be enlarged for training. 1: never.",
                ),
                io.Combo.Input(
                    "too_small",
                    options=list(TOO_SMALL),
                    default=WIDEN,
                    tooltip="What becomes of pictures beyond upscale_limit. show more: around what was cropped before, "
                    "and dropped where the picture ends; drop; enlarge: all the same.",
                ),
                *_search_inputs(),
            ],
            outputs=_outputs(),
            is_input_list=True,  # a detector that runs once for each picture gives a list
        )

    @classmethod
    def execute(
        cls, dataset, resolution, crop, bucket_step, subject_by, upscale_limit, too_small, threshold=(0.5,),
        boxes=None, box_format=(AUTO,), which_box=(LARGEST,),
    ):  # fmt: skip
        search = Search(subject_by[0], threshold[0], box_format[0], which_box[0])
        fit = Fit(bucket_sizes(crop[0], resolution[0], bucket_step[0]), upscale_limit[0], too_small[0])
        cropped = to_buckets(dataset[0], finder(dataset[0], search, boxes), fit, progress())
        return io.NodeOutput(*not_all(cropped.dataset, cropped.dropped), of_cropping(cropped))


NODES: list[type[io.ComfyNode]] = [CropToSubject, CropToBuckets]
