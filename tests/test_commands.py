"""The manners of the commands: help with examples that work, mistakes in one line and early.

A mistake must be refused before a model is built or a dataset is read: reaching either fails the
test. Everything runs in this process. What a command does is tested elsewhere.
"""

import argparse
import re
import runpy
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
TORCHVISION = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
DETECTRON2 = str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml")
WEIGHTS = ("MODEL.WEIGHTS", str(ROOT / "demo/torchvision_tiny.pth"))


class Command(NamedTuple):
    """A script, its subcommand, and options that are right."""

    script: str
    given: tuple[str, ...] = ()  # with the subcommand
    config: str = ""  # where it has --config-file
    marks: tuple = ()

    @property
    def name(self) -> str:
        return " ".join([Path(self.script).stem, *self.subcommand])

    @property
    def subcommand(self) -> tuple[str, ...]:
        return tuple(word for word in self.given[:1] if not word.startswith("-"))


NEEDS = (pytest.mark.detectron2,)
SET = ("--dataset", "tiny_vid_test")
TINY_TRAIN = str(ROOT / "configs/TinyVID/torchvision_detector_tiny.yaml")
COMMANDS = [
    Command("tools/ablation.py", SET, TORCHVISION),
    Command("tools/ablation.py", SET, DETECTRON2, NEEDS),
    Command("tools/eval_identity.py", SET, TORCHVISION),
    Command("tools/eval_tracker.py", SET, TORCHVISION),
    Command("tools/train_torchvision.py", ("--stage", "tracker"), TORCHVISION),
    Command("tools/benchmark.py", ("inference",), TORCHVISION),
    Command("tools/benchmark.py", ("training",), DETECTRON2, NEEDS),
    Command("train_net.py", ("--eval-only",), DETECTRON2, NEEDS),
    Command("tools/benchmark.py", ("annotations",)),
    Command("tools/benchmark.py", ("memory",)),
    Command("tools/benchmark.py", ("seq-nms",)),
    Command("tools/benchmark.py", ("evaluation",)),
    Command("tools/benchmark.py"),
    Command("tools/convert.py"),
    Command("tools/evaluate.py"),
    Command("tools/publish_weights.py"),
    Command("datasets/prepare_tiny_vid.py"),
    Command("datasets/prepare_imagenet_vid.py"),
    Command("examples/torchvision_detector.py"),
]


def each(commands):
    return pytest.mark.parametrize(
        "command", [pytest.param(c, id=c.name, marks=c.marks) for c in commands]
    )


@cache
def load(script: str):
    module = runpy.run_path(str(ROOT / script))
    return module["run" if script == "train_net.py" else "main"]


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command where it must stop before any work; exit status, stdout and stderr."""

    def call(command: Command, *words) -> tuple[int, str, str]:
        main = load(command.script)
        forbid_work(monkeypatch, main, command.config == DETECTRON2 or "Trainer" in names_of(main))
        with pytest.raises(SystemExit) as stop:
            main([*map(str, words)])
        return stop.value.code, *capsys.readouterr()

    return call


def names_of(main) -> dict:
    return main.__wrapped__.__globals__


def forbid_work(monkeypatch, main, detectron2: bool) -> None:
    def work(*args, **kwargs):
        pytest.fail("a model is built or data is read")

    places = ["hosts.torchvision_models.build_torchvision_model"]
    places += ["data.catalog.DatasetEntry.load_records", "weights.read_weights"]
    if detectron2:
        places += ["plugin.build_model", "training.build_model"]
    for place in places:
        monkeypatch.setattr(f"d2_plugtrack.{place}", work)
    names = names_of(main)
    for name in ("build_torchvision_model", "read_weights", "build_detector"):
        if name in names:
            monkeypatch.setitem(names, name, work)


# ---- help ------------------------------------------------------------------------------------

FILES = [
    *("output/detector/model_final.pth", "output/tracker/model_final.pth", "detections.json"),
    *("train.json", "export/result.json", "mine.json"),
]
FOLDERS = [
    *("output/inference/tiny_vid_test", "output/inference/imagenet_vid_val"),
    *("datasets/ILSVRC2015",),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The repository's root as it is after some use."""
    for name in ("configs", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Parsed(Exception):
    """The parser has taken the arguments; the rest is not run."""


def examples_of(text: str) -> list[list[str]]:
    """The command lines below the last line ``Examples:``, as words."""
    _, heading, examples = text.rpartition("\nExamples:\n")
    assert heading, "no examples"
    lines = examples.replace("\\\n", " ").splitlines()
    assert all(re.match(r"    \S", line) for line in lines), "examples end the help"
    return [shlex.split(line) for line in lines]


@each(COMMANDS)
def test_help_says_what_it_does_and_ends_with_examples_that_parse(
    command, call, project, monkeypatch
):
    code, text, errors = call(command, *command.subcommand, "--help")
    assert (code, errors) == (0, "")
    summary, blank, *_ = text.splitlines()
    assert re.fullmatch(r"[A-Z].*[.:]|[A-Z].*[a-z,-]", summary) and not summary.startswith("usage")
    assert "\nusage: " in text and "\n  -h, --help" in text

    def parse_args(parser, *args):
        parse(parser, *args)
        raise Parsed

    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    for program, script, *words in examples_of(text):
        assert (program, script) == ("python", command.script)
        if "--help" not in words:
            with pytest.raises(Parsed):
                load(command.script)(words)


# ---- mistakes --------------------------------------------------------------------------------


def refused(outcome, *named) -> None:
    code, output, errors = outcome
    assert (code, output) == (2, ""), errors
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    for words in named:
        assert str(words) in errors


# Each is words behind --config-file FILE, and what is said.
MISTAKES_WITH_KEYS = {
    "an unknown key": (("NO.SUCH", "1"), "NO.SUCH"),
    "a KEY without VALUE": (("SEED",), "SEED: expected a VALUE"),
    "KEY=VALUE": (("SEED=1", "TEST.TFD.TRACK=1"), "SEED=1: expected a KEY and a VALUE"),
    "an option behind the keys": (("SEED", "1", "--json", "x"), "--json: expected before"),
    "a value of another type": (("TEST.TFD.MERGE_THRESH", "much"), "TEST.TFD.MERGE_THRESH"),
    "weights that are not there": (("MODEL.WEIGHTS", "nowhere.pth"), "nowhere.pth: no such file"),
    "weights that are a folder": (("MODEL.WEIGHTS", str(ROOT)), "no such file, but a folder"),
    "no CUDA": (("MODEL.DEVICE", "cuda"), "MODEL.DEVICE cuda: there is no CUDA here"),
    "a device that is none": (("MODEL.DEVICE", "nonsense"), "MODEL.DEVICE nonsense: "),
    "an unknown option": (("--nonsense",), "unrecognized arguments: --nonsense"),
}
WITH_KEYS = [command for command in COMMANDS if command.config]


@each(WITH_KEYS)
@pytest.mark.parametrize("mistake", MISTAKES_WITH_KEYS)
def test_mistakes_in_keys(command, mistake, call, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    words, named = MISTAKES_WITH_KEYS[mistake]
    if "training" in command.given and "weights" in mistake:
        return  # its weights are random
    refused(call(command, *command.given, "--config-file", command.config, *words), named)
    assert list(tmp_path.iterdir()) == []


@each(WITH_KEYS)
def test_mistakes_with_the_config_file(command, call, tmp_path):
    no_yaml, picture, tagged = (tmp_path / name for name in ("text.yaml", "picture.yaml", "t.yaml"))
    no_yaml.write_text("just words")
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\0\xff")
    tagged.write_text("SEED: !!python/object/apply:os.getcwd []\n")
    absent = tmp_path / "absent.yaml"
    for path, named in [
        (absent, f"{absent}: expected a file, found none"),
        (tmp_path, f"{tmp_path}: expected a file, found a folder"),
        (no_yaml, no_yaml),
        (picture, picture),
        (tagged, tagged),
    ]:
        refused(call(command, *command.given, "--config-file", path, *WEIGHTS), named)


@each([c for c in WITH_KEYS if "--dataset" in c.given])
def test_datasets_that_are_not_there(command, call, tmp_path):
    for name in ("nowhere", str(tmp_path / "nowhere.json"), "tiny_det_train", ""):
        words = ("--dataset", name, "--config-file", command.config, *WEIGHTS)
        refused(call(command, *words), f"dataset {name}")


@each(WITH_KEYS)
def test_no_arguments_and_unknown_options(command, call):
    refused(call(command, *command.given), "required: --config-file")


OUTPUTS = {
    "tools/ablation.py": ["--json", "--markdown"],
    "tools/eval_identity.py": ["--json", "--markdown"],
    "tools/eval_tracker.py": ["--json"],
    "tools/benchmark.py": ["--json"],
}


@each([command for command in WITH_KEYS if command.script in OUTPUTS])
def test_outputs_that_cannot_be_written(command, call, tmp_path):
    (tmp_path / "file").touch()
    start = [*command.given, "--config-file", command.config]
    for option in OUTPUTS[command.script]:
        for path in (tmp_path / "no/x.json", tmp_path, tmp_path / "file/x.json", "/proc/x.json"):
            refused(call(command, *start, option, path, *WEIGHTS), f"{option}: {path}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def with_config(script, *words, config=TORCHVISION):
    """A case: script, words behind a config file."""
    return script, ("--config-file", config, *words)


AT_LEAST_1, AT_LEAST_0 = "expected a whole number of at least 1", "of at least 0"
CASES = [
    (*with_config("tools/ablation.py", *SET, "--batch-size", "0"), AT_LEAST_1),
    (*with_config("tools/ablation.py", *SET, "--settings", "none"), "invalid choice: 'none'"),
    (*with_config("tools/eval_identity.py", *SET, "--batch-size", "-1"), AT_LEAST_1),
    (*with_config("tools/eval_identity.py", *SET, "--offline-threshold", "30"), "from 0 to 1"),
    (*with_config("tools/eval_identity.py", *SET, "--methods", "sort"), "invalid choice"),
    (*with_config("tools/eval_tracker.py", *SET, "--gaps", "1", "0"), AT_LEAST_1),
    (*with_config("tools/train_torchvision.py", "--stage", "three"), "invalid choice: 'three'"),
    ("tools/benchmark.py", ("annotations", "--output", "x", "--videos", "0"), AT_LEAST_1),
    ("tools/benchmark.py", ("memory", "--output", "x", "--memory-mb", "-1"), AT_LEAST_0),
    ("tools/benchmark.py", ("memory", "--output", "file"), "expected a folder, file is a file"),
    ("tools/benchmark.py", ("seq-nms", "--plot", "x.jpg"), "a name ending in .png"),
    ("tools/benchmark.py", ("evaluation", "--detections", "many"), AT_LEAST_1),
    ("tools/benchmark.py", ("nothing",), "invalid choice: 'nothing'"),
    ("tools/benchmark.py", (), "required: COMMAND"),
    ("tools/convert.py", (), "required: --from, --to, --input, --output"),
    ("tools/convert.py", ("--from", "voc"), "invalid choice: 'voc'"),
    *(
        ("tools/convert.py", ("--from", source, "--to", "coco-vid", *words), named)
        for source, words, named in [
            ("coco-vid", ("--input", "absent", "--output", "x.json"), "absent"),
            ("coco-vid", ("--input", "folder", "--output", "x.json"), "folder"),
            ("youtube-vis", ("--input", "file", "--output", "x.json"), "file"),
            ("coco-vid", ("--input", "file", "--output", "no/x.json"), "no/x.json"),
            ("coco-vid", ("--input", "file", "--output", "folder"), "folder"),
            ("imagenet", ("--input", "folder", "--output", "x.json"), "--list: expected"),
        ]
    ),
    ("tools/evaluate.py", (), "one of the arguments --run --detections is required"),
    ("tools/evaluate.py", ("--run", "absent"), "absent: expected a folder, found none"),
    ("tools/evaluate.py", ("--run", "file"), "file: expected a folder, found a file"),
    ("tools/evaluate.py", ("--run", "folder"), "folder"),
    ("tools/evaluate.py", ("--detections", "folder"), "folder: expected a file, found a folder"),
    ("tools/evaluate.py", ("--detections", "file"), "--dataset: expected with --detections"),
    ("tools/evaluate.py", ("--detections", "file", *SET, "SEED"), "SEED: expected a VALUE"),
    ("tools/evaluate.py", ("--detections", "file", *SET, "SEED", "1"), "SEED: expected a key of"),
    ("tools/evaluate.py", ("--detections", "file", "--dataset", "x"), "dataset x"),
    ("tools/evaluate.py", ("--detections", "file", *SET, "--json", "folder"), "folder: expected"),
    ("tools/publish_weights.py", (), "required: checkpoint, weights"),
    ("tools/publish_weights.py", ("absent", "x.pth"), "absent: expected a file, found none"),
    ("tools/publish_weights.py", ("folder", "x.pth"), "folder: expected a file"),
    ("tools/publish_weights.py", ("file", "x.zip"), "x.zip: expected a name ending in .pth"),
    ("tools/publish_weights.py", ("file", "no/x.pth"), "no/x.pth: expected an existing folder"),
    ("datasets/prepare_tiny_vid.py", ("--videos", "-1"), AT_LEAST_1),
    ("datasets/prepare_tiny_vid.py", ("--seed", "x"), AT_LEAST_0),
    ("datasets/prepare_tiny_vid.py", ("--splits", "tset"), "invalid choice: 'tset'"),
    ("datasets/prepare_tiny_vid.py", ("--output", "file/x"), "expected a folder, file is a file"),
    ("datasets/prepare_tiny_vid.py", ("x",), "unrecognized arguments: x"),
    ("datasets/prepare_imagenet_vid.py", ("--root", "absent"), "absent: expected a folder"),
    ("datasets/prepare_imagenet_vid.py", ("--root", "file"), "file: expected a folder"),
    ("datasets/prepare_imagenet_vid.py", ("--root", "folder"), "folder"),
    ("examples/torchvision_detector.py", ("--steps", "0"), AT_LEAST_1),
    ("examples/torchvision_detector.py", ("--output", "file"), "expected a folder"),
]


@pytest.mark.parametrize(("script", "words", "named"), CASES)
def test_other_mistakes(script, words, named, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    refused(call(Command(script), *words), named)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


TRAINING = [
    pytest.param("tools/train_torchvision.py", ("--stage", "detector"), TINY_TRAIN, id="stage one"),
    pytest.param("tools/train_torchvision.py", ("--stage", "tracker"), TORCHVISION, id="stage two"),
    pytest.param("train_net.py", (), DETECTRON2, marks=NEEDS, id="detectron2"),
]


@pytest.mark.parametrize(("script", "words", "config"), TRAINING)
def test_trainings_refuse_datasets_and_places_before_a_model(script, words, config, call, tmp_path):
    start = (*words, "--config-file", config, *WEIGHTS, "OUTPUT_DIR", tmp_path / "o")
    command = Command(script)
    refused(call(command, *start, "DATASETS.TRAIN", "('nowhere',)"), "nowhere")
    refused(call(command, *start, "DATASETS.TRAIN", "()"), "DATASETS.TRAIN is empty")
    (tmp_path / "file").touch()
    refused(call(command, *start, "OUTPUT_DIR", tmp_path / "file"), tmp_path / "file")


@pytest.mark.detectron2
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--num-gpus", "0"), AT_LEAST_1),
        (("--num-machines", "-1"), AT_LEAST_1),
        (("--machine-rank", "-1"), AT_LEAST_0),
        (("--machine-rank", "1"), "--machine-rank 1: expected less than --num-machines, 1"),
        (("--num-machines", "2"), "--dist-url: expected with --num-machines"),
        (("--amp", "bf16"), "expected with --eval-only"),
    ],
)
def test_processes_that_cannot_be(words, named, call):
    refused(call(Command("train_net.py"), "--config-file", DETECTRON2, *words, *WEIGHTS), named)


@each(COMMANDS)
def test_ctrl_c_is_one_line_and_130(command, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    main = load(command.script)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", interrupt)
    with pytest.raises(SystemExit, match="130"):
        main([])
    assert capsys.readouterr() == ("", "interrupted\n")
