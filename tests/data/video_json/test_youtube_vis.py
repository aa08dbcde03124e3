"""YouTube-VIS: what is read, what is left out and said, and writing that undoes reading."""

import copy
import json

import pytest

from d2_plugtrack.data.problems import Problems
from d2_plugtrack.data.video_json.coco_vid import read_coco_vid, write_coco_vid
from d2_plugtrack.data.video_json.video_set import VideoSet
from d2_plugtrack.data.video_json.youtube_vis import read_youtube_vis, write_youtube_vis
from d2_plugtrack.errors import UserError
from tests.data.video_sets import coco_vid, in_order, youtube_vis

SIZE = {"height": 50, "width": 60}
SMALL = {
    "videos": [
        {"id": 4, "file_names": ["a/0.jpg", "a/5.jpg"], "length": 2, **SIZE},
        {"id": 2, "file_names": ["b/0.jpg"], **SIZE},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {
            "id": 30,
            "video_id": 4,
            "category_id": 7,
            "iscrowd": 1,
            "bboxes": [None, [1, 2, 3, 4.5]],
            "areas": [None, 6],
            "segmentations": [None, [[1, 2, 3, 4, 5, 6]]],
        },
        {"id": 31, "video_id": 2, "category_id": 2, "bboxes": [[0, 0, 60, 50]]},
    ],
}


@pytest.fixture
def read(tmp_path):
    """Write an object and read it, strictly or into given problems."""

    def read(data, problems=None, **arguments) -> VideoSet:
        path = tmp_path / "in.json"
        path.write_text(json.dumps(data))
        return read_youtube_vis(path, Problems() if problems is None else problems, **arguments)

    return read


def test_records_by_hand(read, tmp_path):
    videos = read(SMALL)
    frame = {**SIZE, "video_id": 4, "video_length": 2}
    cat = {"bbox": [1.0, 2.0, 4.0, 6.5], "bbox_mode": 0, "category_id": 1, "iscrowd": 1}
    dog = {"bbox": [0.0, 0.0, 60.0, 50.0], "bbox_mode": 0, "category_id": 0, "iscrowd": 0}
    cat |= {"track_id": 30, "area": 6, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    expected = [
        {"file_name": "a/0.jpg", "frame_index": 0, "annotations": [], **frame},
        {"file_name": "a/5.jpg", "frame_index": 1, "annotations": [cat], **frame},
        {"file_name": "b/0.jpg", "frame_index": 0, "annotations": [{**dog, "track_id": 31}]},
    ]
    expected[2] |= {**SIZE, "video_id": 2, "video_length": 1}
    for record in expected:
        record["image_id"] = f"{record['video_id']}/{record['frame_index']:06d}"
        record["file_name"] = str(tmp_path / record["file_name"])
    assert videos.records == expected
    assert videos.categories == {2: "dog", 7: "cat"}
    assert videos.video_names == {4: "a", 2: "b"}
    assert read(SMALL, images="/x").records[0]["file_name"] == "/x/a/0.jpg"


def test_videos_of_one_folder_have_no_names(read):
    data = copy.deepcopy(SMALL)
    data["videos"][1]["file_names"] = ["a/9.jpg"]
    assert read(data).video_names == {}


def changed(path: str, **values) -> dict:
    data = copy.deepcopy(SMALL)
    section, index = path.split(".")
    data[section][int(index)].update(values)
    return data


TRACK = "annotations[0] (id 30): "
BAD = {
    "unknown video": ("annotations.0", {"video_id": 9}, TRACK + "expected a video_id of videos"),
    "unknown category": ("annotations.0", {"category_id": 9}, TRACK + "expected a category_id of"),
    "short boxes": ("annotations.0", {"bboxes": [None]}, TRACK + "expected 2 bboxes, one a frame"),
    "long areas": ("annotations.0", {"areas": [1, 2, 3]}, "expected 2 areas, one a frame, found 3"),
    "no boxes": (
        "annotations.0",
        {"bboxes": None},
        TRACK + "expected a list in bboxes, found None",
    ),
    "no area": (
        "annotations.0",
        {"bboxes": [[1, 2, 0, 4], None]},
        "(id 30), bboxes[0]: expected a",
    ),
    "outside": (
        "annotations.0",
        {"bboxes": [None, [60, 0, 1, 1]]},
        "bboxes[1]: expected a bbox in",
    ),
    "repeated track": (
        "annotations.1",
        {"id": 30},
        "annotations[1] (id 30): expected each id once",
    ),
    "iscrowd": ("annotations.0", {"iscrowd": "no"}, TRACK + "expected 0 or 1 in iscrowd"),
    "another length": ("videos.0", {"length": 3}, "videos[0] (id 4): expected 3 file_names"),
    "repeated video": ("videos.1", {"id": 4}, "videos[1] (id 4): expected each id once"),
    "video as text": ("videos.1", {"id": "4"}, "videos[1] (id 4): expected each id once"),
    "no size": ("videos.0", {"height": 0}, "videos[0] (id 4): expected a whole number from 1"),
    "no names": (
        "videos.0",
        {"file_names": "a"},
        "videos[0] (id 4): expected a list in file_names",
    ),
    "names of no file": (
        "videos.0",
        {"file_names": ["a", "\0"]},
        "videos[0] (id 4): expected texts in file_names",
    ),
    "huge size": ("videos.0", {"height": 2_000_000_000}, "expected at most 178956970 pixels"),
    "odd length": ("videos.0", {"length": "2" * 10**6}, "(id 4): expected '2222"),
    "odd names": ("videos.0", {"file_names": ["a", 1]}, "videos[0] (id 4): expected texts"),
}


@pytest.mark.parametrize("path, values, message", BAD.values(), ids=list(BAD))
def test_bad_entries_are_named_and_left_out(read, tmp_path, path, values, message):
    data = changed(path, **values)
    with pytest.raises(UserError) as error:
        read(data)
    assert str(error.value).startswith(f"{tmp_path / 'in.json'}, ") and message in str(error.value)
    problems = Problems(strict=False)
    read(data, problems)
    assert str(error.value) in problems.first.values()


def test_a_bad_box_does_not_take_its_track_along(read):
    problems = Problems(strict=False)
    boxes = [[1, 2, -3, 4], [1, 2, 3, 4]]
    videos = read(changed("annotations.0", bboxes=boxes), problems)
    assert [len(r["annotations"]) for r in videos.records] == [0, 1, 1]
    assert problems.counts == {"boxes without area": 1}


def test_tracks_of_a_video_left_out_are_no_further_problem(read):
    problems = Problems(strict=False)
    videos = read(changed("videos.0", height=None), problems)
    assert [r["video_id"] for r in videos.records] == [2]
    assert problems.counts == {"entries with missing or bad keys": 1}


@pytest.mark.parametrize("seed", range(40))
def test_writing_undoes_reading_up_to_order(read, tmp_path, seed):
    data = youtube_vis(seed)
    write_youtube_vis(tmp_path / "out.json", read(data), Problems())
    assert in_order(json.loads((tmp_path / "out.json").read_text())) == in_order(data)


@pytest.mark.parametrize("seed", range(10))
def test_by_way_of_coco_vid_and_back(read, tmp_path, seed):
    videos = read(youtube_vis(seed))
    write_coco_vid(tmp_path / "coco.json", videos)
    between = read_coco_vid(tmp_path / "coco.json", Problems())
    assert between.class_names == videos.class_names
    write_youtube_vis(tmp_path / "out.json", between, Problems())
    assert in_order(json.loads((tmp_path / "out.json").read_text())) == in_order(youtube_vis(seed))


def test_tracks_that_change_their_category_are_several(tmp_path):
    path = tmp_path / "coco.json"
    size = {"height": 50, "width": 60}
    data = {
        "videos": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "images": [
            {"id": i, "video_id": 1, "frame_id": 3 * i, "file_name": f"{i}.jpg", **size}
            for i in range(3)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": c, "bbox": [i, 0, 1, 2], "instance_id": 8}
            for i, c in enumerate((1, 2, 1))
        ],
    }
    path.write_text(json.dumps(data))
    write_youtube_vis(tmp_path / "out.json", read_coco_vid(path, Problems()), Problems())
    tracks = json.loads((tmp_path / "out.json").read_text())["annotations"]
    found = [(t["id"], t["category_id"], t["bboxes"], t["areas"]) for t in tracks]
    assert found == [
        (1, 1, [[0, 0, 1, 2], None, [2, 0, 1, 2]], [2, None, 2]),
        (2, 2, [None, [1, 0, 1, 2], None], [None, 2, None]),
    ]
    assert all("segmentations" not in track for track in tracks)


def test_videos_whose_frames_differ_in_size_cannot_be_written(tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps(coco_vid(0)))
    videos = read_coco_vid(tmp_path / "coco.json", Problems())
    with pytest.raises(UserError, match="expected frames of one size for YouTube-VIS, found"):
        write_youtube_vis(tmp_path / "out.json", videos, Problems())
    assert not (tmp_path / "out.json").exists()
    problems = Problems(strict=False)
    write_youtube_vis(tmp_path / "out.json", videos, problems)
    assert problems.counts["videos whose frames differ in size"] >= 1
    json.loads((tmp_path / "out.json").read_text())
