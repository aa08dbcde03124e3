"""detectron2's mapper on bad images: named in training, a frame all the same in evaluation."""

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetMapper

from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.data.bad_images import GREY, BadImage, BadImages
from d2_plugtrack.data.image_mapper import FrameMapper, ImageMapper

BOX = {"bbox": [2.0, 2, 9, 9], "bbox_mode": 0, "category_id": 0, "iscrowd": 0}
KINDS = ["truncated", "empty", "missing", "another size"]


def mapper(is_train: bool, image_format: str = "BGR") -> DatasetMapper:
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.INPUT.FORMAT = image_format
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (96,), 96
    return DatasetMapper(cfg, is_train=is_train)


def test_a_good_image_is_mapped_as_detectron2_does(bad_record):
    record = {**bad_record("good"), "annotations": [BOX]}
    np.random.seed(0)
    expected = mapper(True)(record)
    np.random.seed(0)
    found = ImageMapper(mapper(True))(record)
    assert found.keys() == expected.keys() and (found["image"] == expected["image"]).all()
    assert (found["instances"].gt_boxes.tensor == expected["instances"].gt_boxes.tensor).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_is_named(bad_record, kind):
    record = bad_record(kind)
    with pytest.raises(BadImage, match=f"^{record['file_name']}: "):
        ImageMapper(mapper(True))(record)


def test_a_bug_stays_a_bug(bad_record):
    record = {**bad_record("good"), "annotations": [{"bbox": "none"}]}
    with pytest.raises(Exception) as error:  # noqa: B017
        ImageMapper(mapper(True))(record)
    assert not isinstance(error.value, BadImage)


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
@pytest.mark.parametrize("kind", [*KINDS, "good"])
def test_evaluation_gets_a_frame_whatever_happens(bad_record, photo, kind, image_format):
    record = {**bad_record(kind), "video_id": "v", "last": True}
    bad_images = BadImages(strict=False)
    frame = FrameMapper(mapper(False, image_format), bad_images)(record)
    assert bad_images.count == (kind != "good")
    assert {key: frame[key] for key in ("video_id", "last", "height", "width")} == {
        **{"video_id": "v", "last": True, "height": 48, "width": 64}
    }
    assert "annotations" not in frame
    assert frame["image"].shape == (3, 96, 128)
    image = frame["image"].numpy()[:, ::2, ::2].transpose(1, 2, 0).astype(int)
    image = image[:, :, ::-1] if image_format == "RGB" else image
    if kind in ("empty", "missing"):
        assert (image == GREY).all()
    else:
        rows = slice(0, 8 if kind == "truncated" else None)
        assert np.abs(image - photo)[rows].mean() < 20
