"""COCO-VID: what is read, what is left out and said, and writing that undoes reading."""

import copy
import json
import re
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.tables.frame_table import FrameTable
from d2_plugtrack.data.video_json.coco_vid import read_coco_vid, write_coco_vid
from d2_plugtrack.data.video_json.video_set import VideoSet
from d2_plugtrack.errors import UserError
from tests.data.video_sets import coco_vid, in_order

# Two videos, the second without images; images out of order; categories by id: dog 0, cat 1.
SMALL = {
    "videos": [{"id": 3, "name": "clip"}, {"id": 1, "name": "empty"}],
    "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}],
    "images": [
        {"id": 11, "video_id": 3, "frame_id": 4, "file_name": "b.jpg", "height": 50, "width": 60},
        {"id": 10, "video_id": 3, "frame_id": 2, "file_name": "/a.jpg", "height": 50, "width": 60},
    ],
    "annotations": [
        {"id": 5, "image_id": 11, "category_id": 7, "bbox": [1, 2, 3.5, 4], "instance_id": 9},
        {"id": 6, "image_id": 11, "category_id": 2, "bbox": [58, 2, 9, 4], "track_id": 8},
    ],
}


@pytest.fixture
def read(tmp_path):
    """Write an object and read it, strictly or into given problems."""

    def read(data, problems=None, **arguments) -> VideoSet:
        path = tmp_path / "in.json"
        path.write_text(json.dumps(data))
        return read_coco_vid(path, Problems() if problems is None else problems, **arguments)

    return read


def changed(path: str, **values) -> dict:
    """SMALL with the keys of one entry set, or removed where a value is None."""
    data = copy.deepcopy(SMALL)
    section, index = path.split(".")
    entry = data[section][int(index)]
    entry.update(values)
    for key in [key for key, value in values.items() if value is None]:
        del entry[key]
    return data


# ---- reading -------------------------------------------------------------------------------------


def test_records_by_hand(read, tmp_path):
    videos = read(SMALL)
    frame = {"height": 50, "width": 60, "video_id": 3, "video_length": 5}
    box = {"bbox_mode": 0, "iscrowd": 0}
    assert videos.records == [
        {"file_name": "/a.jpg", "image_id": 10, "frame_index": 2, "annotations": [], **frame},
        {
            "file_name": str(tmp_path / "b.jpg"),
            "image_id": 11,
            "frame_index": 4,
            # xywh [1, 2, 3.5, 4] ends at 1 + 3.5, 2 + 4; the second leaves the image in part.
            "annotations": [
                {"bbox": [1.0, 2.0, 4.5, 6.0], "category_id": 1, "track_id": 9, "id": 5, **box},
                {"bbox": [58.0, 2.0, 67.0, 6.0], "category_id": 0, "track_id": 8, "id": 6, **box},
            ],
            **frame,
        },
    ]
    assert videos.class_names == ["dog", "cat"] and videos.categories == {2: "dog", 7: "cat"}
    assert videos.video_names == {3: "clip", 1: "empty"}
    assert videos.name_of(3) == "clip" and videos.name_of(99) == "99"


def test_file_names_can_be_below_another_folder(read):
    names = [r["file_name"] for r in read(SMALL, images="/frames/x/..").records]
    assert names == ["/a.jpg", "/frames/b.jpg"]


def test_sizes_may_be_the_videos(read):
    data = changed("images.0", height=None, width=None)
    data["videos"][0].update(height=5, width=200)
    sizes = [(r["height"], r["width"]) for r in read(data).records]
    assert sizes == [(50, 60), (5, 200)]


def test_crowds_and_what_else_annotations_have(read):
    more = {"iscrowd": 1, "area": 3, "segmentation": [[1, 2]], "other": 1}
    found = read(changed("annotations.0", **more)).records[1]["annotations"][0]
    assert {k: found.get(k) for k in more} == {**more, "other": None}
    assert read(changed("annotations.0", iscrowd=True)).records[1]["annotations"][0]["iscrowd"] == 1


def test_nothing_annotated_is_no_problem(read):
    videos = read({**SMALL, "annotations": []})
    assert [r["annotations"] for r in videos.records] == [[], []]
    assert read({**SMALL, "annotations": [], "images": []}).records == []


@pytest.mark.parametrize("seed", range(5))
def test_records_fit_a_frame_table(read, seed):
    records = read(coco_vid(seed)).records
    kept = copy.deepcopy(records)
    for annotation in (a for r in kept for a in r["annotations"]):
        for key in ("id", "area", "segmentation"):
            del annotation[key]
    assert list(FrameTable.from_records(records)) == kept


# ---- bad input -----------------------------------------------------------------------------------

BAD = {
    "no video_id": ("images.0", {"video_id": None}, "no such key"),
    "unknown video": ("images.0", {"video_id": 2}, "expected a video_id of videos, found 2"),
    "no frame_id": ("images.0", {"frame_id": None}, "a whole number from 0 in frame_id"),
    "negative frame_id": ("images.0", {"frame_id": -1}, "from 0 in frame_id, found -1"),
    "repeated frame": ("images.0", {"frame_id": 2}, "images[1] (id 10): expected each frame_id"),
    "huge frame_id": ("images.0", {"frame_id": 2**40}, "in frame_id"),
    "no file_name": ("images.0", {"file_name": ""}, "a text in file_name, found ''"),
    "no height": ("images.0", {"height": None}, "from 1 in height, found no such key"),
    "text as width": ("images.0", {"width": "60"}, "in width, found '60'"),
    "repeated image": ("images.1", {"id": 11}, "images[1] (id 11): expected each id once"),
    "no image id": ("images.0", {"id": None}, "images[0]: expected a whole number or a text in id"),
    "unknown image": ("annotations.1", {"image_id": 99}, "an image_id of images, found 99"),
    "unknown category": ("annotations.1", {"category_id": 3}, "of categories, found 3"),
    "true as category": ("annotations.1", {"category_id": True}, "in category_id, found True"),
    "no instance": ("annotations.0", {"instance_id": None}, "in track_id, found no such key"),
    "repeated object": ("annotations.1", {"track_id": 9}, "found instance 9 again"),
    "no area": ("annotations.1", {"bbox": [1, 2, 0, 4]}, "above 0 in bbox, found [1, 2, 0, 4]"),
    "three numbers": ("annotations.1", {"bbox": [1, 2, 3]}, "[x, y, width, height] in bbox"),
    "no box": ("annotations.1", {"bbox": None}, "in bbox, found None"),
    "NaN": ("annotations.1", {"bbox": [1, 2, float("nan"), 4]}, "in bbox, found [1, 2, None, 4]"),
    "infinity": ("annotations.1", {"bbox": [1, 2, 1e400, 4]}, "in bbox"),
    "no float": ("annotations.1", {"bbox": [1, 2, 10**400, 4]}, "in bbox"),
    "huge size": ("images.0", {"height": 20_000, "width": 9000}, "178956970 pixels of width"),
    "no name of a file": ("images.0", {"file_name": "a\0b"}, "can have in file_name, found 'a"),
    "half a character": ("images.0", {"file_name": "\ud800"}, "can have in file_name, found '"),
    "long id": ("images.0", {"id": "x" * 10**6, "frame_id": -1}, "from 0 in frame_id, found -1"),
    "id of two lines": ("images.0", {"id": "a\nb", "frame_id": -1}, "images[0] (id a\\nb): expec"),
    "outside": ("annotations.1", {"bbox": [60, 2, 3, 4]}, "inside 60x50 pixels, found [60, 2"),
    "outside above": ("annotations.1", {"bbox": [1, -4, 3, 4]}, "inside 60x50 pixels"),
    "iscrowd 2": ("annotations.1", {"iscrowd": 2}, "0 or 1 in iscrowd, found 2"),
    "repeated video": ("videos.1", {"id": 3}, "videos[1] (id 3): expected each id once"),
    "repeated video as text": ("videos.1", {"id": "3"}, "videos[1] (id 3): expected each id once"),
    "repeated category": (
        "categories.0",
        {"id": 2},
        "categories[1] (id 2): expected each id and each",
    ),
    "repeated class name": ("categories.0", {"name": "dog"}, "each name once, found 'dog' again"),
    "no class name": ("categories.0", {"name": None}, "categories[0] (id 7): expected a text in"),
}


@pytest.mark.parametrize("path, values, message", BAD.values(), ids=list(BAD))
def test_bad_entries_are_named_and_left_out(read, tmp_path, path, values, message):
    data = changed(path, **values)
    with pytest.raises(UserError) as error:
        read(data)
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'in.json'}, ") and message in text
    assert re.search(r"[a-z]+\[\d\]( \(id .+\))?: expected ", text)  # the entry is named
    assert text.isprintable() and len(text) < 400
    problems = Problems(strict=False)
    read(data, problems)
    assert sum(problems.counts.values()) >= 1 and text in problems.first.values()


@pytest.mark.parametrize("number", ["1e999", "-1e0400", "9" * 400, "9" * 5000, "NaN", "-Infinity"])
def test_numbers_that_no_float_holds_are_null(read, tmp_path, number):
    """Wherever they are: what is not looked at is written again, and JSON has no infinity."""
    data = changed("annotations.0", area="here", segmentation=[["here"]], bbox=[1, 2, 3, 4.5])
    path = tmp_path / "numbers.json"
    path.write_text(json.dumps(data).replace('"here"', number))
    videos = read_coco_vid(path, Problems())
    (found, _) = videos.records[1]["annotations"]
    assert found["area"] is None and found["segmentation"] == [[None]]
    assert found["bbox"] == [1.0, 2.0, 4.0, 6.5]
    write_coco_vid(tmp_path / "out.json", videos)
    path.write_text(json.dumps(changed("images.0", height="here")).replace('"here"', number))
    with pytest.raises(UserError, match=r"images\[0\] \(id 11\): expected a whole number from 1"):
        read_coco_vid(path, Problems())


@pytest.mark.parametrize("depth", [300, 900])
def test_a_deep_id_is_named(read, depth):
    deep: list = []
    for _ in range(depth):
        deep = [deep]
    with pytest.raises(UserError, match=r"images\[0\]|too deep"):
        read(changed("images.0", id=deep))


@pytest.mark.parametrize("section", ["videos", "categories", "images", "annotations"])
def test_entries_that_are_no_objects_are_left_out(read, section):
    data = copy.deepcopy(SMALL)
    data[section].insert(0, "what")
    with pytest.raises(UserError, match=rf"{section}\[0\]: expected an object, found 'what'"):
        read(data)
    problems = Problems(strict=False)
    assert read(data, problems) == read(SMALL)
    assert problems.counts == {f"bad {section}": 1}


def test_what_belongs_to_an_image_left_out_is_no_further_problem(read):
    problems = Problems(strict=False)
    videos = read(changed("images.0", frame_id=None), problems)
    assert [r["image_id"] for r in videos.records] == [10]
    assert problems.counts == {"entries with missing or bad keys": 1}


@pytest.mark.parametrize("section", ["videos", "categories", "images", "annotations"])
@pytest.mark.parametrize("value", [None, {}, "absent"])
def test_sections_that_are_no_lists_are_errors(read, section, value):
    data = {**SMALL, section: value}
    if value == "absent":
        del data[section]
    with pytest.raises(UserError, match=f"in.json: expected a list {section}, found"):
        read(data, Problems(strict=False))


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"videos": [1,\n 2,]}', r"line 2, column \d+: expected JSON, found"),
        ("", "line 1, column 1: expected JSON"),
        ("[1, 2]", "expected an object with videos, categories and annotations, found a list"),
        (b'{"videos":\n "\xff"}', "line 2: expected JSON in UTF-8, found invalid start byte"),
        ("[" * 100_000, "expected JSON, found lists in lists too deep"),
    ],
)
def test_files_that_are_no_json_object_are_errors(tmp_path, text, message):
    path = tmp_path / "in.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as error:
        read_coco_vid(path, Problems(strict=False))
    assert str(path) in str(error.value)


def test_no_file_and_no_categories(read, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.json: expected a JSON file, found No such"):
        read_coco_vid(tmp_path / "nothing.json", Problems())
    with pytest.raises(UserError, match="at least one category"):
        read({**SMALL, "categories": []})


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_writing_undoes_reading_up_to_order(read, tmp_path, seed):
    data = coco_vid(seed)
    write_coco_vid(tmp_path / "out.json", read(data))
    assert in_order(json.loads((tmp_path / "out.json").read_text())) == in_order(data)


@pytest.mark.parametrize("seed", range(10))
def test_reading_undoes_writing(read, tmp_path, seed):
    videos = read(coco_vid(seed))
    path = tmp_path / "elsewhere" / "out.json"
    path.parent.mkdir()
    write_coco_vid(path, videos)
    assert read_coco_vid(path, Problems()) == videos  # file names and all, from another folder


def test_pycocotools_loads_what_is_written(read, tmp_path):
    data = coco_vid(0)
    write_coco_vid(tmp_path / "out.json", read(data))
    coco = COCO(str(tmp_path / "out.json"))
    assert sorted(coco.getImgIds()) == sorted(image["id"] for image in data["images"])
    expected = sorted(a["id"] for a in data["annotations"] if not a["iscrowd"])
    assert sorted(coco.getAnnIds(iscrowd=False)) == expected
    assert {c["name"] for c in coco.loadCats(coco.getCatIds())} == {
        c["name"] for c in data["categories"]
    }
    assert all(a["area"] > 0 for a in coco.loadAnns(coco.getAnnIds()))


def test_ids_that_are_no_numbers_are_numbered(read, tmp_path):
    data = copy.deepcopy(SMALL)
    data["videos"][0] = {"id": "clip"}
    for image in data["images"]:
        image.update(video_id="clip", id=str(image["id"]))
    for annotation in data["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
        del annotation["id"]
    write_coco_vid(tmp_path / "out.json", read(data))
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["videos"] == [{"id": 1, "name": "clip"}]
    assert [(i["id"], i["frame_id"]) for i in written["images"]] == [(1, 2), (2, 4)]
    found = [(a["id"], a["image_id"], a["instance_id"], a["area"]) for a in written["annotations"]]
    assert found == [(1, 2, 9, 3.5 * 4), (2, 2, 8, 9 * 4)]  # areas are those of the boxes


def test_a_place_that_cannot_be_written(read, tmp_path):
    out: Path = tmp_path / "nothing" / "out.json"
    with pytest.raises(UserError, match="expected an existing folder"):
        write_coco_vid(out, read(SMALL))
