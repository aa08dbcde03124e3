"""VideoPredictor: frames in, steady objects out; with a stub detector, and with the tiny one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from d2_plugtrack.core import tracked_video, video_rescorer
from d2_plugtrack.core.spool import Spooling
from d2_plugtrack.data.tiny_vid import TINY_CLASSES
from d2_plugtrack.errors import UserError
from d2_plugtrack.predictor import VideoPredictor
from tests.stub_predictors import as_lists, image, stub_predictor

CONFIG = str(Path(__file__).resolve().parents[1] / "configs/TinyVID/plugtrack_tiny.yaml")


# ---- with a stub detector ------------------------------------------------------------------------


def test_boxes_come_back_in_pixels_of_the_frame():
    (result,) = stub_predictor().results([image()])  # 80x120 goes in as 40x60
    torch.testing.assert_close(result.boxes, torch.tensor([[20.0, 20, 60, 40]]))
    assert result.image_size == (80, 120)


def test_the_detector_gets_the_frame_itself_or_what_is_prepared_of_it():
    frame, other = image(), image()
    predictor = stub_predictor()
    predictor.step(frame)
    assert predictor.detector.given == [frame] and predictor.class_names == ["x", "y"]
    predictor = stub_predictor(prepare=lambda given: {id(frame): other}[id(given)])
    predictor.step(frame)
    assert [id(given) for given in predictor.detector.given] == [id(other)]


def test_a_batch_is_its_frames_one_after_the_other():
    frames = [image() for _ in range(3)]
    predictor, other = stub_predictor(), stub_predictor()
    assert predictor.step_batch(frames) == [None] * 3 and predictor.step_batch([]) == []
    assert [other.step(frame) for frame in frames] == [None] * 3
    objects = predictor.finish()
    assert len(objects) == 3 and objects == other.finish()


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_results_are_steps_with_frames_read_ahead(batch_size):
    frames = [image(), image(), image(60, 40), image()]
    prepared = []
    predictor = stub_predictor(prepare=lambda frame: prepared.append(frame) or frame)
    other = stub_predictor()
    results = list(predictor.results(iter(frames), batch_size))
    alone = [result for frame in frames for result in other.results([frame], 1)]
    assert [r.image_size for r in results] == [(80, 120), (80, 120), (60, 40), (80, 120)]
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(results, alone, strict=True))
    assert all(a is b for a, b in zip(prepared, frames, strict=True))
    assert len(predictor.finish()) == 4
    assert list(predictor.results([], batch_size)) == []


def test_results_pass_an_error_on_and_close_what_they_read():
    closed = []

    def source():
        try:
            yield from [image(), image(), np.zeros((4, 4), np.uint8)]
        finally:
            closed.append(True)

    predictor = stub_predictor()
    results = predictor.results(source(), 1)
    next(results), next(results)
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, got \(4, 4\)"):
        next(results)
    assert closed == [True] and len(predictor.finish()) == 2
    results = predictor.results(source(), 1)
    next(results)
    results.close()
    assert closed == [True] * 2 and len(predictor.finish()) == 1


def test_finish_gives_every_frame_and_begins_another_video():
    predictor = stub_predictor()
    for _ in range(3):
        predictor.step(image())
    objects = predictor.finish()
    assert len(objects) == 3
    for frame in objects:
        assert frame.classes.tolist() == [1]
        assert frame.scores.tolist() == pytest.approx([0.8])
        assert frame.track_ids.tolist() == objects[0].track_ids.tolist()  # one object all along
    assert predictor.finish() == []
    predictor.step(image())
    assert len(predictor.finish()) == 1


def test_objects_have_masks_where_the_detector_has():
    predictor = stub_predictor()
    predictor.step(image())
    assert predictor.finish()[0].masks is None
    predictor.detector.segment = lambda features, boxes, labels: torch.full((1, 3, 3), 0.25)
    assert next(predictor.results([image()])).masks.tolist() == [[[0.25] * 3] * 3]
    assert predictor.finish()[0].masks.tolist() == [[[0.25] * 3] * 3]


@pytest.mark.parametrize("limit", [0, 100, 10**6])
def test_a_video_on_disk_is_the_same(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 2)
    monkeypatch.setattr(tracked_video, "FRAMES_OF_BLOCK", 2)
    predictor, other = stub_predictor(), stub_predictor(spooling=Spooling(limit, tmp_path / "out"))
    for each in (predictor, other):
        each.detector.segment = lambda features, boxes, labels: torch.full((1, 3, 3), 0.25)
        each.step_batch([image() for _ in range(7)])
    objects, on_disk = predictor.finish(), other.finish()
    assert on_disk == objects and len(on_disk) == 7
    assert [o.masks.tolist() for o in on_disk] == [[[[0.25] * 3] * 3]] * 7
    assert (on_disk.bytes_on_disk > 0) == (other.rescorer.bytes_spooled > 0) == (limit < 1000)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 2)
    (tmp_path / "file").write_text("")
    predictor = stub_predictor(spooling=Spooling(0, tmp_path / "file"))
    predictor.step(image())
    with pytest.raises(UserError, match=f"{tmp_path}/file: cannot be written: File exists"):
        predictor.step(image())


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_no_frames_give_nothing(mode):
    predictor = stub_predictor(mode=mode)
    assert predictor.finish() == predictor.step_batch([]) == list(predictor([])) == []


def test_reset_forgets_the_frames_so_far():
    predictor = stub_predictor()
    predictor.step(image())
    predictor.reset()
    assert predictor.finish() == []


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (np.zeros((8, 8), np.uint8), r"\(8, 8\) of uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\) of uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"\(3, 8, 8\) of uint8"),
        (np.zeros((1, 8, 8, 3), np.uint8), r"\(1, 8, 8, 3\) of uint8"),
        (np.zeros((8, 8, 3), np.float32), r"\(8, 8, 3\) of float32"),
        (np.zeros((0, 8, 3), np.uint8), r"\(0, 8, 3\) of uint8"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "Tensor"),
        ([[[1, 2, 3]]], "list"),
        (None, "NoneType"),
        ("frame.jpg", "str"),
    ],
)
def test_what_is_no_frame_is_refused_and_not_counted(frame, named):
    predictor = stub_predictor()
    with pytest.raises(ValueError, match=f"expected.*uint8, got {named}"):
        predictor.step(frame)
    assert predictor.finish() == []


# ---- with the tiny detector ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """Random weights of the tiny model."""
    from detectron2.modeling import build_model

    from d2_plugtrack.plugin import load_config

    torch.manual_seed(0)
    model = build_model(load_config(CONFIG, ["MODEL.DEVICE", "cpu"]))
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save({"model": model.state_dict()}, path)
    return str(path)


def opts_of(weights: str, *opts: str) -> list[str]:
    return ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", weights, *opts]


def predictor_of(weights: str, *opts: str) -> VideoPredictor:
    return VideoPredictor.from_config_file(CONFIG, opts_of(weights, *opts))


@pytest.fixture(scope="module")
def predictor(weights) -> VideoPredictor:
    return predictor_of(weights)


def test_from_a_config_that_is_loaded(predictor, weights):
    from d2_plugtrack.plugin import load_config

    same = VideoPredictor.from_cfg(load_config(CONFIG, opts_of(weights)))
    frame = image(64, 80)
    results = [next(p.results([frame])) for p in (predictor, same)]
    predictor.reset()
    assert len(results[0].boxes) > 0
    assert torch.equal(results[0].boxes, results[1].boxes)
    assert same.class_names == predictor.class_names
    assert same.rescorer.rescoring == predictor.rescorer.rescoring
    assert same.mode == "offline"


def test_the_mode_is_the_configs_or_is_said(weights):
    opts = ["TEST.VID.MODE", "online"]
    assert predictor_of(weights, *opts).mode == "online"
    how = {"mode": "offline", "score_threshold": 0.2, "classes": ["dotted_disk"]}
    predictor = VideoPredictor.from_config_file(CONFIG, opts_of(weights, *opts), **how)
    assert predictor.mode == "offline" and predictor.score_threshold == 0.2
    predictor = VideoPredictor.from_config_file(CONFIG, opts_of(weights), mode="online")
    frames = [image(64, 80)] * 3
    found = list(predictor(frames))
    assert [len(o.boxes) > 0 for o in found] == [True] * 3
    assert set(found[0].track_ids.tolist()) & set(found[2].track_ids.tolist())
    assert as_lists(predictor.step(frame) for frame in frames) == as_lists(found)
    with pytest.raises(UserError, match="class car: expected one of striped_disk, dotted_disk, st"):
        VideoPredictor.from_config_file(CONFIG, opts_of(weights), classes=["car"])


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_channel_order_is_the_models(weights, image_format):
    opts = ["INPUT.FORMAT", image_format, "INPUT.MIN_SIZE_TEST", "80"]
    frame = image()
    given = predictor_of(weights, *opts).prepare(frame)
    expected = frame[:, :, ::-1] if image_format == "RGB" else frame
    assert torch.equal(given["image"], torch.from_numpy(expected.transpose(2, 0, 1).copy()))
    assert (given["height"], given["width"]) == (80, 120)


@pytest.mark.parametrize("size", [(80, 120), (300, 100), (50, 400), (40, 41), (128, 160)])
@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_frames_are_prepared_as_detectron2_does_it(weights, tmp_path, size, image_format):
    import cv2
    from detectron2.data import DatasetMapper

    from d2_plugtrack.plugin import load_config

    opts = ["INPUT.FORMAT", image_format, "INPUT.MIN_SIZE_TEST", "40", "INPUT.MAX_SIZE_TEST", "90"]
    frame, path = image(*size), str(tmp_path / "frame.png")
    cv2.imwrite(path, frame)
    mapper = DatasetMapper(load_config(CONFIG, opts), is_train=False)
    expected = mapper({"file_name": path, "height": size[0], "width": size[1]})
    predictor = predictor_of(weights, *opts)
    given = predictor.prepare(frame)
    assert torch.equal(given["image"], expected["image"])
    assert (given["height"], given["width"]) == size
    shorter, longer = sorted(given["image"].shape[1:])
    assert (shorter == 40 and longer <= 90) or longer == 90
    assert next(predictor.results([frame])).image_size == size


def test_class_names_are_those_of_the_test_set(predictor):
    assert predictor.class_names == list(TINY_CLASSES.values())


@pytest.mark.parametrize("names", ["('imagenet_vid_val',)", "()", "('no_such_set',)"])
def test_class_names_are_numbers_where_no_set_has_as_many(weights, names):
    names = predictor_of(weights, "DATASETS.TEST", names).class_names
    assert names == [str(i) for i in range(len(TINY_CLASSES))]


@pytest.mark.parametrize(("name", "count"), [("coco_2017_val", 80), ("no_such_set", 0)])
def test_class_names_that_are_said_must_be_as_many_as_the_classes(weights, name, count):
    with pytest.raises(UserError, match=f"DATASETS.CLASSES {name}: .*8 classes, found {count} cl"):
        predictor_of(weights, "DATASETS.CLASSES", name)


def test_video_is_tracked_and_each_video_starts_afresh(predictor):
    frames = [image(64, 80)] * 3
    predictor.reset()
    first = list(predictor.results(frames))
    objects = predictor.finish()
    assert len(first[0].mapped_boxes) == 0
    assert [len(r.mapped_boxes) for r in first[1:]] == [len(r.boxes) for r in first[:-1]]
    assert len(first[0].boxes) > 0
    assert [len(o.boxes) > 0 for o in objects] == [True] * 3
    for frame in objects:
        assert (frame.boxes >= 0).all()
        assert (frame.boxes <= torch.tensor([80, 64] * 2)).all()
        assert not frame.boxes.requires_grad
    again = list(predictor.results(frames))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.scores, other.scores)


def test_per_frame_needs_no_tracker(weights, tmp_path):
    state = torch.load(weights)["model"]
    stock = {key: value for key, value in state.items() if not key.startswith("tracker.")}
    torch.save({"model": stock}, tmp_path / "stock.pth")
    opts = ["TEST.TFD.ENABLED", "False", "TEST.SEQ_NMS.TRACK_LINKS", "False"]
    predictor = predictor_of(str(tmp_path / "stock.pth"), *opts)
    assert predictor.pipeline.tracker is None
    predictor.step(image(64, 80))
    assert len(predictor.finish()[0].boxes) > 0
    with pytest.raises(UserError, match="stock.pth.*tracker"):
        predictor_of(str(tmp_path / "stock.pth"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_frames_are_on_the_gpu_before_they_are_detected(weights):
    opts = ["MODEL.WEIGHTS", weights, "MODEL.DEVICE", "cuda"]
    predictor = VideoPredictor.from_config_file(CONFIG, opts)
    expected = predictor.prepare(np.zeros((8, 8, 3), np.uint8))["image"]
    (prepared,) = predictor._prepare_all([np.zeros((8, 8, 3), np.uint8)])
    assert prepared["image"].is_pinned()
    given = []
    extract = predictor.detector.extract
    predictor.detector.extract = lambda frames: given.extend(frames) or extract(frames)
    predictor.step(np.zeros((8, 8, 3), np.uint8))
    assert given[0]["image"].is_cuda and torch.equal(given[0]["image"].cpu(), expected)


def test_an_error_of_rescoring_ends_the_video():
    predictor = stub_predictor()
    step = predictor.pipeline.step
    predictor.pipeline.step = lambda f: (r := step(f))._replace(scores=r.scores * torch.nan)
    predictor.step(image())
    with pytest.raises(ValueError, match="frame 0: scores must be finite"):
        predictor.finish()
    predictor.pipeline.step = step
    predictor.step(image())
    assert len(predictor.finish()) == 1


def test_a_device_may_be_a_name():
    predictor = stub_predictor()
    predictor.detector.device = "cpu"
    assert predictor.device == torch.device("cpu")
    assert len(next(predictor.results([image()])).boxes) == 1
