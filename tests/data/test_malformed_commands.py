"""Damaged files met by commands: where strict a line and an exit status, otherwise a summary."""

import os
import random
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from d2_plugtrack.data.tiny_vid import write_tiny_vid
from tests.data.damage import list_kinds, xml_kinds
from tests.data.damage.sets import entry_of, write_imagenet
from tests.data.damage.verdict import PLACE, listening

ROOT = Path(__file__).resolve().parents[2]
LIST = "VID_test_videos.txt"
VIDEO, LENGTH = "test/tiny_test_00000", 5
XML = f"tiny_vid/Annotations/VID/{VIDEO}/000002.xml"


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data root with the first frames of a video of the tiny set, and a second video of one."""
    write_tiny_vid(tmp_path / "tiny_vid", seed=0, splits=["test"], num_videos=2)
    rows = f"{VIDEO} 1 0 {LENGTH}\ntest/tiny_test_00001 6 0 1\n"
    (tmp_path / "tiny_vid/ImageSets" / LIST).write_text(rows)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def xml_damage(name: str):
    """Of an annotation file by a kind of ``damage/xml_kinds.py``."""
    (kind,) = [kind for kind in xml_kinds.KINDS if kind.name == name]

    def damage(data: Path) -> Path:
        content = kind.damage(random.Random(3), (data / XML).read_text())
        (data / XML).write_bytes(content if isinstance(content, bytes) else content.encode())
        return data / XML

    return damage


def row_damage(name: str):
    """Of the first row of the list."""

    def damage(data: Path) -> Path:
        path = data / "tiny_vid/ImageSets" / LIST
        first, *others = path.read_text().splitlines()
        row = list_kinds.ROWS["video"][name](random.Random(1), first.split())
        path.write_text("\n".join([" ".join(row), *others, ""]))
        return path

    return damage


def no_image(data: Path) -> Path:
    (data / f"tiny_vid/Data/VID/{VIDEO}/000002.JPEG").unlink()
    return data / "tiny_vid/ImageSets" / LIST


DAMAGES = {
    "truncated XML": xml_damage("truncated"),
    "a number that is none": row_damage("no number"),
    "entities of entities": xml_damage("entities of entities"),
    "no image": no_image,
    "random bytes": xml_damage("random bytes"),
    "not finite": xml_damage("not finite"),
    "huge whole number": xml_damage("huge whole number"),
    "a column less": row_damage("a column less"),
    "huge length": row_damage("huge length"),
    "a long video": row_damage("a long video"),
    "NUL in the path": row_damage("NUL in the path"),
}
FEW = 4
SOME = [
    pytest.param(damage, marks=[pytest.mark.slow] if number >= FEW else [], id=name)
    for number, (name, damage) in enumerate(DAMAGES.items())
]


def assert_one_line(error: str, file: Path) -> None:
    """As ``errors.py`` prints a mistake; the file and the place are in it."""
    assert re.fullmatch(r"error: [^\n]+\n", error), error
    assert str(file) in error and PLACE.search(error)


# ---- tools/ablation.py ---------------------------------------------------------------------------


@pytest.fixture
def ablation(capsys):
    """Run it in-process; gives the exit status, what it printed as errors, and what it logged."""
    main = runpy.run_path(str(ROOT / "tools/ablation.py"))["main"]
    config = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")
    weights = str(ROOT / "demo/torchvision_tiny.pth")
    arguments = ["--config-file", config, "--dataset", "tiny_vid_test", "--settings", "per-frame"]
    keys = ["MODEL.WEIGHTS", weights, "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]

    def ablation(strict: bool) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        with listening() as said:
            try:
                main([*arguments, "--batch-size", "2", *keys, "DATASETS.STRICT", str(strict)])
            except SystemExit as stop:
                status = stop.code
        return status, capsys.readouterr().err, "\n".join(said)

    return ablation


@pytest.mark.parametrize("damage", SOME)
def test_the_ablation_stops_where_strict_and_goes_on_otherwise(ablation, data, damage):
    path = damage(data)
    status, error, _ = ablation(True)
    assert status == 2
    assert_one_line(error, path)
    status, _, said = ablation(False)
    assert status == 0 and "left out " in said and str(path) in said


def test_the_ablation_meets_an_image_that_ends_early(ablation, data):
    path = data / f"tiny_vid/Data/VID/{VIDEO}/000001.JPEG"
    path.write_bytes(path.read_bytes()[:999])
    status, error, _ = ablation(True)
    assert status == 2 and error.count("\n") == 1
    assert error.startswith(f"error: {path}: expected a whole image, found ")
    status, _, said = ablation(False)
    assert status == 0
    assert f"{path}: a bad image" in said and "bad images were met 1 times" in said


# ---- tools/convert.py, as a process --------------------------------------------------------------


@pytest.mark.parametrize("damage", SOME[1::2])
def test_converting_stops_where_strict_and_goes_on_otherwise(data, damage):
    path = damage(data)
    output = data / "out.json"
    command = [sys.executable, "tools/convert.py", "--from", "imagenet", "--to", "coco-vid"]
    command += ["--list", LIST, "--classes", "tiny", "--input", data / "tiny_vid"]
    command += ["--output", output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True
        )

    strict = run("--strict")
    assert strict.returncode == 2 and not output.exists() and strict.stdout == ""
    assert_one_line(strict.stderr, path)
    lenient = run()
    assert lenient.returncode == 0 and output.exists() and lenient.stderr == ""
    assert "left out " in lenient.stdout and str(path) in lenient.stdout


# ---- no permission -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_may_not_be_read_is_named(monkeypatch, kind, fails):
    """A file is one bad file; of a folder every image is missing. As root by way of nobody."""
    with tempfile.TemporaryDirectory() as name:  # whose parents nobody may pass, unlike pytest's
        folder = Path(name)
        (folder / "set").mkdir()
        write_imagenet(folder / "set")
        monkeypatch.setenv("DETECTRON2_DATASETS", name)
        monkeypatch.setenv("PLUGTRACK_CACHE", "")
        good = list(entry_of("videos.txt").load_records())
        path = folder / "set/Annotations/VID/val/a/000001.xml"
        locked = path if kind == "file" else folder / "set/Data/VID/val/a"
        folder.chmod(0o755)
        locked.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            named = str(locked) if kind == "file" else "videos.txt, line 1: "
            with fails(named, "expected an "):
                entry_of("videos.txt").load_records(strict=True)
            left = list(entry_of("videos.txt").load_records())
        finally:
            os.seteuid(user)
            locked.chmod(0o755)
        gone = {"val/a/000001"} if kind == "file" else {f"val/a/{t:06d}" for t in range(4)}
        assert left == [record for record in good if record["image_id"] not in gone]
