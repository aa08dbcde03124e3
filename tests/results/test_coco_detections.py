"""Detections written and read back bit for bit, the conventions of ids, and bad files by name."""

import json
import math
import tracemalloc

import numpy as np
import pytest

from d2_plugtrack.data.dataset_ids import DatasetIds
from d2_plugtrack.errors import UserError
from d2_plugtrack.results.coco_detections import boxes_xywh, read_detections, write_detections
from d2_plugtrack.results.coco_entries import BadEntry, DetectionRows

CASES = [40, pytest.param(2000, marks=pytest.mark.slow)]


def ids_of(lengths: dict[str, int], num_classes: int) -> DatasetIds:
    """Of videos with gaps between their frames; image ids from 1, category ids 10, 20, ..."""
    keys = [(video, 2 * t) for video, length in lengths.items() for t in range(length)]
    frames = {key: number for number, key in enumerate(keys, start=1)}
    videos = {video: number for number, video in enumerate(lengths, start=1)}
    return DatasetIds(
        dataset="mine",
        frames=frames,
        videos=videos,
        video_names={video: video for video in videos},
        categories={10 * (k + 1): f"class {k}" for k in range(num_classes)},
        frames_by_id={image: key for key, image in frames.items()},
        videos_by_id={**{n: v for v, n in videos.items()}, **{v: v for v in videos}},
    )


IDS = ids_of({"a": 3, "b": 1}, 2)
DETECTION = {"image_id": 2, "category_id": 20, "bbox": [1, 2, 3, 4], "score": 0.5}


def random_boxes(rng: np.random.Generator, count: int, dtype: type = np.float32) -> np.ndarray:
    """Inside an image; of all sizes down to nothing, at all places down to almost zero."""
    corners = rng.random((count, 4)) * 10.0 ** rng.integers(-8, 4, (count, 4))
    corners[rng.random((count, 4)) < 0.1] = 0
    corners = corners.astype(dtype)
    return np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )


def random_detections(rng: np.random.Generator, ids: DatasetIds, dtype: type = np.float32) -> dict:
    """Many frames without any, and a class that is never detected."""
    detections = {}
    for key in ids.frames:
        count = 0 if rng.random() < 0.4 else rng.integers(1, 6)
        scores = rng.random(count).astype(dtype)
        labels = rng.integers(0, max(1, len(ids.categories) - 1), count)
        detections[key] = random_boxes(rng, count, dtype), scores, labels
    return detections


def assert_equal(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    for key, fields in expected.items():
        for one, other in zip(found[key], fields, strict=True):
            assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.fixture
def refused(tmp_path):
    """Reading this file, an object or a text, is an error with the file's name and these words."""

    def refused(data, *words: str, ids: DatasetIds = IDS) -> None:
        path = tmp_path / "found.json"
        text = data if isinstance(data, str | bytes) else json.dumps(data)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(UserError) as caught:
            read_detections(path, ids)
        message = str(caught.value)
        assert message.startswith(str(path)) and "\n" not in message
        for word in words:
            assert word in message

    return refused


# ---- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_cases", CASES)
def test_what_is_written_is_read_bit_for_bit(tmp_path, num_cases):
    rng = np.random.default_rng(0)
    path = tmp_path / "found.json"
    for _ in range(num_cases):
        ids = ids_of({f"v{i}": rng.integers(1, 4) for i in range(rng.integers(1, 4))}, 3)
        expected = random_detections(rng, ids)
        write_detections(path, ids, expected)
        assert_equal(read_detections(path, ids), expected)


def test_float64_comes_back_as_well(tmp_path):
    rng = np.random.default_rng(0)
    expected = random_detections(rng, IDS, np.float64)
    write_detections(tmp_path / "found.json", IDS, expected)
    found = read_detections(tmp_path / "found.json", IDS)
    for key, (boxes, scores, _) in expected.items():
        assert np.array_equal(found[key][1], scores)
        # two float64 have no sum that is always exact: one unit in the last place of 53
        assert np.allclose(found[key][0], boxes, rtol=1e-15, atol=0)


@pytest.mark.parametrize("count", [100_000, pytest.param(20_000_000, marks=pytest.mark.slow)])
def test_width_and_height_are_exact(count):
    rng = np.random.default_rng(0)
    for _ in range(count // 100_000):
        boxes = random_boxes(rng, 50_000)
        # any two positive float32, of all the exponents that there are
        bits = rng.integers(0, np.float32(np.inf).view(np.int32), (50_000, 4), dtype=np.int32)
        bits = bits.view(np.float32)
        bits = np.concatenate([np.minimum(bits[:, :2], bits[:, 2:]), bits.max(1, keepdims=True)], 1)
        boxes = np.concatenate([boxes, bits[:, [0, 1, 2, 2]]])
        in_file, exact = boxes_xywh(boxes)
        assert exact.all()
        back = np.concatenate([in_file[:, :2], in_file[:, :2] + in_file[:, 2:]], axis=1)
        assert np.array_equal(back, boxes) and np.array_equal(back.astype(np.float32), boxes)


def test_a_box_that_has_no_exact_width_says_its_corners(tmp_path):
    # -500 + 500 is 0 and not 1e-30, and no other width is nearer
    boxes = np.array([[-500, 0, 1e-30, 10], [0, 0, 5, 5]], np.float32)
    expected = {key: (boxes, np.float32([0.5, 0.25]), np.array([0, 1])) for key in IDS.frames}
    path = tmp_path / "found.json"
    write_detections(path, IDS, expected)
    assert_equal(read_detections(path, IDS), expected)
    first, second = json.loads(path.read_text())["annotations"][:2]
    assert first["bbox_xyxy"] == boxes[0].tolist() and "bbox_xyxy" not in second


@pytest.mark.parametrize("data", [[], {"annotations": []}, {"detections": [], "info": {}}])
def test_nothing_at_all(tmp_path, data):
    path = tmp_path / "found.json"
    path.write_text(json.dumps(data))
    found = read_detections(path, IDS)
    assert list(found) == list(IDS.frames)
    assert {tuple(map(np.shape, fields)) for fields in found.values()} == {((0, 4), (0,), (0,))}
    write_detections(path, IDS, found)
    assert_equal(read_detections(path, IDS), found)


def test_written_form(tmp_path):
    one = np.float32([[1, 2, 4, 6]]), np.float32([0.5]), np.array([1])
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    detections = {key: one if key == ("a", 2) else nothing for key in IDS.frames}
    write_detections(tmp_path / "found.json", IDS, detections)
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "info": {"dataset": "mine"},
        "videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "categories": [{"id": 10, "name": "class 0"}, {"id": 20, "name": "class 1"}],
        "images": [
            {"id": 1, "video_id": 1, "frame_id": 0},
            {"id": 2, "video_id": 1, "frame_id": 2},
            {"id": 3, "video_id": 1, "frame_id": 4},
            {"id": 4, "video_id": 2, "frame_id": 0},
        ],
        "annotations": [
            {
                "image_id": 2,
                "video_id": 1,
                "frame_index": 2,
                "category_id": 20,
                "bbox": [1, 2, 3, 4],
                "score": 0.5,
            }
        ],
    }


def test_a_place_that_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "found.json"
    path.write_text("before")
    with pytest.raises(KeyError):
        write_detections(path, IDS, {})
    assert path.read_text() == "before" and [*tmp_path.iterdir()] == [path]
    with pytest.raises(UserError, match="none/found.json: expected an existing folder"):
        write_detections(tmp_path / "none/found.json", IDS, {})


# ---- anybody's -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        {"image_id": 2},
        {"image_id": 2.0},
        {"image_id": 2, "video_id": 1},
        {"image_id": 2, "video_id": "a", "frame_index": 2},
        {"video_id": 1, "frame_index": 2},
        {"video_id": "a", "frame_index": 2},
    ],
)
@pytest.mark.parametrize("key", ["", "annotations", "detections"])
def test_a_frame_is_said_by_its_image_or_by_its_place(tmp_path, frame, key):
    entry = {**DETECTION, **frame}
    if "image_id" not in frame:
        del entry["image_id"]
    rows = [entry, {**entry, "score": 0.75, "segmentation": {"counts": "x", "size": [1, 2]}}]
    path = tmp_path / "found.json"
    path.write_text(json.dumps({key: rows, "licenses": [1]} if key else rows))
    found = read_detections(path, IDS)
    boxes, scores, labels = found.pop(("a", 2))
    assert boxes.tolist() == [[1, 2, 4, 6]] * 2
    assert scores.tolist() == [0.5, 0.75]  # the order of the file
    assert labels.tolist() == [1, 1] and labels.dtype == np.int64
    assert all(len(rest[2]) == 0 for rest in found.values())


def test_values_that_are_no_float32_stay_float64(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{**DETECTION, "bbox": [0.1, 0.2, 0.3, 0.4]}]))
    boxes, scores, _ = read_detections(path, IDS)["a", 2]
    assert boxes.tolist() == [[0.1, 0.2, 0.1 + 0.3, 0.2 + 0.4]] and boxes.dtype == np.float64
    assert scores.dtype == np.float32


def with_images(*images: dict) -> dict:
    return {"images": list(images), "annotations": [DETECTION]}


IMAGES = [{"id": i} for i in (4, 1, 3, 2)]


def test_all_frames_in_any_order_and_with_what_else_is_known(tmp_path):
    path = tmp_path / "found.json"
    data = with_images(*IMAGES[:3], {"id": 2, "video_id": 1, "frame_id": 2, "height": 5})
    data["categories"] = [{"id": 20, "name": "class 1"}, {"id": 10}]
    data["videos"] = [{"id": 2, "name": "b"}]
    path.write_text(json.dumps(data))
    assert len(read_detections(path, IDS)["a", 2][0]) == 1


def test_a_missing_or_repeated_frame_is_named(refused):
    missing = "images: expected each of the 4 frames of dataset mine, found 1 missing, the first"
    refused(with_images(*IMAGES[:3]), f"{missing} image 2 (video 'a', frame 2)")
    again = "images[4]: expected each frame once, found image 3 (video 'a', frame 4) again"
    refused(with_images(*IMAGES, {"id": 3}), again)
    refused({"images": [], "annotations": []}, "found 4 missing, the first image 1 (video 'a'")
    unknown = "images[4]: expected an image of dataset mine in id, found 9"
    refused(with_images(*IMAGES, {"id": 9}), unknown)
    other = "images[0]: expected 4 of image 3 (video 'a', frame 4) in frame_id, found 1"
    refused(with_images({"id": 3, "frame_id": 1}), other)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"image_id": 9}, "expected an image of dataset mine in image_id, found 9"),
        ({"image_id": "2"}, "in image_id, found '2'"),
        ({"image_id": True}, "in image_id, found True"),
        ({"image_id": [2]}, "in image_id, found [2]"),
        ({"image_id": None}, "in image_id, found None"),
        ({"video_id": 2}, "expected 1 of image 2 (video 'a', frame 2) in video_id, found 2"),
        ({"video_id": 7}, "expected a video of dataset mine in video_id, found 7"),
        ({"frame_index": 4}, "expected 2 of image 2 (video 'a', frame 2) in frame_index, found 4"),
        ({"frame_index": "x"}, "expected a whole number in frame_index, found 'x'"),
        ({"category_id": 3}, "a category of dataset mine, 2 from 10 to 20, in category_id, found"),
        ({"category_id": None}, "in category_id, found None"),
        ({"bbox": [1, 2, 3]}, "expected [x, y, width, height] in bbox, found [1, 2, 3]"),
        ({"bbox": [1, 2, 3, "4"]}, "in bbox, found [1, 2, 3, '4']"),
        ({"bbox": [1, 2, 3, True]}, "in bbox, found [1, 2, 3, True]"),
        ({"bbox": None}, "in bbox, found None"),
        ({"bbox": [1, 2, -3, 4]}, "a width and height of 0 or more in bbox, found [1.0, 2.0, -3.0"),
        ({"bbox": [1e308, 2, 1e308, 4]}, "expected finite corners of the bbox"),
        ({"bbox_xyxy": [1, 2]}, "expected [x1, y1, x2, y2] in bbox_xyxy, found [1, 2]"),
        (
            {"bbox_xyxy": [1, 2, 4, 7]},
            "the corners of its bbox, [1.0, 2.0, 4.0, 6.0], in bbox_xyxy",
        ),
        ({"score": -0.5}, "expected a number from 0 in score, found -0.5"),
        ({"score": "0.5"}, "expected a number from 0 in score, found '0.5'"),
    ],
)
def test_bad_values_are_named(refused, change, words):
    refused([DETECTION, {**DETECTION, **change}], "found.json, detections[1]: expected ", words)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"bbox": [1, math.nan, 3, 4]}, "expected finite numbers in bbox, found [1.0, nan, 3.0"),
        ({"bbox": [1, 2, math.inf, 4]}, "expected finite numbers in bbox"),
        ({"bbox": [10**400, 2, 3, 4]}, "expected finite numbers, and in score, in bbox"),
        ({"bbox_xyxy": [1, 2, 4, math.nan]}, "the corners of its bbox"),
        ({"score": math.nan}, "expected a number from 0 in score, found nan"),
        ({"score": math.inf}, "expected a finite number in score, found inf"),
    ],
)
def test_values_that_are_not_finite_are_refused_twice(refused, change, words):
    """They are no JSON; not all that reads JSON says so."""
    entry = {**DETECTION, **change}
    refused([DETECTION, entry], "found.json, after [0]: expected JSON, found ")
    rows = DetectionRows(IDS)
    rows.take(DETECTION)
    with pytest.raises(BadEntry) as caught:
        rows.take(entry)
        rows.finish()
    assert words in str(caught.value)


@pytest.mark.parametrize("key", DETECTION)
def test_a_missing_key_is_named(refused, key):
    entry = {k: v for k, v in DETECTION.items() if k != key}
    refused({"annotations": [entry]}, "annotations[0]: expected ", f"in {key}, found no such key")


def test_a_place_that_the_dataset_lacks_is_named(refused):
    entry = {k: v for k, v in DETECTION.items() if k != "image_id"}
    odd = {**entry, "video_id": "a", "frame_index": 1}
    refused([odd], "detections[0]: expected a frame of video 'a' in frame_index, found 1")
    refused([{**entry, "video_id": "a"}], "expected an image of dataset mine in image_id, found no")


def test_other_classes_or_videos_are_named(refused):
    categories = [{"id": 10, "name": "class 0"}, {"id": 20, "name": "cat"}]
    expected = "categories[1]: expected 'class 1' as in dataset mine in name, found 'cat'"
    refused({"categories": categories, "annotations": []}, expected)
    fewer = "categories: expected the 2 classes of dataset mine, found 1"
    refused({"categories": categories[:1], "annotations": []}, fewer)
    more = "categories[0]: expected a category of dataset mine in id, found 30"
    refused({"categories": [{"id": 30}], "annotations": []}, more)
    video = "videos[0]: expected 'b' as in dataset mine in name, found 'test/b'"
    refused({"videos": [{"id": 2, "name": "test/b"}], "annotations": []}, video)
    refused({"videos": [{"id": 3}], "annotations": []}, "expected a video of dataset mine in id")


@pytest.mark.parametrize(
    "data, words",
    [
        ({}, "expected detections in one list, annotations or detections, found neither"),
        ({"images": []}, "found images"),
        ({"annotations": [], "detections": []}, "found annotations and detections"),
        ({"annotations": {}}, "expected a list annotations, found a map"),
        (["x"], "detections[0]: expected an object, found 'x'"),
        ({"annotations": [], "images": [3]}, "images[0]: expected an object, found 3"),
        ({"annotations": [], "categories": [3]}, "categories[0]: expected an object, found 3"),
        ({"annotations": [], "a": [[[]]], "info": 1, "images": 2}, "a list images, found a number"),
        ("1", "expected a list, or an object with lists, found 1"),
        ('{"annotations": [], "annotations": []}', "every key once and none empty, found 'annot"),
        ('{"": {"annotations": []}}', "expected every key once and none empty, found ''"),
    ],
)
def test_files_of_another_form_are_refused(refused, data, words):
    refused(data, words)


@pytest.mark.parametrize("num_cases", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_a_file_cut_anywhere_is_refused(refused, num_cases):
    rng = np.random.default_rng(0)
    data = {"info": {"x": "é\n"}, **with_images(*IMAGES), "z": [1]}
    for _ in range(num_cases):
        whole = json.dumps(data, indent=1, ensure_ascii=rng.random() < 0.5).encode()
        refused(whole[: rng.integers(len(whole))], "expected JSON, found ")


@pytest.mark.parametrize(
    "end, found",
    [
        (b'{"image_id" 2}]', "parse error: object key and value must be separated"),
        (b'{"image_id": 2 "score": 1}]', "parse error: after key and value, inside map"),
        (b"]", "parse error: unallowed token"),
        (b'"\xe9"]', "lexical error: invalid bytes in UTF8"),
        (b'"\xed\xa0\x80"]', "invalid continuation byte"),
        (b"1e400]", "parse error: numeric (floating point) overflow"),
        (b"9223372036854775808]", "parse error: integer overflow"),
        (b"[" * 1_000_000, "values nested too deeply"),
        (b'{"a":' * 1_000_000, "values nested too deeply"),
    ],
    ids=range(9),
)
def test_what_is_no_json_is_named_with_the_last_good_entry(refused, end, found):
    good = b"[" + (json.dumps(DETECTION).encode() + b",") * 300
    refused(good + end, "found.json, after [299]: expected JSON", f", found {found}")


def test_what_comes_after_the_end_or_is_passed_over_is_json_as_well(refused):
    refused("[]\n[]", "found.json: expected JSON, found parse error: trailing garbage")
    refused('{"annotations": []} {}', "found.json: expected JSON, found parse error: trailing")
    refused('{"a": [' + "[" * 1000, "found.json: expected JSON, found values nested too deeply")
    refused('{"a": [NaN], "annotations": []}', "found.json: expected JSON, found lexical error")


def test_what_cannot_be_read_is_refused(tmp_path):
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=f"{path}: expected a JSON file, found {reason}"):
            read_detections(path, IDS)


JUNK = [None, True, -1, 0, 2, 1e999, -(10**400), 0.5, "", "2", "a", [], [1, 2, 3, 4], {}, {"id": 2}]


def places_in(data, path: tuple = ()) -> list[tuple]:
    """The way to every value of a JSON object but the whole."""
    lists = enumerate(data) if isinstance(data, list) else ()
    places = []
    for key, value in data.items() if isinstance(data, dict) else lists:
        places += [(*path, key), *places_in(value, (*path, key))]
    return places


@pytest.mark.parametrize("num_cases", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damage_is_an_error_in_one_line_or_does_not_matter(tmp_path, num_cases):
    rng = np.random.default_rng(0)
    path = tmp_path / "found.json"
    write_detections(path, IDS, random_detections(rng, IDS))
    whole, refusals = path.read_bytes(), 0
    for case in range(num_cases):
        if case % 2:
            data = json.loads(whole)
            *way, last = places_in(data)[rng.integers(len(places_in(data)))]
            holder = data
            for key in way:
                holder = holder[key]
            holder[last] = JUNK[rng.integers(len(JUNK))]
            path.write_text(json.dumps(data))
        else:
            damaged = bytearray(whole)
            damaged[rng.integers(len(whole))] = rng.integers(256)
            path.write_bytes(damaged)
        try:
            found = read_detections(path, IDS)
        except UserError as error:
            refusals += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
        else:
            assert list(found) == list(IDS.frames)
            for boxes, scores, labels in found.values():
                assert np.isfinite(boxes).all() and (boxes[:, 2:] >= boxes[:, :2]).all()
                assert (scores >= 0).all() and set(labels.tolist()) <= {0, 1}
    assert num_cases / 3 < refusals < num_cases


def test_memory_of_a_large_file(tmp_path):
    """Some hundred bytes an entry, where the standard library's objects take 400."""
    path = tmp_path / "found.json"
    path.write_text(json.dumps([DETECTION] * 20_000))
    tracemalloc.start()
    read_detections(path, IDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 * 20_000
