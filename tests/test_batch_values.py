"""Images and true boxes of a batch: what is named, and what is left for RoIAlign."""

import math

import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2_plugtrack.batch_values import mend_batch

SIZE = (40, 60)


def frame(*boxes: list[float], **keys) -> dict:
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
    return {"image": torch.zeros(3, *SIZE, dtype=torch.uint8), "instances": instances, **keys}


def boxes_of(item: dict) -> list:
    return item["instances"].gt_boxes.tensor.tolist()


GOOD = [5.0, 6, 20, 30]


def test_a_good_batch_is_left_alone():
    beyond = [-60.0, -40, 120, 80]  # the image's own size around it is still near
    batch = [frame(GOOD, beyond), frame(), {"prev": frame(GOOD), "curr": frame(GOOD)}]
    assert mend_batch(batch) == []
    assert boxes_of(batch[0]) == [GOOD, beyond] and boxes_of(batch[2]["curr"]) == [GOOD]
    assert mend_batch([]) == [] and mend_batch([torch.zeros(3), {"image": None}]) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_and_emptied(value):
    pair = {
        "prev": frame(GOOD, video_id="a", frame_index=7),
        "curr": frame(GOOD, [5.0, value, 9, 9], video_id="a", frame_index=9),
    }
    batch = [pair, frame([value] * 4, file_name="b.jpg")]
    first, second = mend_batch(batch)
    assert first == f"true box [5.0, {value}, 9.0, 9.0] of image 1 (video a, frame 9)"
    assert second.endswith("of image 2 (b.jpg)")
    assert boxes_of(pair["prev"]) == [GOOD] and boxes_of(pair["curr"]) == [GOOD, [0] * 4]
    assert boxes_of(batch[1]) == [[0] * 4]


def test_boxes_without_end_are_cut():
    batch = [frame([-1e30, 6, 1e9, 3e38])]
    assert mend_batch(batch) == [] and boxes_of(batch[0]) == [[-60, 6, 120, 80]]


def test_pixels_of_floats_are_looked_at():
    batch = [frame(GOOD), frame(GOOD), frame(GOOD)]
    batch[1]["image"] = batch[1]["image"].float()
    batch[2]["image"] = batch[2]["image"].float()
    batch[2]["image"][1, 2, 3] = math.nan
    assert mend_batch(batch) == ["NaN or infinity in pixels of image 2"]
