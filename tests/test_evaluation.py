"""VIDEvaluator without a network: frames with known detections in, detectron2's results out."""

import math

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm

from d2_plugtrack.build import build_video_run
from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.core import video_rescorer
from d2_plugtrack.core.detector import DetectedFrame, Proposals
from d2_plugtrack.core.video_evaluation import VideoRun
from d2_plugtrack.errors import UserError
from d2_plugtrack.evaluation import VIDEvaluator

NAME = "t_evaluation"
VIDEOS = {"a": 3, "b": 2}
BOXES = {0: [10.0, 10, 40, 40], 1: [50.0, 20, 90, 60]}  # an object of each class in every frame


@pytest.fixture
def dataset():
    """Two videos with an object of the first and the second class each; none of the third."""
    keys = {"bbox_mode": 0, "iscrowd": 0}
    objects = [{"bbox": b, "category_id": c, "track_id": c, **keys} for c, b in BOXES.items()]
    records = [
        {"video_id": v, "frame_index": t, "height": 80, "width": 100, "annotations": objects}
        for v, length in VIDEOS.items()
        for t in range(length)
    ]
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(thing_classes=["cat", "dog", "emu"])
    yield records
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def video_run() -> VideoRun:
    """Per frame and without re-scoring: what is detected is what is evaluated."""
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.TEST.TFD.ENABLED = False
    cfg.TEST.SEQ_NMS.ENABLED = False
    return build_video_run(cfg, None)


def detected(labels: list[int]) -> DetectedFrame:
    """A frame on which the objects of these classes are found exactly."""
    boxes = torch.tensor([BOXES[label] for label in labels]).reshape(-1, 1, 4)
    scores = torch.zeros(len(labels), 3)
    scores[torch.arange(len(labels)), labels] = 0.9
    return DetectedFrame(Proposals(boxes, scores), None, lambda b: b[:, :3], (80, 100), (80, 100))


def inputs_of(records: list[dict]) -> list[dict]:
    last = {v: length - 1 for v, length in VIDEOS.items()}
    return [{**r, "last": r["frame_index"] == last[r["video_id"]]} for r in records]


def stub_model(inputs: list[dict]) -> list[dict]:
    """Finds the first class always, the second in video b only."""
    return [{"frame": detected([0] if i["video_id"] == "a" else [0, 1])} for i in inputs]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_results_of_a_whole_dataset(dataset, batch_size):
    inputs = inputs_of(dataset)
    loader = [inputs[i : i + batch_size] for i in range(0, len(inputs), batch_size)]
    results = inference_on_dataset(stub_model, loader, VIDEvaluator(NAME, video_run(), "fgfa"))
    assert set(results) == {"vid"}
    assert set(results["vid"]) == {"mAP", "AP-cat", "AP-dog", "AP-emu"}
    assert results["vid"]["AP-cat"] == pytest.approx(100.0)
    assert results["vid"]["AP-dog"] == pytest.approx(40.0)  # two of five frames, all of them right
    assert math.isnan(results["vid"]["AP-emu"])  # no ground truth, and not in the mean
    assert results["vid"]["mAP"] == pytest.approx(70.0)


def evaluator_after(records: list[dict]) -> VIDEvaluator:
    evaluator = VIDEvaluator(NAME, video_run(), "fgfa")
    evaluator.reset()
    inputs = inputs_of(records)
    evaluator.process(inputs, stub_model(inputs))
    return evaluator


def test_videos_of_several_processes_are_gathered(dataset, monkeypatch):
    parts = [[r for r in dataset if r["video_id"] == video] for video in VIDEOS]
    main, other = (evaluator_after(part) for part in parts)
    monkeypatch.setattr(comm, "gather", lambda data, dst: [data, other.run.detections])
    assert main.evaluate()["vid"]["mAP"] == pytest.approx(70.0)


def test_other_processes_have_no_results(dataset, monkeypatch):
    evaluator = evaluator_after(dataset)
    monkeypatch.setattr(comm, "gather", lambda data, dst: [])
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert evaluator.evaluate() is None


def test_frames_that_were_not_seen_are_an_error(dataset):
    evaluator = evaluator_after([r for r in dataset if r["video_id"] == "b"])
    with pytest.raises(ValueError, match=r"3 frames, the first is \('a', 0\)"):
        evaluator.evaluate()


def test_reset_forgets_the_evaluation_before(dataset):
    evaluator = evaluator_after(dataset)
    evaluator.reset()
    assert evaluator.run.detections == {}
    inputs = inputs_of(dataset)
    evaluator.process(inputs, [{"frame": detected([])} for _ in inputs])
    assert evaluator.evaluate()["vid"]["mAP"] == 0.0


def test_frames_of_two_videos_mixed_are_an_error(dataset):
    inputs = inputs_of(dataset)
    mixed = [inputs[0], inputs[3]]
    evaluator = VIDEvaluator(NAME, video_run(), "fgfa")
    with pytest.raises(ValueError, match="expected the rest of video 'a'"):
        evaluator.process(mixed, stub_model(mixed))


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 1)
    (tmp_path / "file").write_text("")
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.OUTPUT_DIR, cfg.TEST.SEQ_NMS.MEMORY_MB = str(tmp_path / "file"), 0
    cfg.TEST.TFD.ENABLED = cfg.TEST.SEQ_NMS.TRACK_LINKS = False
    inputs = inputs_of(dataset)
    with pytest.raises(UserError, match=f"{tmp_path}/file: cannot be written: File exists"):
        VIDEvaluator(NAME, build_video_run(cfg, None), "fgfa").process(inputs, stub_model(inputs))


def test_outputs_must_be_as_many_as_inputs(dataset):
    evaluator = VIDEvaluator(NAME, video_run(), "fgfa")
    with pytest.raises(ValueError):
        evaluator.process(inputs_of(dataset), [{"frame": detected([])}])
