"""Images and true boxes of a batch of detectron2's dicts, looked at on the CPU before all else.

Boxes are xyxy in pixels of the network's input. RoIAlign on a NaN or an absurd box ends the process
on a CPU, and stock heads add the true boxes to the proposals. detectron2's mappers give images of
uint8, which need no look, and cut finite boxes at the border; somebody else's may not.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from .core.boxes import bound_boxes
from .core.finite import bad_true_boxes, image_name


def mend_batch(batch: Sequence[Any]) -> list[str]:
    """Name what is not finite, and leave no box that RoIAlign does not take, in place.

    Boxes without end are cut one image beyond the image; what is not finite becomes empty, so that
    a process goes through a step that it refuses together with the others. Items that are neither
    frames nor pairs of frames are left alone.
    """
    frames = [frame for item in batch for frame in _frames(item)]
    problems = [
        f"NaN or infinity in pixels of {image_name(frame, i)}"
        for i, frame in enumerate(frames)
        if _may_be_bad(frame.get("image")) and not frame["image"].isfinite().all()
    ]
    labeled = [frame for frame in frames if "instances" in frame]
    labeled = [frame for frame in labeled if frame["instances"].has("gt_boxes")]
    boxes = [frame["instances"].gt_boxes.tensor[:, :4] for frame in labeled]
    problems += bad_true_boxes(boxes, lambda i: image_name(labeled[i], i))
    for frame, given in zip(labeled, boxes, strict=True):
        given[~given.isfinite().all(dim=1)] = 0
        given.copy_(bound_boxes(given, frame["instances"].image_size))
    return problems


def _frames(item: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(item, Mapping):
        yield from (item["prev"], item["curr"]) if "prev" in item else (item,)


def _may_be_bad(image: Any) -> bool:
    return isinstance(image, Tensor) and image.is_floating_point()
