"""Exports say what was found, frame by frame; whole or not there; read back by other readers."""

import csv
import json
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from pycocotools.coco import COCO

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.video_json.datasets import read_video_json
from d2_plugtrack.errors import UserError
from d2_plugtrack.exports import CocoVidWriter, CsvWriter, MotWriter
from d2_plugtrack.masks import paste_masks
from tests.tracked import make_objects, random_objects

CLASSES = ["cat", 'dog, "big"', "ü"]
SIZE = (48, 64)  # height, width
NOTHING = make_objects([], [])
WRITERS = {
    "coco": lambda path: CocoVidWriter(path.with_suffix(".json"), CLASSES, "clip", 25),
    "mot": lambda path: MotWriter(path.with_suffix(".txt"), CLASSES),
    "csv": lambda path: CsvWriter(path.with_suffix(".csv"), CLASSES),
}
ABOUT = {"coco": ["clip", 25], "mot": [], "csv": []}


def write(writer, frames):
    """(index, time, size, objects) each."""
    with writer:
        for frame in frames:
            writer.write(*frame)
    return writer.path


def random_frames(seed, side=0):
    """Every third frame of a source of three sizes, from its fourth on."""
    rng = np.random.default_rng(seed)
    sizes = [(48, 64), (50, 40), (31, 33)]
    return [
        (4 + 3 * t, Fraction(4 + 3 * t, 30), size, random_objects(rng, size, len(CLASSES), side))
        for t, size in enumerate(sizes[i % 3] for i in range(7))
    ]


# ---- COCO-VID ------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [0, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_projects_reader_reads_what_was_written(tmp_path, seed, side):
    frames = random_frames(seed, side)
    path = write(WRITERS["coco"](tmp_path / "a"), frames)
    problems = Problems(strict=True)
    videos = read_video_json(path, problems)
    assert videos.class_names == CLASSES and videos.name_of(1) == "clip"
    assert len(videos.records) == len(frames) and not problems.summary()
    for record, (index, _, size, objects) in zip(videos.records, frames, strict=True):
        assert (record["frame_index"], record["height"], record["width"]) == (index, *size)
        found = record["annotations"]
        boxes = np.reshape([a["bbox"] for a in found], (-1, 4))
        np.testing.assert_allclose(boxes, objects.boxes, rtol=0, atol=1e-5)
        assert [a["track_id"] for a in found] == objects.track_ids.tolist()
        assert [a["category_id"] for a in found] == objects.classes.tolist()
        assert all(("segmentation" in a) == bool(side) for a in found)


@pytest.mark.parametrize("side", [0, 5])
def test_pycocotools_reads_what_was_written(tmp_path, side, capsys):
    frames = random_frames(0, side)
    coco = COCO(write(WRITERS["coco"](tmp_path / "a"), frames))
    assert [i["time"] for i in coco.dataset["images"]] == [round(float(f[1]), 6) for f in frames]
    assert {c["name"]: c["id"] for c in coco.dataset["categories"]} == dict(
        zip(CLASSES, [1, 2, 3], strict=True)
    )
    number = 0
    for image, (_, _, size, objects) in zip(coco.dataset["images"], frames, strict=True):
        found = coco.loadAnns(coco.getAnnIds(image["id"]))
        np.testing.assert_allclose([a["score"] for a in found], objects.scores, rtol=1e-6)
        if side:
            masks = paste_masks(objects.masks, objects.boxes, size)
            pairs = zip(found, masks, strict=True)
            assert all(np.array_equal(coco.annToMask(a), mask) for a, mask in pairs)
            assert [a["area"] for a in found] == [m.sum() for m in masks]
        number += len(found)
    assert number == len(coco.dataset["annotations"]) > 5


def test_frames_of_files_have_their_names_and_others_the_videos(tmp_path):
    names = {}
    for file_name in (None, lambda index: f"../frames/{index}.png"):
        writer = CocoVidWriter(tmp_path / "a.json", CLASSES, "clip", 25, file_name)
        data = json.loads(write(writer, [(7, 0, SIZE, NOTHING)]).read_text())
        names[file_name is None] = data["images"][0]["file_name"]
    assert names == {True: "clip#000007", False: "../frames/7.png"}


def test_what_nobody_could_see_is_left_out_and_objects_without_a_track_differ(tmp_path):
    # no width; right of the frame; left of it; two without a track; half outside: stays
    boxes = [[5, 5, 5, 9], [64, 0, 70, 9], [-4, 0, 0, 9]]
    boxes += [[1, 1, 4, 4], [2, 2, 6, 6], [60, 0, 70, 9]]
    objects = make_objects(boxes, [0, 1, 2, -1, -1, 3])
    path = write(WRITERS["coco"](tmp_path / "a"), [(0, 0, SIZE, objects), (1, 1, SIZE, objects)])
    problems = Problems(strict=True)
    for record in read_video_json(path, problems).records:
        assert [a["bbox"] for a in record["annotations"]] == boxes[3:]
        tracks = [a["track_id"] for a in record["annotations"]]
        assert tracks[2] == 3 and max(tracks[:2]) < 0 and tracks[0] != tracks[1]


# ---- MOT and CSV ---------------------------------------------------------------------------------


def test_mot_is_these_lines(tmp_path):
    objects = make_objects([[1, 2, 4.5, 6], [0, 0, 3, 1]], [4, -1], [2, 0], [0.25, 1])
    frames = [(0, 0, SIZE, NOTHING), (5, 1, SIZE, objects)]
    # frame 5 + 1, track 4 + 1, width 4.5 - 1, height 6 - 2, class 2 + 1
    expected = "6,5,1.00,2.00,3.50,4.00,0.2500,3,-1,-1\n6,-1,0.00,0.00,3.00,1.00,1.0000,1,-1,-1\n"
    assert write(WRITERS["mot"](tmp_path / "a"), frames).read_text() == expected


def test_csv_is_this_table(tmp_path):
    objects = make_objects([[1, 2, 4.5, 6], [0, 0, 3, 1]], [4, -1], [1, 2], [0.25, 1])
    frames = [(0, 0, SIZE, NOTHING), (5, Fraction(1, 3), SIZE, objects)]
    with write(WRITERS["csv"](tmp_path / "a"), frames).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["index", "time", "track_id", "class", "score", "x1", "y1", "x2", "y2"]
    assert rows == [
        ["5", "0.333333", "4", 'dog, "big"', "0.2500", "1.00", "2.00", "4.50", "6.00"],
        ["5", "0.333333", "-1", "ü", "1.0000", "0.00", "0.00", "3.00", "1.00"],
    ]


# ---- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_no_frames_and_empty_frames_are_ordinary(tmp_path, kind):
    for name, frames in (("none", []), ("empty", [(0, 0, SIZE, NOTHING), (1, 1, SIZE, NOTHING)])):
        path = write(WRITERS[kind](tmp_path / name), frames)
        text = path.read_text()
        if kind == "coco":
            data = json.loads(text)
            assert len(data["images"]) == len(frames) and data["annotations"] == []
        else:
            assert text == {"mot": "", "csv": "index,time,track_id,class,score,x1,y1,x2,y2\n"}[kind]


@pytest.mark.parametrize("kind", WRITERS)
def test_an_exception_leaves_the_older_file_and_nothing_else(tmp_path, kind):
    writer = WRITERS[kind](tmp_path / "a")
    writer.path.write_text("older")
    with pytest.raises(KeyError), writer:
        writer.write(0, 0, SIZE, make_objects([[1, 1, 4, 4]], [0]))
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == [writer.path.name]
    assert writer.path.read_text() == "older"
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.write(0, 0, SIZE, NOTHING)


@pytest.mark.parametrize("kind", WRITERS)
def test_an_error_of_others_passes_as_it_is(tmp_path, kind):
    with pytest.raises(ConnectionError), WRITERS[kind](tmp_path / "a"):
        raise ConnectionError("no file of ours")


@pytest.mark.parametrize("kind", WRITERS)
def test_places_that_cannot_be_written_are_refused_at_once(tmp_path, kind):
    with pytest.raises(UserError, match="no/a"):
        WRITERS[kind](tmp_path / "no/a")
    with pytest.raises(UserError, match="expected a name ending in"):
        type(WRITERS[kind](tmp_path / "a"))(tmp_path / "a.xml", CLASSES, *ABOUT[kind])


@pytest.mark.parametrize("kind", WRITERS)
def test_memory_does_not_grow_with_the_video(tmp_path, kind):
    objects = make_objects([[1, 1, 30, 30]] * 20, range(20))
    peaks = []
    for count in (20, 200):
        with WRITERS[kind](tmp_path / "a") as writer:
            writer.write(0, 0, SIZE, objects)
            tracemalloc.start()
            for index in range(1, count):
                writer.write(index, index, SIZE, objects)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000, peaks  # 180 frames of 20 objects are 500 kB as text
