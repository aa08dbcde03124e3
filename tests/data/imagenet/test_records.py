"""Reading ImageNet VID and DET from small trees in the layout of the download."""

import pytest

from d2_plugtrack.data.imagenet.records import (
    group_by_video,
    load_det_images,
    load_listed_videos,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
)
from d2_plugtrack.data.problems import Problems

CLASSES = {"n01": "disc", "n02": "bar"}
OTHERS = {"other_names": ("n77", "n99")}  # that the tree has


@pytest.fixture
def video_list(root, files):
    return files.write(root / "videos.txt", "val/b 1 0 1\nval/a 2 0 3\n")


# Loading


def test_every_frame_of_the_listed_videos_in_the_lists_order(root, video_list):
    records = load_vid_videos(root, video_list, CLASSES, **OTHERS)
    images = [record["image_id"] for record in records]
    assert images == ["val/b/000000", "val/a/000000", "val/a/000001", "val/a/000002"]
    assert records[1] == {
        "file_name": str(root / "Data/VID/val/a/000000.JPEG"),
        "height": 48,
        "width": 64,
        "image_id": "val/a/000000",
        "video_id": "val/a",
        "frame_index": 0,
        "video_length": 3,
        "annotations": [
            {
                "bbox": [1.0, 2.0, 30.0, 40.0],
                "bbox_mode": 0,
                "category_id": category,
                "track_id": track,
                "iscrowd": 0,
            }
            for category, track in ((0, 7), (1, 8))
        ],
    }
    assert type(records[1]["file_name"]) is str
    assert type(records[1]["annotations"][0]["bbox"][0]) is float


def test_a_video_of_one_frame(root, video_list):
    record = load_vid_videos(root, video_list, CLASSES, **OTHERS)[0]
    assert (record["video_id"], record["frame_index"], record["video_length"]) == ("val/b", 0, 1)
    assert record["annotations"][0]["bbox"] == [1.5, 2.0, 3.0, 4.25]


def test_frames_without_objects_are_kept_and_other_classes_left_out(root, video_list):
    records = load_vid_videos(root, video_list, CLASSES, **OTHERS)
    assert records[2]["annotations"] == []
    assert [entry["bbox"] for entry in records[3]["annotations"]] == [[0, 0, 64, 48]]


def test_the_order_of_the_classes_gives_the_ids(root, video_list):
    records = load_vid_videos(root, video_list, {"n99": "other", "n02": "bar"}, other_names=["n01"])
    ids = [[entry["category_id"] for entry in record["annotations"]] for record in records]
    assert ids == [[1], [1], [], [0]]


def test_only_the_listed_frames(root, files):
    rows = files.write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    records = load_vid_frames(root, rows, CLASSES, **OTHERS)
    images = [record["image_id"] for record in records]
    assert images == ["val/a/000002", "val/b/000000", "val/a/000000"]
    assert [record["frame_index"] for record in records] == [2, 0, 0]
    assert [record["video_length"] for record in records] == [3, 1, 3]


def test_every_frame_of_the_videos_that_a_frame_list_samples(root, files):
    rows = files.write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    images = [record["image_id"] for record in load_sampled_videos(root, rows, CLASSES, **OTHERS)]
    assert images == ["val/a/000000", "val/a/000001", "val/a/000002", "val/b/000000"]


def test_listed_frames_need_no_other_frames(root, files):
    (root / "Data/VID/val/a/000001.JPEG").unlink()
    rows = files.write(root / "frames.txt", "val/a 1 2 3\n")
    assert len(load_vid_frames(root, rows, CLASSES, **OTHERS)) == 1


def test_stills_have_no_video_and_no_tracks_and_repeats_are_dropped(root, files):
    rows = files.write(root / "det.txt", "train/x/x_2 1\ntrain/x/x_1 1\ntrain/x/x_2 1\n")
    assert load_det_images(root, rows, CLASSES, **OTHERS) == [
        {
            "file_name": str(root / "Data/DET/train/x/x_2.JPEG"),
            "height": 48,
            "width": 64,
            "image_id": "train/x/x_2",
            "annotations": [],
        },
        {
            "file_name": str(root / "Data/DET/train/x/x_1.JPEG"),
            "height": 48,
            "width": 64,
            "image_id": "train/x/x_1",
            "annotations": [
                {"bbox": [1, 2, 30, 40], "bbox_mode": 0, "category_id": 0, "iscrowd": 0}
            ],
        },
    ]


def test_a_root_may_be_a_string_with_a_trailing_slash(root, video_list):
    record = load_vid_videos(f"{root}/", str(video_list), CLASSES, **OTHERS)[0]
    assert record["file_name"] == str(root / "Data/VID/val/b/000000.JPEG")


def test_no_progress_where_there_is_no_terminal(root, video_list, capsys):
    load_vid_videos(root, video_list, CLASSES, **OTHERS)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(root, video_list, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load_vid_videos(root, video_list, CLASSES, **OTHERS)
    assert "Reading annotations: 100%" in capsys.readouterr().err


# A root, an image or a video that is not as it should be

LOADERS = [
    (load_vid_videos, "VID"),
    (load_sampled_videos, "VID"),
    (load_vid_frames, "VID"),
    (load_det_images, "DET"),
]


@pytest.mark.parametrize(("load", "kind"), LOADERS)
def test_root_not_there_empty_or_incomplete(tmp_path, load, kind, fails):
    root = tmp_path / "imagenet"
    with fails(str(root), f"Data/{kind}", "no such folder"):
        load(root, tmp_path / "list.txt", CLASSES, **OTHERS)
    root.mkdir()
    with fails(str(root), f"expected Data/{kind}", "nothing"):
        load(root, tmp_path / "list.txt", CLASSES, **OTHERS)
    (root / "Data" / kind).mkdir(parents=True)
    with fails(str(root), f"expected Annotations/{kind}", "Data"):
        load(root, tmp_path / "list.txt", CLASSES, **OTHERS)
    (root / "Annotations" / "CLS-LOC").mkdir(parents=True)
    with fails(str(root), f"expected Annotations/{kind}", "CLS-LOC"):
        load(root, tmp_path / "list.txt", CLASSES, **OTHERS)


def test_root_that_is_a_file(tmp_path, files, fails):
    with fails("list.txt", "no such folder"):
        load_vid_videos(
            files.write(tmp_path / "list.txt", ""), tmp_path / "list.txt", CLASSES, **OTHERS
        )


def test_a_video_of_which_frames_are_missing(root, video_list, fails):
    (root / "Data/VID/val/a/000001.JPEG").unlink()
    with fails(str(root / "Data/VID/val/a/000001.JPEG"), "found none (of 2 in its folder)"):
        load_vid_videos(root, video_list, CLASSES, **OTHERS)


def test_a_video_longer_than_its_folder(root, files, fails):
    rows = files.write(root / "videos.txt", "val/a 1 0 4\n")
    with fails("val/a/000003.JPEG", "expected an image", "of 3 in its folder"):
        load_vid_videos(root, rows, CLASSES, **OTHERS)


def test_a_video_and_a_still_that_are_not_there(root, files, fails):
    with fails("videos.txt, line 1: ", "Data/VID/val/c: expected a video's folder, found none"):
        load_vid_videos(root, files.write(root / "videos.txt", "val/c 1 0 4\n"), CLASSES, **OTHERS)
    with fails("Data/DET/train/x/x_3.JPEG", "of 2 in its folder"):
        load_det_images(root, files.write(root / "det.txt", "train/x/x_3 1\n"), CLASSES, **OTHERS)


def test_an_annotation_that_is_not_there(root, video_list, fails):
    (root / "Annotations/VID/val/a/000002.xml").unlink()
    with fails("Annotations/VID/val/a/000002.xml", "expected an annotation file", "No such file"):
        load_vid_videos(root, video_list, CLASSES, **OTHERS)


def test_an_object_without_trackid_is_an_error_in_vid_only(root, video_list, files, fails):
    files.add(
        root, "VID", "val/a/000001", files.xml(files.xml_object(), files.xml_object(track=None))
    )
    with fails("a/000001.xml, line 5, object 2", "whole number in trackid", "no such element"):
        load_vid_videos(root, video_list, CLASSES, **OTHERS)


def test_a_loaders_list_is_checked(root, files, fails):
    for load, _ in LOADERS:
        with fails("empty.txt", "found none"):
            load(root, files.write(root / "empty.txt", ""), CLASSES, **OTHERS)
        with fails("absent.txt", "No such file"):
            load(root, root / "absent.txt", CLASSES, **OTHERS)


# Videos, and frames of a video


def test_group_by_video_orders_frames_and_keeps_the_videos_order(root, files):
    rows = files.write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    records = load_vid_frames(root, rows, CLASSES, **OTHERS)
    videos = group_by_video(records)
    assert [video["video_id"] for video in videos] == ["val/a", "val/b"]
    assert [frame["frame_index"] for frame in videos[0]["frames"]] == [0, 2]
    assert videos[1]["frames"][0] == records[1]
    assert [record["frame_index"] for record in records] == [2, 0, 0]


def test_group_by_video_of_nothing():
    assert group_by_video([]) == []


# What is bad, left out and counted


def load_counting(load, root, rows, **changes):
    problems = Problems(strict=False)
    return load(root, rows, CLASSES, **{**OTHERS, **changes}, problems=problems), problems


def test_a_tree_with_everything_bad_in_it(root, files):
    """Every frame and object that is good is there, and nothing else; each fault has its line."""
    files.add(root, "VID", "val/c/000000", files.xml(files.xml_object(track=None)))
    files.add(root, "VID", "val/c/000001", None)  # no annotation
    files.add(root, "VID", "val/c/000002", files.xml(files.xml_object()), image=None)
    files.add(root, "VID", "val/c/000003", "<annotation>")
    files.add(root, "VID", "val/c/000004", files.xml(files.xml_object("n55"), files.xml_object()))
    rows = "\ufeffval/a 1 0 3\r\n\r\nval/c 1 0 5\r\nval/none 1 0 900\r\nval/b 1\r\nval/a 1 0 3\r\n"
    path = files.write(root / "videos.txt", rows)
    records, problems = load_counting(load_vid_videos, root, path)
    found = {record["image_id"]: len(record["annotations"]) for record in records}
    assert found == {
        **{"val/a/000000": 2, "val/a/000001": 0, "val/a/000002": 1},
        **{"val/c/000000": 0, "val/c/000004": 1},
    }
    assert [r["frame_index"] for r in records] == [0, 1, 2, 0, 4]
    assert [r["video_length"] for r in records] == [3, 3, 3, 5, 5]
    annotations = root / "Annotations/VID/val"
    assert problems.counts == dict.fromkeys(problems.counts, 1)
    assert {kind: message.split(": ")[0] for kind, message in problems.first.items()} == {
        "malformed rows": f"{path}, line 5",
        "repeated videos": f"{path}, line 6",
        "missing videos": f"{path}, line 4",
        "missing images": f"{path}, line 3",
        "missing annotation files": f"{path}, line 3",
        "malformed annotation files": f"{annotations}/c/000003.xml, line 1",
        "objects without a track id": f"{annotations}/c/000000.xml, line 4, object 1",
        "objects of an unknown class": f"{annotations}/c/000004.xml, line 4, object 1",
    }


def test_everything_bad_is_an_error_where_strict(root, files, fails):
    path = files.write(root / "videos.txt", "val/a 1 0 3\nval/b 1 0 2\n")
    with fails(f"{path}, line 2: {root}/Data/VID/val/b/000001.JPEG: expected an image"):
        load_vid_videos(root, path, CLASSES, **OTHERS)
    with fails(f"{root}/Annotations/VID/val/a/000002.xml, line 4, object 1: ", "'n99'"):
        load_vid_videos(root, path, CLASSES)
    still = files.write(root / "det.txt", "train/x/x_1 1\n")
    with fails(f"{root}/Annotations/DET/train/x/x_1.xml, line 5, object 2: ", "'n77'"):
        load_det_images(root, still, CLASSES)


@pytest.mark.parametrize("load", [load_vid_videos, load_sampled_videos])
def test_frames_behind_the_last_image_are_one_problem_however_many(root, files, fails, load):
    """In no time: nobody looks for a billion files."""
    path = files.write(root / "videos.txt", "val/a 1 0 2000000000\nval/b 1 0 1\n")
    records, problems = load_counting(load, root, path)
    assert [r["image_id"][-8:] for r in records] == ["a/000000", "a/000001", "a/000002", "b/000000"]
    assert problems.counts == {"missing images": 2_000_000_000 - 3}
    with fails(f"{path}, line 1: ", "val/a/000003.JPEG: expected an image, found none (of 3"):
        load(root, path, CLASSES, **OTHERS)


def test_a_list_of_whole_videos_has_all_of_their_frames(root, files, fails):
    """A row that is not there would make its neighbours consecutive frames."""
    good = "val/b 1 0 1\nval/a 2 0 3\nval/a 3 1 3\nval/a 4 2 3\n"
    path = files.write(root / "frames.txt", good)
    expected = load_counting(load_listed_videos, root, path)
    assert len(expected[0]) == 4 and expected[1].counts == {}
    path = files.write(root / "frames.txt", "val/b 1 0 1\nval/a 2 0 3\nval/a 4 2 3\n")
    message = f"{path}, line 2: expected a row for each of the 3 frames of val/a, found none for"
    with fails(f"{message} frame 1"):
        load_listed_videos(root, path, CLASSES, **OTHERS)
    records, problems = load_counting(load_listed_videos, root, path)
    assert [r["image_id"] for r in records] == ["val/b/000000", "val/a/000000", "val/a/000002"]
    assert problems.counts == {"frames that are not listed": 1}
    path = files.write(root / "frames.txt", "val/b 1 0 1\nval/a 2 1 3\n")
    problems = load_counting(load_listed_videos, root, path)[1]
    assert problems.counts == {"frames that are not listed": 2}
    assert problems.first["frames that are not listed"].endswith("frame 0")
    path = files.write(root / "frames.txt", "val/a/000000 1\nval/a/000002 2\n")
    with fails(f"{path}, line 1: expected a row for each of the 3 frames", "frame 1"):
        load_listed_videos(root, path, CLASSES, **OTHERS)


def test_a_path_that_no_file_can_have(root, files, fails):
    path = files.write(root / "videos.txt", "val/a\0 1 0 3\nval/b 1 0 1\n")
    with fails(f"{path}, line 1: ", "val/a\\x00: expected a video's folder"):
        load_vid_videos(root, path, CLASSES, **OTHERS)
    path = files.write(root / "det.txt", "train/x\0/x_1 1\n")
    with fails(f"{path}, line 1: ", "expected an image, found none (of 0"):
        load_det_images(root, path, CLASSES, **OTHERS)


def test_a_frame_that_does_not_exist_names_its_row(root, files, fails):
    path = files.write(root / "frames.txt", "val/a 1 0 3\nval/b 1 4 5\n")
    with fails(f"{path}, line 2: {root}/Data/VID/val/b/000004.JPEG", "of 1 in its folder"):
        load_vid_frames(root, path, CLASSES, **OTHERS)
    records, problems = load_counting(load_vid_frames, root, path)
    assert [r["image_id"] for r in records] == ["val/a/000000"]
    assert problems.counts == {"missing images": 1}


@pytest.mark.parametrize("side", ["Data", "Annotations"])
def test_a_whole_video_that_is_missing_is_one_problem(root, files, fails, side):
    (root / side / "VID/val/a").rename(root / side / "VID/val/z")
    path = files.write(root / "videos.txt", "val/b 1 0 1\nval/a 1 0 3\n")
    with fails(f"{path}, line 2: {root}/{side}/VID/val/a: expected a video's folder"):
        load_vid_videos(root, path, CLASSES, **OTHERS)
    records, problems = load_counting(load_vid_videos, root, path)
    assert [r["image_id"] for r in records] == ["val/b/000000"]
    assert problems.counts == {"missing videos": 1}
    frames = files.write(root / "frames.txt", "val/b 1 0 1\nval/a 1 0 3\nval/a 1 1 3\n")
    assert load_counting(load_vid_frames, root, frames)[1].counts == {"missing videos": 1}


@pytest.mark.parametrize(
    ("load", "row"), [(load_vid_videos, "val/n 1 0 2"), (load_det_images, "train/x/none 1")]
)
def test_nothing_left_is_an_error_always(root, files, fails, load, row):
    path = files.write(root / "list.txt", f"{row}\n")
    with fails(str(path), "expected rows of files that are there", "left out 1 missing", "line 1"):
        load_counting(load, root, path)


def test_the_two_lists_of_validation_give_the_same_dataset(root, video_list, files):
    expected = load_vid_videos(root, video_list, CLASSES, **OTHERS)
    long = "val/b 1 0 1\nval/a 2 0 3\nval/a 3 1 3\nval/a 4 2 3\n"
    short = "val/b/000000 1\nval/a/000000 2\nval/a/000001 3\nval/a/000002 4\n"
    for rows in (long, short):
        path = files.write(root / "frames.txt", rows)
        assert load_vid_frames(root, path, CLASSES, **OTHERS) == expected
        assert load_listed_videos(root, path, CLASSES, **OTHERS) == expected


def test_good_files_report_nothing(root, video_list):
    assert load_counting(load_vid_videos, root, video_list)[1].counts == {}
