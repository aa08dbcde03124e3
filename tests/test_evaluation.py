"""VIDEvaluator without a network: frames with known detections in, detectron2's results out."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from torch import nn

from d2_plugtrack.build import build_pipeline, build_scoring
from d2_plugtrack.config import add_plugtrack_config
from d2_plugtrack.core import video_rescorer
from d2_plugtrack.core.average_precisions import mean_average_precision
from d2_plugtrack.core.detector import DetectedFrame, Proposals
from d2_plugtrack.core.video_evaluation import VideoRun
from d2_plugtrack.errors import UserError
from d2_plugtrack.evaluation import VIDEvaluator, open_run
from d2_plugtrack.results.figures import figures_of
from d2_plugtrack.results.rescored import rescore_run
from tests.core.video_results import frame_result, linked

NAME = "t_evaluation"
VIDEOS = {"val/a": 3, "b": 2, "c": 1}
BOXES = {0: [10.0, 10, 40, 40], 1: [50.0, 20, 90, 60]}  # an object of each class in every frame
CLASSES = ["cat", "dog", "emu"]


def make_records(videos: dict[str, int] = VIDEOS) -> list[dict]:
    """Videos with an object of the first and the second class each; none of the third."""
    keys = {"bbox_mode": 0, "iscrowd": 0}
    objects = [{"bbox": b, "category_id": c, "track_id": c, **keys} for c, b in BOXES.items()]
    return [
        {
            **{"video_id": v, "frame_index": t, "last": t == length - 1},
            **{"height": 80, "width": 100, "annotations": objects},
        }
        for v, length in videos.items()
        for t in range(length)
    ]


RECORDS = make_records()


@pytest.fixture
def cfg(tmp_path):
    """Per frame and without re-scoring: what is detected is what is evaluated."""
    cfg = get_cfg()
    add_plugtrack_config(cfg)
    cfg.TEST.TFD.ENABLED = False
    cfg.TEST.SEQ_NMS.ENABLED = False
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


@pytest.fixture
def model():
    """Its weights are all that is asked of it."""
    return nn.Linear(2, 3)


def open_evaluation(cfg, model, records=RECORDS) -> tuple[VIDEvaluator, list[dict]]:
    """The evaluator, and the records of the frames that are still to come."""
    run, finished = open_run(cfg, model, NAME, records)
    pipeline = build_pipeline(cfg, None)
    evaluator = VIDEvaluator(run, records, CLASSES, pipeline, build_scoring(cfg))
    return evaluator, [r for r in records if r["video_id"] not in finished]


def detected(labels: list[int]) -> DetectedFrame:
    """A frame on which the objects of these classes are found exactly."""
    boxes = torch.tensor([BOXES[label] for label in labels]).reshape(-1, 1, 4)
    scores = torch.zeros(len(labels), 3)
    scores[torch.arange(len(labels)), labels] = 0.9
    return DetectedFrame(Proposals(boxes, scores), None, lambda b: b[:, :3], (80, 100), (80, 100))


def stub_model(inputs: list[dict]) -> list[dict]:
    """Finds the first class always, the second in video b only."""
    return [{"frame": detected([0, 1] if i["video_id"] == "b" else [0])} for i in inputs]


def evaluate(cfg, model, records=RECORDS, batch_size: int = 1) -> dict:
    evaluator, inputs = open_evaluation(cfg, model, records)
    loader = [inputs[i : i + batch_size] for i in range(0, len(inputs), batch_size)]
    return inference_on_dataset(stub_model, loader, evaluator)


def files_of(cfg) -> dict[str, bytes]:
    folder = Path(cfg.OUTPUT_DIR) / "inference" / NAME
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def videos_of(cfg) -> list[str]:
    return sorted(name for name in files_of(cfg) if name.endswith(".npz"))


def known(figures: dict[str, float]) -> dict[str, float | None]:
    """The figures, None where there is no ground truth: NaN equals nothing."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


ALL_FILES = ["00000_val_a.npz", "00001_b.npz", "00002_c.npz"]


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_results_of_a_whole_dataset(cfg, model, batch_size):
    results = evaluate(cfg, model, batch_size=batch_size)
    assert set(results) == {"vid"}
    motion, area = ("slow", "medium", "fast"), ("small", "medium", "large")
    ranges = [*(f"mAP-motion-{name}" for name in motion), *(f"mAP-area-{name}" for name in area)]
    assert list(results["vid"]) == ["mAP", *ranges, "AP-cat", "AP-dog", "AP-emu"]
    # nothing moves, and boxes are of 31 x 31 and 41 x 41 pixels
    assert results["vid"]["mAP-motion-slow"] == results["vid"]["mAP-area-small"]
    assert results["vid"]["mAP-area-small"] == results["vid"]["mAP"]
    assert results["vid"]["AP-cat"] == pytest.approx(100.0)
    assert results["vid"]["AP-dog"] == pytest.approx(100 / 3)  # two of six frames, all right
    assert math.isnan(results["vid"]["AP-emu"])  # no ground truth, and not in the mean
    assert results["vid"]["mAP"] == pytest.approx(200 / 3)


def test_the_folder_has_every_video_and_the_figures(cfg, model):
    results = evaluate(cfg, model)
    assert sorted(files_of(cfg)) == [*ALL_FILES, "results.json", "run.json"]
    written = json.loads(files_of(cfg)["results.json"])
    assert written["vid"] == known(results["vid"])
    assert written["vid"]["AP-emu"] is written["vid"]["mAP-motion-fast"] is None
    assert written["dataset"] == NAME and written["protocol"] == "fgfa"
    assert written["limits"] == {"score_floor": 1e-3, "per_frame": 300}


def test_published_motion_values_count(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, stub_model(inputs))
    evaluator.motion = [[0.5, 0.95]] * len(RECORDS)  # the cat is fast, the dog slow
    figures = evaluator.evaluate()["vid"]
    assert figures["mAP-motion-fast"] == pytest.approx(100.0)
    assert figures["mAP-motion-slow"] == pytest.approx(100 / 3)


def test_saved_results_give_the_same_detections_as_the_run(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, stub_model(inputs))
    scoring = build_scoring(cfg)
    found = rescore_run(evaluator.run, scoring.rescoring, scoring.limits)
    assert list(found) == [(r["video_id"], r["frame_index"]) for r in RECORDS]
    for (video, _), (boxes, scores, labels) in found.items():
        expected = [0, 1] if video == "b" else [0]
        assert labels.tolist() == expected and boxes.tolist() == [BOXES[c] for c in expected]
        assert scores.tolist() == [torch.tensor(0.9).item()] * len(expected)


class Given:
    """A pipeline to which frames come as its results."""

    def reset(self):
        pass

    def step(self, frame):
        return frame


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_figures_of_a_run_are_those_of_its_boxes_in_memory(cfg, model, mode):
    cfg.TEST.SEQ_NMS.ENABLED, cfg.TEST.VID.MODE = True, mode
    rng, scoring, results = np.random.default_rng(0), build_scoring(cfg), {}
    in_memory = VideoRun(Given(), scoring.rescoring, scoring.limits)
    for video, length in VIDEOS.items():
        boxes = 10 * rng.integers(0, 3, (length, 5, 4)) + [10, 10, 40, 40]  # some on the cat
        video_results = [
            frame_result(b, rng.random((5, 3)), b0, num_classes=3)
            for b, b0 in zip(boxes, [[], *boxes[:-1]], strict=True)
        ]
        for index, result in enumerate(linked(rng, video_results)):
            results[video, index] = result
            in_memory.process(result, (video, index), index == length - 1)
    run, _ = open_run(cfg, model, NAME, RECORDS)
    evaluator = VIDEvaluator(run, RECORDS, CLASSES, Given(), scoring)
    for record in RECORDS:
        key = record["video_id"], record["frame_index"]
        evaluator.process([record], [{"frame": results[key]}])
    expected = mean_average_precision(RECORDS, in_memory.detections, CLASSES, scoring.protocol)
    figures = evaluator.evaluate()["vid"]
    assert known(figures) == known(figures_of(expected)) and 0 < figures["AP-cat"] < 100
    written = json.loads(files_of(cfg)["results.json"])
    assert written["rescoring"]["online"] == (mode == "online")


def test_no_boxes_and_no_class_kept(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, [{"frame": detected([])} for _ in inputs])
    assert evaluator.evaluate()["vid"]["mAP"] == 0.0
    cfg.TEST.VID.SCORE_FLOOR = 0.95  # boxes that are there, and none that counts
    cfg.OUTPUT_DIR += "/other"
    assert evaluate(cfg, model)["vid"]["mAP"] == 0.0


def test_an_empty_dataset(cfg, model):
    results = evaluate(cfg, model, records=[])
    assert math.isnan(results["vid"]["mAP"])
    assert sorted(files_of(cfg)) == ["results.json", "run.json"]
    assert json.loads(files_of(cfg)["results.json"])["vid"]["mAP"] is None


# ---- going on -----------------------------------------------------------------------------------


def stop_after(cfg, model, count: int) -> None:
    """An evaluation that ends in the middle, after so many frames, as by a kill."""
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs[:count], stub_model(inputs[:count]))
    # what a kill leaves of a video that is not finished
    folder = Path(cfg.OUTPUT_DIR) / "inference" / NAME
    (folder / ".00001_b.0a1b2c3d.part").write_bytes(b"half")


def test_an_evaluation_goes_on_where_it_stopped(cfg, model, caplog):
    whole = evaluate(cfg, model)
    files = files_of(cfg)
    cfg.OUTPUT_DIR += "/stopped"
    stop_after(cfg, model, 4)  # all of the first video and a frame of the second
    assert videos_of(cfg) == ALL_FILES[:1]
    with caplog.at_level(logging.INFO, "d2_plugtrack"):
        evaluator, inputs = open_evaluation(cfg, model)
    assert "results of 1 of 3 videos (3 of 6 frames) are there" in caplog.text
    assert [(i["video_id"], i["frame_index"]) for i in inputs] == [("b", 0), ("b", 1), ("c", 0)]
    figures = inference_on_dataset(stub_model, [[i] for i in inputs], evaluator)["vid"]
    assert known(figures) == known(whole["vid"])
    resumed = files_of(cfg)
    assert {**resumed, "run.json": b""} == {**files, "run.json": b""}  # OUTPUT_DIR is in run.json


def change_weights(cfg, model):
    with torch.no_grad():
        model.bias[1] += 1e-7


def change_buffer(cfg, model):
    model.register_buffer("mean", torch.zeros(3), persistent=False)


def change_key(section: str, key: str, value):
    def change(cfg, model):
        node = cfg
        for name in section.split("."):
            node = node[name]
        node[key] = value

    change.__name__ = f"{section}.{key}"
    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (change_weights, "weights"),
        (change_buffer, "weights"),
        (change_key("TEST.TFD", "MERGE_THRESH", 0.31), "settings"),
        (change_key("TEST.PER_FRAME", "NMS_THRESH", 0.31), "settings"),
        (change_key("TEST.SPEED", "CHANNELS_LAST", True), "settings"),
        (change_key("INPUT", "MIN_SIZE_TEST", 31), "settings"),
        (change_key("MODEL.RPN", "POST_NMS_TOPK_TEST", 31), "settings"),
    ],
)
def test_what_changes_boxes_begins_anew(cfg, model, caplog, change, what):
    evaluate(cfg, model)
    change(cfg, model)
    _, inputs = open_evaluation(cfg, model)
    assert inputs == RECORDS and sorted(files_of(cfg)) == ["run.json"]
    assert f"results of 3 videos were of another run (other {what})" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        change_key("TEST.SEQ_NMS", "ENABLED", True),
        change_key("TEST.SEQ_NMS", "NMS_IOU", 0.2),
        change_key("TEST.VID", "SCORE_FLOOR", 0.5),
        change_key("TEST.VID", "MODE", "online"),
        change_key("TEST", "EVAL_PERIOD", 7),
        change_key("MODEL", "WEIGHTS", "elsewhere.pth"),
        change_key("DATALOADER", "NUM_WORKERS", 0),
        change_key("SOLVER", "MAX_ITER", 7),
    ],
    ids=lambda change: change.__name__,
)
def test_what_leaves_boxes_alone_keeps_them(cfg, model, change):
    evaluate(cfg, model)
    videos = {name: files_of(cfg)[name] for name in ALL_FILES}
    change(cfg, model)
    cfg.TEST.SEQ_NMS.TRACK_LINKS = False
    evaluator, inputs = open_evaluation(cfg, model)
    assert inputs == []
    assert "results.json" not in files_of(cfg)  # those of the evaluation before
    assert evaluator.evaluate()["vid"]["mAP"] == pytest.approx(200 / 3)
    assert {name: files_of(cfg)[name] for name in ALL_FILES} == videos


def test_other_frames_begin_anew(cfg, model):
    evaluate(cfg, model)
    _, inputs = open_evaluation(cfg, model, RECORDS[:-1])
    assert inputs == RECORDS[:-1]


def test_a_damaged_video_is_done_again(cfg, model, caplog):
    evaluate(cfg, model)
    files = files_of(cfg)
    path = Path(cfg.OUTPUT_DIR) / "inference" / NAME / ALL_FILES[1]
    path.write_bytes(files[path.name][:-30])
    evaluator, inputs = open_evaluation(cfg, model)
    assert {i["video_id"] for i in inputs} == {"b"}
    assert f"{path}: expected results of a video, found damage" in caplog.text
    evaluator.process(inputs, stub_model(inputs))
    evaluator.evaluate()
    assert files_of(cfg) == files


def test_a_video_damaged_after_it_was_written_is_named(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, stub_model(inputs))
    path = evaluator.run.path("b")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=f"{path}: expected results of a video, found damage"):
        evaluator.evaluate()
    assert not evaluator.run.results_file.exists()


# ---- processes and order ------------------------------------------------------------------------


def test_other_processes_have_no_results(cfg, model, monkeypatch):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, stub_model(inputs))
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert evaluator.evaluate() is None
    assert not evaluator.run.results_file.exists()


def test_videos_that_were_not_seen_are_an_error(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    some = [i for i in inputs if i["video_id"] != "b"]
    evaluator.process(some, stub_model(some))
    with pytest.raises(UserError, match="00001_b.npz: results of a video cannot be read: No such"):
        evaluator.evaluate()


def test_frames_that_were_not_seen_are_named(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    some = [inputs[0], *inputs[2:]]
    evaluator.process(some, stub_model(some))
    with pytest.raises(UserError, match="00000_val_a.npz: frame 1 of video val/a is missing"):
        evaluator.evaluate()


def test_reset_forgets_the_unfinished_video(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs[:4], stub_model(inputs[:4]))
    evaluator.reset()
    assert sorted(files_of(cfg)) == [ALL_FILES[0], "run.json"]
    evaluator.process(inputs[3:], stub_model(inputs[3:]))
    assert evaluator.evaluate()["vid"]["mAP"] == pytest.approx(200 / 3)


def test_frames_of_two_videos_mixed_are_an_error(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    mixed = [inputs[0], inputs[3]]
    with pytest.raises(ValueError, match="expected the rest of video 'val/a'"):
        evaluator.process(mixed, stub_model(mixed))


@pytest.mark.parametrize("again", [[0, 0], [0, 1, 0], [0, 1, 2, 0]])
def test_a_frame_comes_once(cfg, model, again):
    evaluator, inputs = open_evaluation(cfg, model)
    frames = [inputs[i] for i in again]
    with pytest.raises(ValueError, match=r"\('val/a', 0\): seen before"):
        evaluator.process(frames, stub_model(frames))


def test_an_error_leaves_no_part_of_a_video(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    turned = [inputs[1], inputs[0]]
    with pytest.raises(ValueError, match="expected a frame after 1, got frame 0"):
        evaluator.process(turned, stub_model(turned))
    assert sorted(files_of(cfg)) == ["run.json"]
    evaluator.process(inputs, stub_model(inputs))
    assert evaluator.evaluate()["vid"]["mAP"] == pytest.approx(200 / 3)


def test_outputs_must_be_as_many_as_inputs(cfg, model):
    evaluator, inputs = open_evaluation(cfg, model)
    with pytest.raises(ValueError):
        evaluator.process(inputs, [{"frame": detected([])}])


# ---- folders ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(cfg, model, tmp_path):
    (tmp_path / "file").write_text("")
    cfg.OUTPUT_DIR = str(tmp_path / "file")
    with pytest.raises(UserError, match=f"{tmp_path}/file/.*{NAME}: cannot be written: Not a dir"):
        open_run(cfg, model, NAME, RECORDS)


def test_a_folder_of_temporary_files_that_cannot_be_written(cfg, model, tmp_path, monkeypatch):
    monkeypatch.setattr(video_rescorer, "FRAMES_OF_BLOCK", 1)
    cfg.TEST.SEQ_NMS.ENABLED, cfg.TEST.SEQ_NMS.TRACK_LINKS = True, False
    evaluator, inputs = open_evaluation(cfg, model)
    evaluator.process(inputs, stub_model(inputs))
    (tmp_path / "file").write_text("")
    spooling = evaluator.scoring.spooling._replace(memory_limit=0, folder=tmp_path / "file")
    evaluator.scoring = evaluator.scoring._replace(spooling=spooling)
    with pytest.raises(UserError, match=f"{tmp_path}/file: cannot be written: File exists"):
        evaluator.evaluate()


def test_what_is_not_finite_is_named_by_video_and_frame(cfg, model, monkeypatch):
    evaluator, inputs = open_evaluation(cfg, model, [r | {"frame_index": 7} for r in RECORDS[3:4]])

    def fail(frame):
        raise FloatingPointError("frame 0: NaN or infinity in the detector's features")

    monkeypatch.setattr(evaluator.pipeline, "step", fail)
    with pytest.raises(FloatingPointError, match="^video b, frame 7: NaN or infinity in the det"):
        evaluator.process(inputs, stub_model(inputs))


def test_an_error_of_the_pipeline_names_no_file(cfg, model, monkeypatch):
    evaluator, inputs = open_evaluation(cfg, model)

    def fail(frame):
        raise OSError("of something else")

    monkeypatch.setattr(evaluator.pipeline, "step", fail)
    with pytest.raises(OSError, match="^of something else$"):
        evaluator.process(inputs, stub_model(inputs))
