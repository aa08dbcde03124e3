"""The annotation cache gives what parsing gives, or is not used, whatever happened meanwhile."""

import json
import logging
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from d2_plugtrack.data.imagenet.records import load_det_images, load_vid_videos
from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.tables import annotation_cache
from d2_plugtrack.data.tables.annotation_cache import (
    Sources,
    cache_folder,
    imagenet_sources,
    load_cached,
)
from d2_plugtrack.data.tables.frame_table import FrameTable
from d2_plugtrack.data.tables.table_file import DamagedFile, read_table_file, write_table_file
from d2_plugtrack.errors import UserError

CLASSES = {"n01": "disc", "n02": "bar"}


def xml(name: str, track: int, x: float = 1) -> str:
    return (
        "<annotation><size><width>64</width><height>48</height></size>"
        f"<object><trackid>{track}</trackid><name>{name}</name><bndbox><xmin>{x}</xmin>"
        "<ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
    )


@pytest.fixture
def root(tmp_path):
    """Two videos of three frames and of one, and a list of them."""
    for image, text in {
        "val/a/000000": xml("n01", 7),
        "val/a/000001": xml("n02", 8),
        "val/a/000002": xml("n01", 9),
        "val/b/000000": xml("n02", 0, x=1.1),
    }.items():
        for side, ending, content in (("Data", "JPEG", ""), ("Annotations", "xml", text)):
            path = tmp_path / "set" / side / "VID" / f"{image}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    (tmp_path / "set" / "videos.txt").write_text("val/a 1 0 3\nval/b 2 0 1\n")
    return tmp_path / "set"


class Loader:
    """Loads the set through the cache, and counts how often it was parsed."""

    def __init__(self, root: Path, folder: Path | None):
        self.root, self.folder, self.parsed = root, folder, 0

    def __call__(self, classes=CLASSES, problems=None, reports=(), name="set") -> FrameTable:
        videos = self.root / "videos.txt"

        def parse(met: Problems):
            self.parsed += 1
            for kind, message in reports:
                met.report(kind, message)
            return iter(load_vid_videos(self.root, videos, classes))

        sources = imagenet_sources("videos", self.root, videos, classes, has_videos=True)
        problems = Problems() if problems is None else problems
        table = load_cached(name, sources, parse, problems, self.folder)
        assert list(table) == list(load_vid_videos(self.root, videos, classes))  # whatever happened
        return table


@pytest.fixture
def load(root, tmp_path):
    return Loader(root, tmp_path / "cache")


# ---- when it is used -----------------------------------------------------------------------------


def test_the_second_time_nothing_is_parsed(load):
    first, second = load(), load()
    assert load.parsed == 1
    assert list(first) == list(second)
    assert [v["video_id"] for v in second.videos()] == ["val/a", "val/b"]


def edit_xml(root: Path) -> None:
    path = root / "Annotations/VID/val/a/000001.xml"
    path.write_text(path.read_text().replace("n02", "n01"))  # of the same size


def touch_xml(root: Path) -> None:
    os.utime(root / "Annotations/VID/val/b/000000.xml", ns=(1, 1))


def add_frame(root: Path) -> None:
    shutil.copy(root / "Data/VID/val/a/000000.JPEG", root / "Data/VID/val/b/000001.JPEG")
    shutil.copy(
        root / "Annotations/VID/val/a/000000.xml", root / "Annotations/VID/val/b/000001.xml"
    )
    (root / "videos.txt").write_text("val/a 1 0 3\nval/b 2 0 2\n")


def reorder_list(root: Path) -> None:
    (root / "videos.txt").write_text("val/b 2 0 1\nval/a 1 0 3\n")


def shorten_list(root: Path) -> None:
    (root / "videos.txt").write_text("val/a 1 0 3\n")


def add_image(root: Path) -> None:
    (root / "Data/VID/val/a/000003.JPEG").touch()


def remove_image(root: Path) -> None:
    (root / "Data/VID/val/b/000001.JPEG").unlink()


def remove_xml(root: Path) -> None:
    (root / "Annotations/VID/val/a/more.xml").unlink()


CHANGES = [edit_xml, touch_xml, add_frame, reorder_list, shorten_list, add_image]


@pytest.mark.parametrize("change", [*CHANGES, remove_image, remove_xml])
def test_any_change_means_parsing_anew_once(load, root, change):
    (root / "Data/VID/val/b/000001.JPEG").touch()
    (root / "Annotations/VID/val/a/more.xml").touch()
    load()
    change(root)
    load()
    assert load.parsed == 2
    load()
    assert load.parsed == 2
    assert len(list(load.folder.iterdir())) == 1  # the old one is gone


LISTS = {
    "byte order mark": "\ufeffval/b 1 0 1\nval/a 2 0 3\n",
    "carriage returns": "\r\nval/b 1 0 1\r\nval/a 2 0 3\r\n",
    "frames": "val/b 1 0 1\nval/a 1 0 3\nval/a 1 1 3\n",
    "frames without lengths": "val/b/000000 1\nval/a/000000 2\n",
}


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_lines_end_as_for_who_reads_the_list(root, end):
    """Other line ends are white space in a row, which has two fields and so a frame."""
    (root / "videos.txt").write_text(f"val/a/000000{end}1\n", encoding="utf-8")
    sources = imagenet_sources("r", root, root / "videos.txt", CLASSES, has_videos=True)
    assert sources.image_folders == [f"{root}/Data/VID/val/a"]


def test_a_folder_that_no_file_system_has_is_absent(root):
    (root / "videos.txt").write_text("val/a\0 1 0 3\nval/b 2 0 1\n")
    sources = imagenet_sources("r", root, root / "videos.txt", CLASSES, has_videos=True)
    before = sources.fingerprint()
    assert Sources("r", lists=["a\0"], files=["b\0"]).fingerprint() != before
    touch_xml(root)
    assert sources.fingerprint() != before


@pytest.mark.parametrize("rows", LISTS.values(), ids=LISTS)
def test_every_folder_that_a_list_names_is_looked_at(root, rows):
    (root / "videos.txt").write_text(rows, encoding="utf-8")

    def fingerprint(reader="any") -> str:
        sources = imagenet_sources(reader, root, root / "videos.txt", CLASSES, has_videos=True)
        return sources.fingerprint()

    seen = {fingerprint(), fingerprint()}
    for change in (edit_xml, touch_xml, add_image):
        change(root)
        seen |= {fingerprint()}
    assert len(seen) == 4
    assert fingerprint("other names") not in seen


def test_an_image_that_is_gone_is_an_error_with_a_cache_as_without(load, root):
    load()
    (root / "Data/VID/val/a/000001.JPEG").unlink()
    with pytest.raises(UserError, match=r"000001\.JPEG: expected an image"):
        load()


@pytest.mark.parametrize(
    "classes",
    [{"n02": "bar", "n01": "disc"}, {**CLASSES, "n03": "cone"}, {"n01": "disc", "n02": "rod"}],
)
def test_other_classes_are_another_cache(load, classes):
    load()
    load(classes)
    assert load.parsed == 2


def test_another_version_or_reader_is_another_cache(load, monkeypatch, root):
    load()
    monkeypatch.setattr(annotation_cache, "READER_VERSION", -1)
    load()
    assert load.parsed == 2
    sources = [
        imagenet_sources(reader, root, root / "videos.txt", CLASSES, has_videos=videos)
        for reader, videos in (("a", True), ("b", True), ("a", False))
    ]
    assert len({s.fingerprint() for s in sources}) == 3


def test_each_dataset_has_one_file_whatever_its_name(load):
    names = ["set", "set2", "/path/to/set.json", "path_to_set_json", "../set.json", "a" * 300]
    for name in names * 2:
        load(name=name)
    assert load.parsed == len(names) == len(list(load.folder.iterdir()))
    assert all(path.parent == load.folder for path in load.folder.iterdir())


def test_a_link_to_nothing_is_no_image(root):
    image = root / "Data/VID/val/a/000001.JPEG"
    sources = imagenet_sources("r", root, root / "videos.txt", CLASSES, has_videos=True)
    before = sources.fingerprint()
    image.rename(root / "elsewhere")
    image.symlink_to("nowhere")
    assert sources.fingerprint() != before
    image.unlink()
    image.symlink_to(root / "elsewhere")
    assert sources.fingerprint() == before


# ---- sources -------------------------------------------------------------------------------------


def test_stills_are_looked_for_in_the_folders_of_their_list(root):
    for side, ending, text in (("Data", "JPEG", ""), ("Annotations", "xml", xml("n01", 1))):
        path = root / side / "DET/train/x" / f"x_1.{ending}"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    images = root / "images.txt"
    images.write_text("train/x/x_1 1\n")
    sources = imagenet_sources("stills", root, images, CLASSES, has_videos=False)
    assert sources.annotation_folders == [f"{root}/Annotations/DET/train/x"]
    assert sources.image_folders == [f"{root}/Data/DET/train/x"]
    assert len(load_det_images(root, images, CLASSES)) == 1
    before = sources.fingerprint()
    assert sources.fingerprint() == before
    os.utime(root / "Annotations/DET/train/x/x_1.xml", ns=(1, 1))
    assert sources.fingerprint() != before


def test_what_is_absent_has_a_fingerprint(tmp_path):
    nothing = tmp_path / "nothing"
    sources = [
        Sources("r"),
        Sources("r", lists=[nothing]),
        Sources("r", files=[nothing]),
        Sources("r", annotation_folders=[nothing]),
        imagenet_sources("r", nothing, nothing / "list.txt", CLASSES, has_videos=True),
    ]
    assert len({s.fingerprint() for s in sources}) == len(sources)
    before = sources[2].fingerprint()
    nothing.write_text("")
    assert sources[2].fingerprint() != before


# ---- files that cannot be used -------------------------------------------------------------------


def test_a_damaged_file_is_parsed_anew_with_a_warning(load, caplog):
    load()
    (path,) = load.folder.iterdir()
    whole = path.read_bytes()
    # A flipped byte or an end anywhere, and a byte more: all of it is under one checksum or other.
    cuts = [whole[:n] for n in (0, 1, 20, 40, 200, len(whole) // 2, len(whole) - 1)]
    flips = [
        whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :]
        for n in (0, 17, 25, 30, 100, len(whole) // 2, len(whole) - 70)
    ]
    for number, damaged in enumerate([*cuts, *flips, whole + b"\0", b"PK\3\4" * 99], start=2):
        path.write_bytes(damaged)
        caplog.clear()
        load()
        assert load.parsed == number
        assert [r.levelname for r in caplog.records] == ["WARNING"]
        assert f"{path}: cannot be used" in caplog.text
    assert path.read_bytes() == whole


@pytest.mark.parametrize("header", [[], {}, {"extra": {}, "arrays": [["x.y"]]}, "no JSON"])
def test_a_header_of_another_layout_is_a_damaged_file(load, header):
    """Its checksums are right: whoever wrote it meant something else."""
    load()
    (path,) = load.folder.iterdir()
    whole = path.read_bytes()
    key = json.JSONDecoder().raw_decode(whole[whole.index(b"{") :].decode("latin-1"))[0]["key"]
    if isinstance(header, dict):
        header = {**header, "key": key}
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    prefix = struct.pack("<16sQII", whole[:16], len(text), zlib.crc32(text), zlib.crc32(b""))
    path.write_bytes(prefix + text)
    with pytest.raises(DamagedFile, match="of another layout"):
        read_table_file(path, key)
    load()
    assert load.parsed == 2 and path.read_bytes() == whole


def test_a_folder_in_place_of_the_file_is_no_crash(load, caplog):
    load()
    (path,) = load.folder.iterdir()
    path.unlink()
    path.mkdir()
    load()
    assert load.parsed == 2 and "are not cached" in caplog.text


@pytest.mark.parametrize("place", ["file", "below"])
def test_a_place_that_cannot_be_written_is_one_line(load, caplog, tmp_path, place):
    (tmp_path / "file").touch()
    load.folder = tmp_path / "file" / ("x" if place == "below" else "")
    load()
    load()
    assert load.parsed == 2
    lines = [r.getMessage() for r in caplog.records if "are not cached" in r.getMessage()]
    assert len(lines) == 2  # one a load
    assert not list(tmp_path.glob("**/*.part"))


def test_abandoned_files_are_removed_and_those_at_work_are_not(load):
    load.folder.mkdir()
    old, new = load.folder / ".set.0123.part", load.folder / ".set.4567.part"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    load()
    assert not old.exists() and new.exists()


def test_two_processes_at_once(load, root):
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from test_annotation_cache import Loader\n"
        "load = Loader(*map(pathlib.Path, sys.argv[2:]))\n"
        "for i in range(20):\n"
        "    load.folder.joinpath('set.cache').unlink(missing_ok=True); load()\n"
    )
    here = Path(__file__).resolve()
    command = [sys.executable, "-c", code, str(here.parent), str(root), str(load.folder)]
    environment = {**os.environ, "PYTHONPATH": str(here.parents[3])}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        assert b"cannot be used" not in errors
    load()
    assert load.parsed == 0 and len(list(load.folder.iterdir())) == 1


# ---- problems ------------------------------------------------------------------------------------

REPORTS = [("bad boxes", "a: none"), ("missing images", "b"), ("bad boxes", "c")]


def test_problems_are_reported_again(load):
    first, second = Problems(strict=False), Problems(strict=False)
    load(problems=first, reports=REPORTS)
    load(problems=second, reports=REPORTS)
    assert load.parsed == 1
    assert first == second
    assert second.counts == {"bad boxes": 2, "missing images": 1}
    assert second.first == {"bad boxes": "a: none", "missing images": "b"}
    load(problems=second, reports=REPORTS)
    assert second.counts == {"bad boxes": 4, "missing images": 2}  # added to what was there


def test_strict_is_an_error_with_a_cache_as_without(load):
    with pytest.raises(UserError, match="^a: none$"):
        load(problems=Problems(), reports=REPORTS)
    load(problems=Problems(strict=False), reports=REPORTS)
    with pytest.raises(UserError, match="^a: none$"):
        load(problems=Problems(), reports=REPORTS)
    assert load.parsed == 2


# ---- where ---------------------------------------------------------------------------------------


def test_where_cache_files_are(monkeypatch, tmp_path):
    monkeypatch.delenv("PLUGTRACK_CACHE", raising=False)
    assert cache_folder(tmp_path) == tmp_path / ".annotation_cache"
    monkeypatch.setenv("PLUGTRACK_CACHE", "~/cache")
    assert cache_folder(tmp_path) == Path.home() / "cache"
    monkeypatch.setenv("PLUGTRACK_CACHE", "")
    assert cache_folder(tmp_path) is None


def test_without_a_folder_there_is_no_cache(load):
    load.folder = None
    met = Problems(strict=False)
    load(problems=met, reports=REPORTS)
    load(problems=met, reports=REPORTS)
    assert load.parsed == 2 and met.counts == {"bad boxes": 4, "missing images": 2}


def test_no_data_root_is_made(load, tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("PLUGTRACK_CACHE", raising=False)
    load.folder = cache_folder(tmp_path / "no_data_root")
    load()
    assert not (tmp_path / "no_data_root").exists() and "are not cached" in caplog.text


# ---- the file ------------------------------------------------------------------------------------


def test_an_empty_table_has_a_file(tmp_path):
    path = tmp_path / "empty"
    write_table_file(path, "key", FrameTable.from_records([]), {"more": [1, "ü"]})
    table, extra = read_table_file(path, "key")
    assert len(table) == 0 and extra == {"more": [1, "ü"]}
    assert read_table_file(path, "another") is None


def test_arrays_are_mapped_and_survive_the_files_replacement(tmp_path, root):
    path = tmp_path / "table"
    records = list(load_vid_videos(root, root / "videos.txt", CLASSES))
    write_table_file(path, "key", FrameTable.from_records(records), {})
    table, _ = read_table_file(path, "key")
    assert not table.store.arrays["box"].flags.owndata
    assert not table.store.arrays["box"].flags.writeable
    path.unlink()
    assert list(table) == records


def test_nothing_in_a_file_is_executed(tmp_path):
    path = tmp_path / "table"
    write_table_file(path, "key", FrameTable.from_records([]), {})
    content = path.read_bytes()
    assert b"numpy" not in content and b"pickle" not in content
    header, _ = json.JSONDecoder().raw_decode(content[content.index(b"{") :].decode("latin-1"))
    assert header["key"] == "key"
    path.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(DamagedFile, match="not a table file"):
        read_table_file(path, "key")


def test_a_load_from_the_cache_says_so(load, caplog):
    caplog.set_level(logging.INFO)
    load()
    assert not caplog.records
    load()
    assert "4 records from the cache" in caplog.text
