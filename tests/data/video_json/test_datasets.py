"""A JSON file as a dataset: found by its name, cached, and told apart by what is in it."""

import json
import os

import pytest

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.tables.frame_table import FrameTable
from d2_plugtrack.data.video_json import datasets
from d2_plugtrack.data.video_json.datasets import JsonDataset, is_json_dataset, read_video_json
from d2_plugtrack.errors import UserError
from tests.data.video_sets import coco_vid, write_images, youtube_vis

FORMATS = {"coco_vid": coco_vid, "youtube_vis": youtube_vis}


@pytest.fixture(params=FORMATS)
def data(request):
    return FORMATS[request.param](3)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Makes a dataset ``mine/train.json`` of an object, with its images."""
    monkeypatch.delenv("PLUGTRACK_CACHE", raising=False)

    def dataset(data, *, images=True) -> JsonDataset:
        path = tmp_path / "mine/train.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data))
        if images:
            write_images(path.parent, data)
        return JsonDataset("mine/train.json", tmp_path)

    return dataset


def test_names():
    assert is_json_dataset("a.json") and is_json_dataset("/x/y/a.json")
    assert not is_json_dataset("tiny_vid_train") and not is_json_dataset("json")


def test_records_are_those_of_the_file_with_ids_of_their_own(dataset, data):
    entry = dataset(data)
    table = entry.load_records(strict=True)
    assert isinstance(table, FrameTable) and entry.has_videos
    expected = read_video_json(entry.path, Problems()).records
    for record, wanted in zip(table, expected, strict=True):
        boxes = [(a["bbox"], a["track_id"], a["category_id"]) for a in record["annotations"]]
        assert boxes == [
            (a["bbox"], a["track_id"], a["category_id"]) for a in wanted["annotations"]
        ]
        assert record["file_name"] == wanted["file_name"] and os.path.isfile(record["file_name"])
        assert record["video_id"] == f"mine/train.json:{wanted['video_id']}"
    assert {"category_id", "bbox", "bbox_mode", "iscrowd", "track_id"} == {
        key for record in table for a in record["annotations"] for key in a
    }


def test_classes_are_those_of_the_file_in_order_of_id(dataset, data):
    entry = dataset(data)
    by_id = sorted((c["id"], c["name"]) for c in data["categories"])
    assert list(entry.classes.items()) == [(str(number), name) for number, name in by_id]
    assert entry.class_names == [name for _, name in by_id]


def test_an_absolute_name_is_a_file_anywhere(dataset, data, tmp_path):
    path = dataset(data).path
    entry = JsonDataset(str(path), tmp_path / "elsewhere")
    assert entry.path == path
    assert len(entry.load_records()) == len(read_video_json(path, Problems()).records)


# ---- classes without the rest --------------------------------------------------------------------


def test_classes_do_not_read_the_rest(dataset, data, monkeypatch):
    monkeypatch.setattr(datasets, "load_json", None)
    assert len(dataset({**data, "categories": data["categories"]}).classes) >= 1


@pytest.mark.parametrize(
    "more",
    [
        {"info": {"categories": [1]}},  # the key twice: the whole file is read
        {"info": 'a "categories": [ in a text'},
        {"zzz": ["ü" * 70_000], "info": {"x": "categories"}},
    ],
)
def test_classes_are_found_whatever_else_there_is(dataset, data, more):
    expected = dataset(data).class_names
    assert dataset({**more, **data}).class_names == expected
    assert dataset({**data, **more}).class_names == expected


def test_many_categories(dataset):
    data = coco_vid(0)
    data["categories"] = [{"id": i, "name": "ü" * 50 + str(i)} for i in range(3000, 0, -1)]
    entry = dataset(data)  # 300 kB of them, cut in the middle of characters on the way
    assert entry.class_names[0].endswith("ü1") and len(entry.class_names) == 3000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"categories": [1, 2',
        '{"categories": [{]}',
        "[]",
        '{"categories": ' + "[" * 99_999,
    ],
)
def test_classes_of_what_is_no_such_file_are_an_error(dataset, text):
    entry = dataset(coco_vid(0))
    entry.path.write_text(text)
    with pytest.raises(UserError, match=r"train\.json"):
        _ = entry.classes


def test_youtube_vis_with_a_list_of_images_is_youtube_vis(dataset):
    data = youtube_vis(3)
    expected = list(dataset(data).load_records(strict=True))
    assert list(dataset({**data, "images": []}).load_records(strict=True)) == expected


# ---- what is wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no.json", "mine/no.json", "/no/such/file.json", "mine.json"])
def test_no_such_file(tmp_path, name):
    (tmp_path / "mine.json").mkdir()
    with pytest.raises(UserError, match=f"^dataset {name}: expected a JSON file .*{name}, found"):
        JsonDataset(name, tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"videos": [{"id": 1}], "annotations": []}', '{"a": 1}'])
def test_neither_format(dataset, text):
    entry = dataset(coco_vid(0))
    entry.path.write_text(text)
    with pytest.raises(UserError, match="expected COCO-VID .* or YouTube-VIS"):
        entry.load_records()


def test_frames_without_an_image_are_left_out_now_and_from_the_cache(dataset, data, caplog):
    entry = dataset(data)
    count = len(entry.load_records())
    missing = next(entry.load_records().file_names())
    os.unlink(missing)
    caplog.clear()
    assert len(entry.load_records()) == count - 1
    assert "left out 1 missing images" in caplog.text and missing in caplog.text
    with pytest.raises(UserError, match="expected an image, found none"):
        entry.load_records(strict=True)


def test_no_images_at_all_are_an_error(dataset, data):
    with pytest.raises(UserError, match="expected frames of videos, found left out .* missing im"):
        dataset(data, images=False).load_records()


def test_bad_entries_are_said_now_and_from_the_cache(dataset, caplog, monkeypatch):
    data = coco_vid(2)
    data["annotations"].insert(0, {"id": 4})
    entry = dataset(data)
    records = list(entry.load_records())
    assert "left out 1 entries with missing or bad keys; the first: " in caplog.text
    caplog.clear()
    assert list(entry.load_records()) == records and caplog.text == ""  # once in a process
    monkeypatch.setattr("d2_plugtrack.data.problems._said", set())  # as in another one
    assert list(entry.load_records()) == records
    assert "left out 1 entries with missing or bad keys; the first: " in caplog.text
    with pytest.raises(UserError, match=r"annotations\[0\] \(id 4\)"):
        entry.load_records(strict=True)


def test_a_changed_file_is_read_anew(dataset):
    entry = dataset(coco_vid(2))
    before = list(entry.load_records())
    assert list(entry.load_records()) == before
    assert len(list((entry.path.parents[1] / ".annotation_cache").iterdir())) == 1
    assert list(dataset(coco_vid(4)).load_records()) != before


@pytest.mark.parametrize("number", ["9" * 5000, "1e999"])
def test_numbers_too_large_are_an_entrys_fault_and_no_crash(dataset, data, number):
    """Also where only the categories are looked for, which is done with less care."""
    entry = dataset({**data, "categories": [*data["categories"], {"id": "here", "name": "more"}]})
    entry.path.write_text(entry.path.read_text().replace('"here"', number))
    with pytest.raises(UserError, match=r"categories\[\d\].*: expected a whole number in id"):
        entry.load_records(strict=True)
    assert len(entry.classes) == len(data["categories"])
    assert len(entry.load_records()) > 0


def test_keys_of_another_object_are_said_on_one_line(tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({"a\nb": 1, "c" * 10**5: 2}))
    with pytest.raises(UserError, match=r"found the keys a\\nb, ccc") as error:
        read_video_json(path, Problems())
    assert str(error.value).isprintable() and len(str(error.value)) < 1500


def test_a_missing_image_is_named_with_its_entry(dataset):
    data = coco_vid(3)
    entry = dataset(data)
    gone = data["images"][0]
    (entry.path.parent / gone["file_name"]).unlink()
    with pytest.raises(UserError, match=rf"json, image {gone['id']}: .*{gone['file_name']}: expec"):
        entry.load_records(strict=True)
