"""tools/evaluate.py: figures of runs and files are those of what was saved, bit for bit."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.io import savemat

from d2_plugtrack.build import build_rescoring
from d2_plugtrack.config import add_torchvision_config
from d2_plugtrack.core.average_precisions import mean_average_precision
from d2_plugtrack.core.online_rescorer import OnlineRescorer
from d2_plugtrack.core.protocols import PROTOCOLS
from d2_plugtrack.core.rescoring import rescore_video
from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.core.vid_metrics import limit_detections
from d2_plugtrack.data.catalog import find_videos
from d2_plugtrack.data.dataset_ids import dataset_ids
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.results.coco_detections import read_detections
from d2_plugtrack.results.figures import figures_of, without_nan
from d2_plugtrack.results.run_folder import RunDescription, RunFolder, begin_run
from tests.core.video_results import linked

ROOT = Path(__file__).resolve().parents[1]
DATASET = "tiny_vid_test"
NAMES = list(TINY_CLASSES.values())
ALL = ["--protocol", *PROTOCOLS]

Video = list[tuple[int, FrameResult]]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Two test videos, and the same as a COCO-VID file."""
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=2)
    convert = runpy.run_path(str(ROOT / "tools/convert.py"))["main"]
    given = ["--from", "imagenet", "--list", "VID_test_videos.txt", "--classes", "tiny"]
    given += ["--input", str(root / "tiny_vid"), "--to", "coco-vid"]
    convert([*given, "--output", str(root / "converted.json")])
    return root


@pytest.fixture
def records(data_root, monkeypatch):
    """Ground truth of the two videos."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data_root))
    return find_videos(DATASET).load_records()


@pytest.fixture
def evaluate(data_root, tmp_path, monkeypatch, capsys):
    """Run the command in this process; gives the JSON that it writes, or its error as a text."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data_root))
    main = runpy.run_path(str(ROOT / "tools/evaluate.py"))["main"]

    def evaluate(*arguments: object, keys: Sequence[object] = ()) -> dict | str:
        output = tmp_path / "figures.json"
        try:
            main([*map(str, arguments), "--json", str(output), *map(str, keys)])
        except SystemExit as stop:
            assert stop.code == 2
            return capsys.readouterr().err
        return json.loads(output.read_text())

    return evaluate


def config(*opts: object) -> CfgNode:
    cfg = CfgNode()
    add_torchvision_config(cfg)
    cfg.merge_from_list(list(opts))
    return cfg


def random_videos(records, seed: int, tracks: bool = True) -> dict[str, Video]:
    """True boxes, moved a little, and others; some frames without, and a class never detected."""
    rng = np.random.default_rng(seed)
    videos: dict[str, Video] = {}
    for record in records:
        video = videos.setdefault(record["video_id"], [])
        before = len(video[-1][1].boxes) if video and tracks else 0
        video.append((record["frame_index"], random_result(record, rng, before, video)))
    if not tracks:
        return videos
    for name, video in videos.items():
        indices, results = zip(*video, strict=True)
        videos[name] = list(zip(indices, linked(rng, results), strict=True))
    return videos


def random_result(record, rng, before: int, video: Video) -> FrameResult:
    true = [a for a in record["annotations"] if rng.random() < 0.8]
    boxes = np.array([a["bbox"] for a in true]).reshape(-1, 4)
    others = np.sort(rng.random((rng.integers(0, 4), 2, 2)) * 60, axis=1).reshape(-1, 4)
    boxes = np.concatenate([boxes, others]) if rng.random() < 0.85 else np.zeros((0, 4))
    boxes = np.maximum(boxes + rng.normal(0, 1, boxes.shape), 0)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    scores = rng.random((len(boxes), len(NAMES))) ** 6
    for row, annotation in enumerate(true[: len(boxes)]):
        scores[row, annotation["category_id"]] = rng.random()
    scores[:, -1] = 0
    mapped = np.zeros((0, 4))
    if before:
        mapped = video[-1][1].boxes.numpy() + rng.normal(0, 1, (before, 4))
    boxes, scores, mapped = (torch.tensor(v, dtype=torch.float32) for v in (boxes, scores, mapped))
    source = torch.full((len(boxes),), -1)
    size = record["height"], record["width"]
    return FrameResult(boxes, scores, torch.full((len(boxes),), torch.nan), mapped, source, size)


def save(folder: Path, videos: dict[str, Video], cfg: CfgNode, dataset: str = DATASET) -> RunFolder:
    """A run as an evaluation leaves it."""
    frames = {video: [index for index, _ in results] for video, results in videos.items()}
    run, _ = begin_run(folder, RunDescription(dataset, {}, cfg.dump(), frames))
    for video, results in videos.items():
        with run.writer(video) as writer:
            for index, result in results:
                writer.append(result, index)
            writer.finish()
    return run


def figures(records, videos: dict[str, Video], cfg: CfgNode, protocols=tuple(PROTOCOLS)) -> dict:
    """The figures of what was never in a file, from whole videos in memory."""
    detections, how = {}, build_rescoring(cfg)
    for video, results in videos.items():
        frames = [result for _, result in results]
        if how.online:
            new_scores = [frame.scores for frame in OnlineRescorer(how).rescore(frames)]
        else:
            new_scores = [scores.numpy() for scores in rescore_video(frames, how).scores]
        for (index, result), scores in zip(results, new_scores, strict=True):
            floor, limit = cfg.TEST.VID.SCORE_FLOOR, cfg.TEST.VID.DETECTIONS_PER_FRAME
            detections[video, index] = limit_detections(result.boxes.numpy(), scores, floor, limit)
    return {
        name: without_nan(mean_average_precision(records, detections, NAMES, name))
        for name in protocols
    }


@pytest.fixture
def run(records, tmp_path):
    """A saved run with tracked boxes."""
    return save(tmp_path / "inference", random_videos(records, 0), config())


# ---- a run ---------------------------------------------------------------------------------------

SETTINGS = [
    (),
    ("TEST.SEQ_NMS.TRACK_LINKS", False),
    ("TEST.SEQ_NMS.ENABLED", False),
    ("TEST.SEQ_NMS.LINK_IOU", 0.7, "TEST.SEQ_NMS.NMS_IOU", 0.2, "TEST.SEQ_NMS.MIN_SCORE", 0.3),
    ("TEST.VID.SCORE_FLOOR", 0.2, "TEST.VID.DETECTIONS_PER_FRAME", 3),
    ("TEST.VID.MODE", "online"),
    ("TEST.VID.MODE", "online", "TEST.SEQ_NMS.MIN_SCORE", 0.3),
    ("TEST.VID.MODE", "online", "TEST.SEQ_NMS.LINK_IOU", 0.9),
    ("TEST.SEQ_NMS.MEMORY_MB", 0),
]


@pytest.mark.parametrize("opts", SETTINGS)
@pytest.mark.parametrize("num_cases", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_figures_of_a_run_are_those_of_what_was_saved(evaluate, records, tmp_path, opts, num_cases):
    opts = (*opts, "OUTPUT_DIR", str(tmp_path / "spool"))
    for seed in range(num_cases):
        videos = random_videos(records, seed)
        save(tmp_path / "saved", videos, config(*opts))
        save(tmp_path / "changed", videos, config())
        expected = figures(records, videos, config(*opts))
        assert evaluate("--run", tmp_path / "saved", *ALL)["results"] == expected
        found = evaluate("--run", tmp_path / "changed", *ALL, keys=opts)
        assert found["results"] == expected
        assert 0 < found["results"]["fgfa"]["mAP"] < 100


def test_settings_matter(evaluate, records, run):
    found = [evaluate("--run", run.folder, keys=opts)["results"] for opts in SETTINGS[:-1]]
    assert len({json.dumps(each) for each in found}) == len(found)


def test_published_motion_values_decide_what_is_fast(evaluate, records, run, tmp_path):
    rng = np.random.default_rng(0)
    motion = [rng.random(len(record["annotations"])) for record in records]
    rows = np.empty((len(records), 1), object)
    rows[:, 0] = [values[:, None] for values in motion]
    savemat(tmp_path / "motion.mat", {"motion_iou": rows})
    keys = ("TEST.VID.MOTION_FILE", tmp_path / "motion.mat")
    found = evaluate("--run", run.folder, *ALL, keys=keys)["results"]
    plain = evaluate("--run", run.folder, *ALL)["results"]
    path = tmp_path / "found.json"
    evaluate("--run", run.folder, "--write-detections", path)
    detections = read_detections(path, dataset_ids(DATASET, find_videos(DATASET), records))
    for protocol, result in found.items():
        expected = mean_average_precision(records, detections, NAMES, protocol, motion)
        assert result == without_nan(expected)
        assert result["motion"] != plain[protocol]["motion"]
        assert result["area"] == plain[protocol]["area"]
    message = evaluate("--run", run.folder, keys=(keys[0], path))
    assert message.startswith(f"error: {path}: expected a MATLAB file")


def test_what_the_files_say(evaluate, run, tmp_path, capsys):
    markdown = tmp_path / "figures.md"
    keys = ("TEST.SEQ_NMS.LINK_IOU", 0.25)
    found = evaluate("--run", run.folder, "--markdown", markdown, keys=keys)
    assert capsys.readouterr().out == markdown.read_text()
    assert found["dataset"] == DATASET and found["frames"] == 60
    assert found["source"] == str(run.folder)
    assert found["settings"]["TEST.SEQ_NMS.LINK_IOU"] == 0.25
    assert found["settings"]["TEST.VID.SCORE_FLOOR"] == 1e-3
    result = found["results"]["fgfa"]
    lines = markdown.read_text().splitlines()
    assert lines[0] == f"{DATASET}, 60 frames, {run.folder}"
    assert "TEST.SEQ_NMS.LINK_IOU 0.25, " in lines[2] and lines[2].endswith("MOTION_FILE ''")
    assert lines[4].startswith("| protocol | mAP % |")
    assert lines[6].startswith(f"| fgfa | {result['mAP']:.1f} |")
    for name, value in result["AP"].items():
        assert f"| {name} | {'no objects' if value is None else f'{value:.1f}'} |" in lines
    assert None in result["AP"].values()  # two videos have no objects of some classes
    assert 0 in result["AP"].values() or result["AP"][NAMES[-1]] is None


@pytest.mark.parametrize(
    "keys",
    [
        ("MODEL.WEIGHTS", "x.pth"),
        ("TEST.TFD.MERGE_THRESH", 0.3),
        ("TEST.PER_FRAME.NMS_THRESH", 0.7),
        ("TEST.SEQ_NMS.LINK_IOU", 0.5, "INPUT.MIN_SIZE_TEST", 100),
        ("TEST.VIDEO", 1),
        ("NO.SUCH", 1),
    ],
)
def test_keys_that_need_the_detector_are_refused(evaluate, run, keys, tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    for source in (("--run", run.folder), ("--detections", path, "--dataset", DATASET)):
        message = evaluate(*source, keys=keys)
        expected = "expected a key of TEST.SEQ_NMS, TEST.VID, DATASETS.STRICT, OUTPUT_DIR"
        assert message.startswith(f"error: {keys[-2]}: {expected}")
        assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "keys, words",
    [
        (("TEST.SEQ_NMS.LINK", 1), "error: TEST.SEQ_NMS.LINK 1: Non-existent key"),
        (("TEST.SEQ_NMS.LINK_IOU", "x"), "error: TEST.SEQ_NMS.LINK_IOU x: expected a value"),
        (("TEST.SEQ_NMS.LINK_IOU",), "error: TEST.SEQ_NMS.LINK_IOU: "),
        (("TEST.SEQ_NMS.MEMORY_MB", -1), "error: TEST.SEQ_NMS.MEMORY_MB -1: expected 0 or more"),
        (("TEST.VID.PROTOCOL", "voc"), "error: TEST.VID.PROTOCOL voc: expected one of fgfa"),
        (("TEST.VID.MODE", "live"), "error: TEST.VID.MODE live: expected one of offline, online"),
    ],
)
def test_mistaken_keys_are_named(evaluate, run, keys, words):
    assert evaluate("--run", run.folder, keys=keys).startswith(words)


def test_links_from_tracked_boxes_need_a_run_with_them(evaluate, records, tmp_path):
    untracked = config("TEST.TFD.TRACK", False, "TEST.SEQ_NMS.TRACK_LINKS", False)
    videos = random_videos(records, 0, tracks=False)
    folder = save(tmp_path / "inference", videos, untracked).folder
    found = evaluate("--run", folder, *ALL)
    assert found["results"] == figures(records, videos, untracked)
    message = evaluate("--run", folder, keys=("TEST.SEQ_NMS.TRACK_LINKS", True))
    expected = f"TEST.SEQ_NMS.TRACK_LINKS True: expected False, {folder} has no tracked boxes"
    assert message == f"error: {expected}\n"
    message = evaluate("--run", folder, keys=("TEST.VID.MODE", "online"))
    expected = f"TEST.VID.MODE online: expected offline, {folder} has no tracked boxes"
    assert message == f"error: {expected}\n"


def test_what_counts_of_rescoring_is_said(evaluate, run):
    keys = ("TEST.VID.MODE", "online")
    settings = evaluate("--run", run.folder, keys=keys)["settings"]
    assert settings["TEST.VID.MODE"] == "online" and settings["TEST.SEQ_NMS.NMS_IOU"] == 0.45
    assert settings["TEST.SEQ_NMS.LINK_IOU"] == 0.5
    assert "TEST.SEQ_NMS.TRACK_LINKS" not in settings
    settings = evaluate("--run", run.folder)["settings"]
    assert settings["TEST.VID.MODE"] == "offline" and settings["TEST.SEQ_NMS.TRACK_LINKS"] is True
    assert settings["TEST.SEQ_NMS.LINK_IOU"] == 0.5
    settings = evaluate("--run", run.folder, keys=(*keys, "TEST.SEQ_NMS.ENABLED", False))[
        "settings"
    ]
    assert "TEST.VID.MODE" not in settings


def test_runs_of_another_kind_are_refused(evaluate, records, run, tmp_path):
    message = evaluate("--run", run.folder, "--dataset", "tiny_vid_val")
    assert f"{run.folder}/run.json: expected a run on dataset tiny_vid_val, found {DATASET}" in (
        message
    )
    assert "run.json: expected the description of a run, found no file" in evaluate(
        "--run", tmp_path
    )
    videos = random_videos(records, 0)
    shorter = {video: results[:-1] for video, results in videos.items()}
    folder = save(tmp_path / "shorter", shorter, config()).folder
    assert (
        f"expected the 60 frames of dataset {DATASET} as it is now, found 58, without frame 29 of "
        "video test/tiny_test_00000"
    ) in evaluate("--run", folder)
    longer = {video: [*results, (30, results[0][1])] for video, results in videos.items()}
    folder = save(tmp_path / "longer", longer, config()).folder
    assert "found 62, with frame 30 of video test/tiny_test_00000" in evaluate("--run", folder)
    others = {
        video: [(i, r._replace(scores=r.scores[:, :3])) for i, r in results]
        for video, results in videos.items()
    }
    run = save(tmp_path / "others", others, config())
    assert evaluate("--run", run.folder) == (
        f"error: {run.path('test/tiny_test_00000')}: expected scores of the 8 classes of dataset "
        f"{DATASET}, found 3\n"
    )


def test_a_run_that_is_not_finished_or_damaged_is_refused(evaluate, run):
    path = run.path("test/tiny_test_00001")
    whole = path.read_bytes()
    path.unlink()
    message = evaluate("--run", run.folder)
    assert f"expected the results of 2 videos, found 1; the first that is missing is {path}" in (
        message
    )
    path.write_bytes(whole[: len(whole) // 2])
    assert evaluate("--run", run.folder).startswith(f"error: {path}: expected results of a video")


def test_a_config_that_is_none_is_refused(evaluate, run):
    path = run.folder / "run.json"
    data = json.loads(path.read_text())
    for text, words in (
        ("TEST: {}", "expected the key TEST.SEQ_NMS, found none"),
        ("x", "expected config keys and their values"),
        ("TEST: {SEQ_NMS: {NO_SUCH: 1}}", "Non-existent config key: TEST.SEQ_NMS.NO_SUCH"),
        ("!!python/object/apply:os.system ['false']", "could not determine a constructor"),
    ):
        path.write_text(json.dumps({**data, "config": text}))
        message = evaluate("--run", run.folder)
        assert message.startswith(f"error: {path}, config: ") and words in message
        assert len(message.splitlines()) == 1


def test_figures_of_an_evaluation_and_of_one_with_other_keys(evaluate, tmp_path):
    from d2_plugtrack.plugin import load_config, load_model
    from d2_plugtrack.training import Trainer

    def figures_of_training(output: Path, *keys: object) -> dict:
        opts = [*("MODEL.WEIGHTS", str(ROOT / "demo/plugtrack_tiny.pth"), "MODEL.DEVICE", "cpu")]
        opts += ["DATALOADER.NUM_WORKERS", 0, "OUTPUT_DIR", str(output), *keys]
        cfg = load_config(str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml"), [*map(str, opts)])
        return without_nan(Trainer.test(cfg, load_model(cfg)))["vid"]

    def figures_of_run(output: Path, *keys: object) -> dict:
        found = evaluate("--run", output / "inference" / DATASET, keys=keys)
        return figures_of(found["results"]["fgfa"])

    other = ("TEST.SEQ_NMS.TRACK_LINKS", False, "TEST.SEQ_NMS.LINK_IOU", 0.8)
    first, second = tmp_path / "first", tmp_path / "second"
    expected, changed = figures_of_training(first), figures_of_training(second, *other)
    assert expected != changed
    assert (
        figures_of_run(first) == figures_of_run(second, *other[:1], True, other[2], 0.5) == expected
    )
    assert figures_of_run(second) == figures_of_run(first, *other) == changed


# ---- a file of detections ------------------------------------------------------------------------


@pytest.mark.parametrize("num_cases", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_written_detections_give_the_figures_of_their_run(evaluate, records, tmp_path, num_cases):
    path, again = tmp_path / "found.json", tmp_path / "again.json"
    for seed in range(num_cases):
        run = save(tmp_path / "inference", random_videos(records, seed), config())
        expected = evaluate("--run", run.folder, *ALL, "--write-detections", path)["results"]
        given = ["--detections", path, "--dataset"]
        found = evaluate(*given, DATASET, *ALL, "--write-detections", again)
        assert found["results"] == expected
        assert path.read_bytes() == again.read_bytes()
        assert evaluate(*given, "converted.json", *ALL)["results"] == expected
        plain = json.loads(path.read_text())["annotations"]
        path.write_text(json.dumps(plain))
        assert evaluate(*given, DATASET, *ALL)["results"] == expected


def test_a_run_on_a_json_file_and_on_what_it_was_converted_from(evaluate, records, tmp_path):
    path = tmp_path / "found.json"
    converted = find_videos("converted.json").load_records()
    assert [r["video_id"] for r in converted[::30]] == ["converted.json:1", "converted.json:2"]
    videos = random_videos(converted, 0)
    run = save(tmp_path / "inference", videos, config(), dataset="converted.json")
    expected = figures(converted, videos, config())
    found = evaluate("--run", run.folder, *ALL, "--write-detections", path)["results"]
    assert found == expected
    for dataset in ("converted.json", DATASET):
        found = evaluate("--detections", path, "--dataset", dataset, *ALL)["results"]
        assert found == expected


def test_detections_on_another_part_of_the_dataset_are_refused(evaluate, run, data_root, tmp_path):
    """Its images and videos have the same numbers: the videos' names tell."""
    write_tiny_vid(data_root / "tiny_vid", seed=0, splits=["val"], num_videos=2)
    path = tmp_path / "found.json"
    evaluate("--run", run.folder, "--write-detections", path)
    assert evaluate("--detections", path, "--dataset", "tiny_vid_val") == (
        f"error: {path}, videos[0]: expected 'val/tiny_val_00000' as in dataset tiny_vid_val in "
        "name, found 'test/tiny_test_00000'\n"
    )


def test_other_tools_read_what_is_written(evaluate, run, data_root, tmp_path):
    """pycocotools, with the ground truth that tools/convert.py wrote: the ids are the same."""
    path = tmp_path / "found.json"
    found = evaluate("--run", run.folder, "--protocol", "coco", "--write-detections", path)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data_root / "converted.json"))
        detections = truth.loadRes(json.loads(path.read_text())["annotations"])
        evaluation = COCOeval(truth, detections, "bbox")
        evaluation.params.maxDets = [1, 100, 300]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1].mean(axis=0)  # IoU 0.5, all areas
    expected = dict(zip(NAMES, [None if p < 0 else 100 * p for p in precision], strict=True))
    assert found["results"]["coco"]["AP"] == pytest.approx(expected)


def test_a_score_floor_of_nothing_keeps_what_is_written(evaluate, run, tmp_path):
    keys = ("TEST.VID.SCORE_FLOOR", 0.0, "TEST.VID.DETECTIONS_PER_FRAME", 20)
    path = tmp_path / "found.json"
    expected = evaluate("--run", run.folder, "--write-detections", path, keys=keys)
    found = evaluate("--detections", path, "--dataset", DATASET, keys=keys)
    assert found["results"] == expected["results"]


def test_detections_are_limited(evaluate, run, tmp_path):
    path = tmp_path / "found.json"
    keys = ("TEST.VID.SCORE_FLOOR", 0.3, "TEST.VID.DETECTIONS_PER_FRAME", 2)
    expected = evaluate("--run", run.folder, *ALL, "--write-detections", path, keys=keys)
    evaluate("--run", run.folder, "--write-detections", path)
    found = evaluate("--detections", path, "--dataset", DATASET, *ALL, keys=keys)
    assert found["results"] == expected["results"]


def test_detections_of_one_class_each_are_rescored_as_those_of_a_run(evaluate, records, tmp_path):
    cfg = config("TEST.TFD.ENABLED", False, "TEST.SEQ_NMS.TRACK_LINKS", False)
    videos = random_videos(records, 0, tracks=False)
    for results in videos.values():
        for _, result in results:
            result.scores[result.scores < result.scores.amax(dim=1, keepdim=True)] = 0
    run, path = save(tmp_path / "inference", videos, cfg), tmp_path / "found.json"
    keys = ("TEST.SEQ_NMS.ENABLED", False, "TEST.VID.SCORE_FLOOR", 1e-9)
    evaluate("--run", run.folder, "--write-detections", path, keys=keys)
    given = ("--detections", path, "--dataset", DATASET, *ALL)
    found = evaluate(*given, keys=("TEST.SEQ_NMS.ENABLED", True))["results"]
    assert found == evaluate("--run", run.folder, *ALL)["results"] == figures(records, videos, cfg)
    assert found != evaluate(*given)["results"]


def test_no_detections_at_all(evaluate, tmp_path):
    path = tmp_path / "found.json"
    path.write_text("[]")
    for keys in ((), ("TEST.SEQ_NMS.ENABLED", True)):
        found = evaluate("--detections", path, "--dataset", DATASET, *ALL, keys=keys)["results"]
        for result in found.values():
            assert result["mAP"] == 0 and set(result["AP"].values()) == {0, None}


def test_mistakes_with_a_file_are_one_line(evaluate, run, tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{"image_id": 61, "category_id": 1, "bbox": [], "score": 1}]))
    given = ("--detections", path, "--dataset", DATASET)
    expected = f"{path}, detections[0]: expected an image of dataset {DATASET} in image_id, found"
    assert evaluate(*given) == f"error: {expected} 61\n"
    assert evaluate(*given[:2]) == "error: --dataset: expected with --detections\n"
    tracked = ("TEST.SEQ_NMS.ENABLED", True, "TEST.SEQ_NMS.TRACK_LINKS", True)
    assert f"expected False, {path} has no tracked boxes" in evaluate(*given, keys=tracked)
    assert "dataset no: not registered" in evaluate(*given[:3], "no")
    assert "expected videos (evaluator_type vid), found stills" in evaluate(
        *given[:3], "tiny_det_train"
    )
    absent = tmp_path / "none/x.json"
    for option in ("--write-detections", "--markdown"):
        assert f"{absent}: expected an existing folder" in evaluate(*given, option, absent)
    assert "x: expected a file, found none" in evaluate("--detections", "x", *given[2:])
    assert "not allowed with argument" in evaluate("--run", run.folder, *given)
    assert "one of the arguments --run --detections is required" in evaluate()
    assert "invalid choice: 'voc'" in evaluate(*given, "--protocol", "voc")


def test_detectron2_is_not_needed(run, data_root, tmp_path):
    code = (
        "import runpy, sys; sys.modules['detectron2'] = None; sys.argv[0] = 'evaluate.py'; "
        "runpy.run_path('tools/evaluate.py', run_name='__main__')"
    )
    path = tmp_path / "figures.json"
    result = subprocess.run(
        [sys.executable, "-c", code, "--run", str(run.folder), "--json", str(path)],
        **{"cwd": ROOT, "capture_output": True, "text": True, "check": False},
        env={**os.environ, "DETECTRON2_DATASETS": str(data_root), "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{DATASET}, 60 frames, {run.folder}\n")
    assert json.loads(path.read_text())["results"]["fgfa"]["mAP"] > 0


def test_a_file_that_would_be_read_and_written_is_refused(evaluate, tmp_path):
    path = tmp_path / "detections.json"
    path.write_text("[]")
    given = ["--detections", path, "--dataset", DATASET, "--write-detections", path]
    expected = "expected once, found as several of input and outputs"
    assert evaluate(*given) == f"error: {path}: {expected}\n"
    assert path.read_text() == "[]"
