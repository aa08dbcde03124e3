"""The commands, as a user runs them: both stages of training, evaluation, the tools, and mistakes.

The runs are a few iterations on a few videos; what they share is in fixtures of the module. Many
mistakes are tried in one process, because starting detectron2 takes most of the time.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from detectron2.modeling import build_model

from d2_plugtrack.ablation import ABLATION_ROWS
from d2_plugtrack.core.boxes import aligned_iou
from d2_plugtrack.data.imagenet.records import load_vid_videos
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import UserError
from d2_plugtrack.plugin import load_config
from d2_plugtrack.training import Trainer, check_files
from train_net import check_processes

ROOT = Path(__file__).resolve().parents[1]
DETECTOR = str(ROOT / "configs/TinyVID/detector_tiny.yaml")
PLUGTRACK = str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml")
TORCHVISION = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
SMALL = [
    *("MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2"),
    *("DATALOADER.NUM_WORKERS", "0", "MODEL.RPN.POST_NMS_TOPK_TEST", "15"),
    *("TEST.TFD.MAX_BOXES", "15", "MODEL.PLUGTRACK.CONV_DIM", "8", "SEED", "1"),
]
EVALUATED = re.compile(r"copypaste: mAP$\n^.*copypaste: (\d+\.\d+)$", re.MULTILINE)

# Runs commands one after another in one process; a list of [script, arguments, data root] goes in,
# [exit status, what stderr got] or the name of an exception comes out.
MANY_RUNS = """
import contextlib, io, json, os, runpy, sys
results = []
for script, arguments, data in json.loads(sys.argv[1]):
    os.environ["DETECTRON2_DATASETS"] = data
    module = runpy.run_path(script)
    error = io.StringIO()
    try:
        with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
            (module["run"] if "run" in module else module["main"])(arguments)
        status = 0
    except SystemExit as exit_:
        status = exit_.code
    except Exception as exception:
        status = repr(exception)
    results.append([status, error.getvalue()])
print(json.dumps(results))
"""


def run(data: Path, *command) -> subprocess.CompletedProcess:
    environment = {**os.environ, "DETECTRON2_DATASETS": str(data), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        **{"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "check": False},
    )


def train(data: Path, config: str, output: Path, *arguments) -> subprocess.CompletedProcess:
    """train_net.py: what starts with -- goes before the keys."""
    flags = [a for a in arguments if str(a).startswith("--")]
    keys = [a for a in arguments if not str(a).startswith("--")]
    command = ["train_net.py", "--config-file", config, *flags, *SMALL]
    return run(data, *command, "OUTPUT_DIR", output, *keys)


def passed(result: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return result


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "model_final.pth")["model"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["train"], num_videos=2)
    write_tiny_vid(root / "tiny_vid", seed=0, splits=["test"], num_videos=1)
    return root


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory) -> Path:
    """Stage one's output folder."""
    output = tmp_path_factory.mktemp("detector")
    passed(train(data, DETECTOR, output))
    return output


@pytest.fixture(scope="module")
def tracker_run(data, detector, tmp_path_factory) -> tuple[Path, str]:
    """Stage two's output folder and what it printed."""
    output = tmp_path_factory.mktemp("tracker")
    weights = ["MODEL.WEIGHTS", detector / "model_final.pth"]
    expected = ["TEST.EXPECTED_RESULTS", '[["vid", "mAP", 50.0, 50.0]]']
    return output, passed(train(data, PLUGTRACK, output, *weights, *expected)).stdout


@pytest.fixture(scope="module")
def tracker_weights(tracker_run) -> list:
    return ["MODEL.WEIGHTS", str(tracker_run[0] / "model_final.pth")]


# ---- training and evaluation ---------------------------------------------------------------------


def test_stage_one_saves_a_stock_detector(detector):
    state = state_of(detector)
    assert state and not [key for key in state if key.startswith("tracker.")]
    assert (detector / "config.yaml").is_file()


def test_stage_two_trains_the_tracker_and_nothing_else(detector, tracker_run):
    before, after = state_of(detector), state_of(tracker_run[0])
    assert [k for k in after if not k.startswith("tracker.")] == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert after["tracker.template_block.1.num_batches_tracked"] == 2


def test_stage_two_evaluates_at_the_end(tracker_run):
    _, printed = tracker_run
    assert EVALUATED.search(printed)
    assert "tiny_vid_test, protocol fgfa: mAP" in printed  # the evaluator's own table
    assert all(name in printed for name in TINY_CLASSES.values())
    assert "Results verification passed" in printed


def test_resume_goes_on_where_training_stopped(data, tracker_run, tmp_path):
    for name in ("model_final.pth", "last_checkpoint"):
        (tmp_path / name).write_bytes((tracker_run[0] / name).read_bytes())
    keys = ["SOLVER.MAX_ITER", "3", "DATASETS.TEST", "()", "MODEL.WEIGHTS", "not_looked_at.pth"]
    result = passed(train(data, PLUGTRACK, tmp_path, "--resume", *keys))
    assert "Starting training from iteration 2" in result.stdout
    checkpoint = torch.load(tmp_path / "model_final.pth")
    assert checkpoint["iteration"] == 2
    assert checkpoint["model"]["tracker.template_block.1.num_batches_tracked"] == 3


@pytest.fixture(scope="module")
def failed_evaluation(data, tracker_weights, tmp_path_factory) -> subprocess.CompletedProcess:
    """An evaluation whose result is not the expected one."""
    output = tmp_path_factory.mktemp("evaluation")
    expected = ["TEST.EXPECTED_RESULTS", '[["vid", "mAP", 200.0, 1.0]]']
    return train(data, PLUGTRACK, output, "--eval-only", *tracker_weights, *expected)


def test_evaluation_alone_gives_what_the_training_ended_with(tracker_run, failed_evaluation):
    found, expected = (EVALUATED.search(t) for t in (failed_evaluation.stdout, tracker_run[1]))
    assert found[1] == expected[1]


def test_unexpected_results_fail(failed_evaluation):
    assert failed_evaluation.returncode == 1
    assert "Result verification failed" in failed_evaluation.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes want two GPUs")
def test_two_processes_give_what_one_gives(data, tracker_weights, failed_evaluation, tmp_path):
    # one of them has no video, and the main one fails because of the expectation
    flags = ["--eval-only", "--num-gpus=2", "--dist-url=auto"]
    expected = ["TEST.EXPECTED_RESULTS", '[["vid", "mAP", 200.0, 1.0]]']
    result = train(data, PLUGTRACK, tmp_path, *flags, *tracker_weights, *expected)
    assert EVALUATED.search(result.stdout)[1] == EVALUATED.search(failed_evaluation.stdout)[1]
    assert result.returncode == failed_evaluation.returncode == 1
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes want two GPUs")
def test_two_processes_train_and_evaluate(data, detector, tmp_path):
    flags = ["--num-gpus=2", "--dist-url=auto"]
    weights = ["MODEL.WEIGHTS", detector / "model_final.pth"]
    result = passed(train(data, PLUGTRACK, tmp_path, *flags, *weights))
    before, after = state_of(detector), state_of(tmp_path)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert after["tracker.template_block.1.num_batches_tracked"] == 2
    assert EVALUATED.search(result.stdout)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_that_diverges_in_its_last_step_is_one_line(data, detector, tmp_path, count):
    if count > 1 and torch.cuda.is_available():
        pytest.skip("two processes want two GPUs")
    keys = ["MODEL.WEIGHTS", detector / "model_final.pth", "SOLVER.BASE_LR", "1e25"]
    keys += ["SOLVER.CHECKPOINT_PERIOD", "1", "SOLVER.WARMUP_ITERS", "0"]
    result = train(data, PLUGTRACK, tmp_path, f"--num-gpus={count}", *keys)
    assert result.returncode == 1
    errors = [x for x in result.stderr.splitlines() if x.startswith("error: iteration 1: ")]
    assert errors and len(errors) <= count  # the launcher may end a process before it says so
    printed = result.stdout + result.stderr
    assert "Traceback" not in printed and not EVALUATED.search(result.stdout)
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000000.pth"
    state = torch.load(tmp_path / "model_0000000.pth")["model"]
    assert all(value.isfinite().all() for value in state.values())
    assert not (tmp_path / "model_final.pth").exists()


@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_optimizers_hold_the_tracker_only(name):
    cfg = load_config(PLUGTRACK, [*SMALL, "SOLVER.OPTIMIZER", name, "SOLVER.BASE_LR", "0.25"])
    model = build_model(cfg)
    optimizer = Trainer.build_optimizer(cfg, model)
    assert name in type(optimizer).__name__  # detectron2 makes a subclass where it clips gradients
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(id(p) for p in model.tracker.parameters())
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_other_optimizers_are_refused():
    cfg = load_config(PLUGTRACK, [*SMALL, "SOLVER.OPTIMIZER", "Adagrad"])
    with pytest.raises(UserError, match="SOLVER.OPTIMIZER Adagrad: expected SGD or AdamW"):
        Trainer.build_optimizer(cfg, torch.nn.Linear(1, 1))


# ---- tools ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ablation(data, tracker_weights, tmp_path_factory) -> tuple[dict, str]:
    """What the ablation wrote and printed."""
    path = tmp_path_factory.mktemp("ablation") / "ablation.json"
    command = ["tools/ablation.py", "--config-file", PLUGTRACK, "--dataset", "tiny_vid_test"]
    flags = ["--batch-size", 1, "--json", path, "--markdown", path.with_suffix(".md")]
    result = passed(run(data, *command, *flags, *SMALL, *tracker_weights))
    assert path.with_suffix(".md").read_text() == result.stdout
    return json.loads(path.read_text()), result.stdout


def test_ablation_writes_its_rows(ablation):
    written, _ = ablation
    assert written["dataset"] == "tiny_vid_test" and written["protocol"] == "fgfa"
    assert [row["name"] for row in written["rows"]] == [row.name for row in ABLATION_ROWS]
    for row in written["rows"]:
        assert set(row) == {"name", "paper", "mAP", "AP", "motion", "area"}
        assert set(row["motion"]) == {"slow", "medium", "fast"}
        assert list(row["AP"]) == list(TINY_CLASSES.values())
        present = [ap for ap in row["AP"].values() if ap is not None]  # the video has few classes
        assert 0 < len(present) < len(TINY_CLASSES)
        assert row["mAP"] == pytest.approx(sum(present) / len(present))


def test_ablation_agrees_with_the_evaluation(ablation, failed_evaluation):
    rows = {row["name"]: row["mAP"] for row in ablation[0]["rows"]}
    alone = float(EVALUATED.search(failed_evaluation.stdout)[1])
    assert rows["TFD(0.7) + Seq-Track-NMS"] == pytest.approx(alone, abs=1e-4)


def test_ablation_prints_a_table(ablation):
    _, printed = ablation
    for row in ABLATION_ROWS:
        assert f"| {row.name} |" in printed
    for name in TINY_CLASSES.values():
        assert f"| {name} |" in printed
    assert "not run" not in printed and "no objects" in printed


def test_ablation_without_tracking_needs_no_tracker(data, detector, tmp_path):
    command = ["tools/ablation.py", "--settings", "per-frame", "no-tracking", "--json"]
    flags = [tmp_path / "a.json", "--config-file", PLUGTRACK, "--dataset", "tiny_vid_test"]
    weights = ["MODEL.WEIGHTS", detector / "model_final.pth"]
    result = passed(run(data, *command, *flags, *SMALL, *weights))
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    measured = {row["name"] for row in rows if row["mAP"] is not None}
    assert measured == {"per frame", "control: no tracking"}
    assert len(rows) == len(ABLATION_ROWS) and "not run" in result.stdout


@pytest.fixture(scope="module")
def overlaps(data, tracker_weights, tmp_path_factory) -> dict[int, dict]:
    """What eval_tracker.py wrote, by gap."""
    path = tmp_path_factory.mktemp("overlaps") / "overlaps.json"
    command = ["tools/eval_tracker.py", "--gaps", 1, 5, 99, "--config-file", PLUGTRACK]
    flags = ["--dataset", "tiny_vid_test", "--json", path]
    passed(run(data, *command, *flags, *SMALL, *tracker_weights))
    written = json.loads(path.read_text())
    assert written["dataset"] == "tiny_vid_test"
    return {row["gap"]: row for row in written["rows"]}


@pytest.mark.parametrize("gap", [1, 5])
def test_tracker_evaluation_counts_the_objects_of_both_frames(data, overlaps, gap):
    root = data / "tiny_vid"
    records = load_vid_videos(root, root / "ImageSets/VID_test_videos.txt", TINY_CLASSES)
    boxes = [{a["track_id"]: a["bbox"] for a in r["annotations"]} for r in records]
    both = [(a[i], b[i]) for a, b in zip(boxes, boxes[gap:], strict=False) for i in a if i in b]
    start, end = (torch.tensor(x) for x in zip(*both, strict=True))
    assert overlaps[gap]["objects"] == len(both)
    assert overlaps[gap]["unmoved"] == pytest.approx(
        float(aligned_iou(start, end).mean()), abs=1e-5
    )
    assert 0 <= overlaps[gap]["tracked"] <= 1


def test_tracker_evaluation_of_a_gap_longer_than_the_video(overlaps):
    assert overlaps[99] == {"gap": 99, "objects": 0, "tracked": None, "unmoved": None}


@pytest.mark.parametrize(
    ("count", "device", "named"),
    [
        (3, "cuda", "--num-gpus 3: this machine has 2"),
        (2, "cpu", "MODEL.DEVICE cpu: 2 processes of a machine with GPUs need cuda"),
    ],
)
def test_processes_that_have_no_gpu_are_refused(monkeypatch, count, device, named):
    cfg = load_config(PLUGTRACK, SMALL)
    cfg.MODEL.DEVICE = device
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    args = SimpleNamespace(num_gpus=count, num_machines=1, machine_rank=0, eval_only=True)
    with pytest.raises(UserError, match=named):
        check_processes(cfg, args)


# ---- mistakes ------------------------------------------------------------------------------------

TRAIN, ABLATION, OVERLAPS = "train_net.py", "tools/ablation.py", "tools/eval_tracker.py"
STAGE_TWO = ["--config-file", PLUGTRACK]
STAGE_ONE = ["--config-file", DETECTOR]
TOOL = [*STAGE_TWO, "--dataset", "tiny_vid_test"]
KNOWN_SETS = "the video datasets are imagenet_vid_train"

# name: script, flags, keys (with {names} of files), what the one line must say
MISTAKES = {
    "misspelt key": (TRAIN, STAGE_TWO, ["TEST.TFD.MERGE_TRESH", "1"], "TEST.TFD.MERGE_TRESH"),
    "no config": (TRAIN, [], [], "--config-file"),
    "absent config": (TRAIN, ["--config-file", "{absent}"], [], "{absent}"),
    "torchvision": (
        *(TRAIN, ["--config-file", TORCHVISION], []),
        "torchvision_tiny.yaml: HOST torchvision: train with tools/train_torchvision.py",
    ),
    "no weights": (TRAIN, STAGE_TWO, [], "MODEL.WEIGHTS is empty"),
    "absent weights": (TRAIN, STAGE_TWO, ["MODEL.WEIGHTS", "{absent}"], "{absent}: no such file"),
    "absent weights, one": (TRAIN, STAGE_ONE, ["MODEL.WEIGHTS", "{absent}"], "WEIGHTS {absent}"),
    "text as weights": (TRAIN, STAGE_TWO, ["MODEL.WEIGHTS", "{text}"], "WEIGHTS {text}: not a"),
    "text as weights, one": (TRAIN, STAGE_ONE, ["MODEL.WEIGHTS", "{text}"], "{text}: not a"),
    "other weights": (
        TRAIN,
        STAGE_TWO,
        ["MODEL.WEIGHTS", "{other}"],
        "{other}: not weights of this",
    ),
    "other shapes": (
        *(TRAIN, [*STAGE_TWO, "--eval-only"]),
        ["MODEL.WEIGHTS", "{tracker}", "MODEL.PLUGTRACK.CONV_DIM", "4"],
        "{tracker}: not weights of this architecture",
    ),
    "no tracker": (
        *(TRAIN, [*STAGE_TWO, "--eval-only"], ["MODEL.WEIGHTS", "{detector}"]),
        "missing, the first is tracker.",
    ),
    "broken checkpoint": (
        *(TRAIN, [*STAGE_TWO, "--resume"], ["OUTPUT_DIR", "{broken}"]),
        "{broken}/model.pth: not a checkpoint",
    ),
    "no data": (TRAIN, STAGE_TWO, ["MODEL.WEIGHTS", "{detector}"], "{nodata}/tiny_vid"),
    "no data, one": (TRAIN, STAGE_ONE, [], "{nodata}/tiny_vid"),
    "unknown training set": (TRAIN, STAGE_ONE, ["DATASETS.TRAIN", "('sets',)"], KNOWN_SETS),
    "no training set": (TRAIN, STAGE_ONE, ["DATASETS.TRAIN", "()"], "DATASETS.TRAIN is empty"),
    "stills as videos": (
        *(TRAIN, STAGE_TWO, ["DATASETS.TRAIN", "('tiny_det_train',)"]),
        "tiny_det_train']: pairs need videos",
    ),
    "unknown test set": (TRAIN, STAGE_TWO, ["DATASETS.TEST", "('sets',)"], KNOWN_SETS),
    "stills as test set": (
        *(TRAIN, STAGE_TWO, ["DATASETS.TEST", "('tiny_det_train',)"]),
        "tiny_det_train with PlugTrackRCNN: expected a video dataset",
    ),
    "nothing to evaluate": (
        *(TRAIN, [*STAGE_TWO, "--eval-only"], ["DATASETS.TEST", "()"]),
        "DATASETS.TEST is empty",
    ),
    "stock detector": (
        *(TRAIN, STAGE_ONE, ["DATASETS.TEST", "('tiny_vid_test',)"]),
        "with GeneralizedRCNN: expected",
    ),
    "parts of a batch": (
        *(TRAIN, [*STAGE_TWO, "--num-gpus=2"], ["SOLVER.ACCUMULATE", "2"]),
        "SOLVER.IMS_PER_BATCH 2: expected a multiple of 2 (processes) times 2 (SOLVER.ACCUMULATE)",
    ),
    "other classes than the data": (
        *(TRAIN, STAGE_ONE, ["MODEL.ROI_HEADS.NUM_CLASSES", "5"]),
        "MODEL.ROI_HEADS.NUM_CLASSES 5: dataset tiny_vid_train_15frames has 8 classes",
    ),
    "no such heads": (
        *(TRAIN, STAGE_ONE, ["MODEL.ROI_HEADS.NAME", "OHEMHeads"]),
        "MODEL: cannot be built from these keys: No object named 'OHEMHeads'",
    ),
    "no processes": (
        TRAIN,
        [*STAGE_ONE, "--num-gpus", "0"],
        [],
        "--num-gpus: expected a whole number of at least 1",
    ),
    "machines without an address": (
        *(TRAIN, [*STAGE_ONE, "--num-machines", "2"], []),
        "--dist-url: expected with --num-machines",
    ),
    "classifier for stage two": (
        *(TRAIN, STAGE_TWO, ["MODEL.WEIGHTS", "timm://hrnet_w32"]),
        "timm://hrnet_w32: expected a detector's checkpoint",
    ),
    "one-stage zoo config": (
        *(TRAIN, STAGE_TWO, ["ZOO", "COCO-Detection/retinanet_R_50_FPN_1x.yaml"]),
        "expected a two-stage detector (GeneralizedRCNN)",
    ),
    "resumed with another architecture": (
        *(TRAIN, [*STAGE_ONE, "--resume"]),
        ["OUTPUT_DIR", "{detector_folder}", "MODEL.ROI_BOX_HEAD.FC_DIM", "64"],
        "keys of another shape, the first is roi_heads.box_head.fc1",
    ),
    "output is a file": (TRAIN, STAGE_TWO, ["OUTPUT_DIR", "{text}"], "OUTPUT_DIR {text}"),
    "protocol": (
        *(TRAIN, [*STAGE_TWO, "--eval-only"]),
        ["MODEL.WEIGHTS", "{tracker}", "TEST.VID.PROTOCOL", "voc"],
        "TEST.VID.PROTOCOL voc: expected one of fgfa",
    ),
    "precision": (
        *(
            TRAIN,
            [*STAGE_TWO, "--eval-only"],
            ["TEST.SPEED.PRECISION", "half", "MODEL.WEIGHTS", "{text}"],
        ),
        "TEST.SPEED.PRECISION half: expected one of float32, bf16, fp16",
    ),
    "options of inference": (
        *(TRAIN, [*STAGE_TWO, "--amp", "bf16", "--compile"], []),
        "error: --amp, --channels-last, --compile: expected with --eval-only",
    ),
    "ablation, unknown set": (ABLATION, [*STAGE_TWO, "--dataset", "sets"], [], KNOWN_SETS),
    "overlaps, unknown set": (OVERLAPS, [*STAGE_TWO, "--dataset", "sets"], [], KNOWN_SETS),
    "ablation, stills": (
        *(ABLATION, [*STAGE_TWO, "--dataset", "tiny_det_train"], []),
        "tiny_det_train: expected videos",
    ),
    "ablation, other classes": (
        *(ABLATION, [*STAGE_TWO, "--dataset", "imagenet_vid_val"], ["MODEL.WEIGHTS", "{tracker}"]),
        "imagenet_vid_val has 30 classes",
    ),
    # the weights are absent too, but the file to write is looked at before any work
    "ablation, json": (
        *(ABLATION, [*TOOL, "--json", "{nofolder}/a.json"], ["MODEL.WEIGHTS", "{absent}"]),
        "{nofolder}/a.json: expected an existing folder",
    ),
    "overlaps, json": (
        *(OVERLAPS, [*TOOL, "--json", "{nofolder}/a.json"], ["MODEL.WEIGHTS", "{absent}"]),
        "{nofolder}/a.json: expected an existing folder",
    ),
    "ablation, batch": (
        ABLATION,
        [*TOOL, "--batch-size", "0"],
        [],
        "--batch-size: expected a whole number of at least 1",
    ),
    "overlaps, gap": (
        OVERLAPS,
        [*TOOL, "--gaps", "1", "0", *STAGE_TWO],
        [],
        "--gaps: expected a whole number of at least 1",
    ),
    "ablation, no tracker": (
        *(ABLATION, TOOL, ["TEST.TFD.ENABLED", "False", "MODEL.WEIGHTS", "{detector}"]),
        "missing, the first is tracker.",
    ),
    "overlaps, no tracker": (
        *(OVERLAPS, TOOL, ["TEST.TFD.ENABLED", "False", "MODEL.WEIGHTS", "{detector}"]),
        "missing, the first is tracker.",
    ),
    "ablation, no data": (ABLATION, TOOL, ["MODEL.WEIGHTS", "{tracker}"], "{nodata}/tiny_vid"),
}


@pytest.fixture(scope="module")
def files(detector, tracker_weights, tmp_path_factory) -> dict[str, str]:
    """Files that the mistakes are about."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "weights.pth").write_text("hello\n")
    (folder / "broken").mkdir()
    (folder / "broken/model.pth").write_text("hello\n")
    (folder / "broken/last_checkpoint").write_text("model.pth")
    torch.save({"model": torch.nn.Linear(2, 3).state_dict()}, folder / "other.pth")
    return {
        "text": str(folder / "weights.pth"),
        "broken": str(folder / "broken"),
        "other": str(folder / "other.pth"),
        "absent": str(folder / "absent"),
        "nofolder": str(folder / "no_folder"),
        "nodata": str(folder / "no_data"),
        "output": str(folder / "output"),
        "detector": str(detector / "model_final.pth"),
        "detector_folder": str(detector),
        "tracker": tracker_weights[1],
    }


@pytest.fixture(scope="module")
def outcomes(data, files) -> dict[str, list]:
    """Exit status and stderr of every mistake, and of one evaluation without a mistake."""
    good = (TRAIN, [*STAGE_TWO, "--eval-only"], ["MODEL.WEIGHTS", "{tracker}"], "")
    runs = []
    for name, (script, flags, keys, _) in {**MISTAKES, "none": good}.items():
        output = ["OUTPUT_DIR", "{output}"] if script == TRAIN else []
        arguments = [a.format(**files) for a in [*flags, *SMALL, *output, *keys]]
        runs.append([script, arguments, files["nodata"] if "no data" in name else str(data)])
    result = passed(run(data, "-c", MANY_RUNS, json.dumps(runs)))
    return dict(zip([*MISTAKES, "none"], json.loads(result.stdout), strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(outcomes, files, name):
    status, error = outcomes[name]
    assert status == 2, error
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and error.endswith(lines[0] + "\n") and "Traceback" not in error
    assert MISTAKES[name][3].format(**files) in lines[0]


def test_no_mistake_is_no_error(outcomes):
    assert outcomes["none"][0] == 0, outcomes["none"][1]


def test_the_exit_status_of_the_command_itself(data, tmp_path):
    result = train(data, PLUGTRACK, tmp_path, "TEST.TFD.MERGE_TRESH", "1")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "TEST.TFD.MERGE_TRESH" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(("eval_only", "key"), [(False, "TRAIN"), (True, "TEST")])
def test_files_of_a_dataset_are_looked_for_before_a_model_is_built(
    monkeypatch, tmp_path, eval_only, key
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = load_config("configs/TinyVID/plugtrack_tiny.yaml")
    with pytest.raises(UserError, match=f"{tmp_path}/tiny_vid: expected the dataset's folder"):
        check_files(cfg, eval_only)
    cfg.DATASETS[key] = ()
    check_files(cfg, eval_only)
