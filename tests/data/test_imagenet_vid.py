"""Reading ImageNet VID and DET from small trees in the layout of the download."""

import re
from pathlib import Path

import pytest

from d2_plugtrack.data.imagenet_vid import (
    BBOX_MODE,
    VID_CLASSES,
    group_by_video,
    load_det_images,
    load_sampled_videos,
    load_vid_frames,
    load_vid_videos,
    read_annotation,
    read_frame_list,
    read_image_list,
    read_video_list,
    sample_evenly,
)
from d2_plugtrack.errors import UserError

CLASSES = {"n01": "disc", "n02": "bar"}
IDS = {"n01": 0, "n02": 1}


def xml_object(name="n01", box=(1, 2, 30, 40), track="7"):
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    trackid = "" if track is None else f"<trackid>{track}</trackid>"
    return f"<object>{trackid}<name>{name}</name><bndbox>{sides}</bndbox></object>"


def xml(*objects, size="<size><width>64</width><height>48</height></size>"):
    return f"<annotation>\n<folder>f</folder>\n{size}\n" + "\n".join(objects) + "\n</annotation>\n"


def add(root: Path, kind: str, image_id: str, text: str | None) -> None:
    """An empty image and its annotation; ``text=None`` leaves out the annotation."""
    for side, ending, content in (("Data", "JPEG", ""), ("Annotations", "xml", text)):
        path = root / side / kind / f"{image_id}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_text(content)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def root(tmp_path):
    """Two videos, of three frames (the second without objects) and of one; two stills."""
    add(tmp_path, "VID", "val/a/000000", xml(xml_object(), xml_object("n02", track=8)))
    add(tmp_path, "VID", "val/a/000001", xml())
    add(tmp_path, "VID", "val/a/000002", xml(xml_object("n99"), xml_object(box=(0, 0, 64, 48))))
    add(tmp_path, "VID", "val/b/000000", xml(xml_object("n02", box=(1.5, 2, 3, 4.25))))
    add(tmp_path, "DET", "train/x/x_1", xml(xml_object(track=None), xml_object("n77")))
    add(tmp_path, "DET", "train/x/x_2", xml(xml_object("n77", track=None)))
    return tmp_path


@pytest.fixture
def video_list(root):
    return write(root / "videos.txt", "val/b 1 0 1\nval/a 2 0 3\n")


def fails(*parts):
    """Expect a UserError of one line that holds these parts in this order."""
    return pytest.raises(UserError, match=r"\A.*" + ".*".join(map(re.escape, parts)) + r".*\Z")


# Classes and constants


def test_the_thirty_classes_are_in_alphabetical_order():
    names = list(VID_CLASSES.values())
    assert names == sorted(names) and len(names) == len(VID_CLASSES) == 30
    assert all(re.fullmatch(r"n\d{8}", wordnet_id) for wordnet_id in VID_CLASSES)
    assert list(VID_CLASSES.items())[0] == ("n02691156", "airplane")
    assert list(VID_CLASSES.items())[12] == ("n02510455", "giant_panda")
    assert list(VID_CLASSES.items())[-1] == ("n02391049", "zebra")


def test_bbox_mode_is_detectron2s_xyxy():
    from detectron2.structures import BoxMode

    assert BoxMode.XYXY_ABS == BBOX_MODE


# Loading


def test_every_frame_of_the_listed_videos_in_the_lists_order(root, video_list):
    records = load_vid_videos(root, video_list, CLASSES)
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
    record = load_vid_videos(root, video_list, CLASSES)[0]
    assert (record["video_id"], record["frame_index"], record["video_length"]) == ("val/b", 0, 1)
    assert record["annotations"][0]["bbox"] == [1.5, 2.0, 3.0, 4.25]


def test_frames_without_objects_are_kept_and_other_classes_left_out(root, video_list):
    records = load_vid_videos(root, video_list, CLASSES)
    assert records[2]["annotations"] == []
    assert [entry["bbox"] for entry in records[3]["annotations"]] == [[0, 0, 64, 48]]


def test_the_order_of_the_classes_gives_the_ids(root, video_list):
    records = load_vid_videos(root, video_list, {"n99": "other", "n02": "bar"})
    ids = [[entry["category_id"] for entry in record["annotations"]] for record in records]
    assert ids == [[1], [1], [], [0]]


def test_only_the_listed_frames(root):
    rows = write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    records = load_vid_frames(root, rows, CLASSES)
    images = [record["image_id"] for record in records]
    assert images == ["val/a/000002", "val/b/000000", "val/a/000000"]
    assert [record["frame_index"] for record in records] == [2, 0, 0]
    assert [record["video_length"] for record in records] == [3, 1, 3]


def test_every_frame_of_the_videos_that_a_frame_list_samples(root):
    rows = write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    images = [record["image_id"] for record in load_sampled_videos(root, rows, CLASSES)]
    assert images == ["val/a/000000", "val/a/000001", "val/a/000002", "val/b/000000"]


def test_listed_frames_need_no_other_frames(root):
    (root / "Data/VID/val/a/000001.JPEG").unlink()
    rows = write(root / "frames.txt", "val/a 1 2 3\n")
    assert len(load_vid_frames(root, rows, CLASSES)) == 1


def test_stills_have_no_video_and_no_tracks_and_repeats_are_dropped(root):
    rows = write(root / "det.txt", "train/x/x_2 1\ntrain/x/x_1 1\ntrain/x/x_2 1\n")
    assert load_det_images(root, rows, CLASSES) == [
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
    record = load_vid_videos(f"{root}/", str(video_list), CLASSES)[0]
    assert record["file_name"] == str(root / "Data/VID/val/b/000000.JPEG")


def test_no_progress_where_there_is_no_terminal(root, video_list, capsys):
    load_vid_videos(root, video_list, CLASSES)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal(root, video_list, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    load_vid_videos(root, video_list, CLASSES)
    assert "Reading annotations: 100%" in capsys.readouterr().err


# A root, an image or a video that is not as it should be

LOADERS = [
    (load_vid_videos, "VID"),
    (load_sampled_videos, "VID"),
    (load_vid_frames, "VID"),
    (load_det_images, "DET"),
]


@pytest.mark.parametrize(("load", "kind"), LOADERS)
def test_root_not_there_empty_or_incomplete(tmp_path, load, kind):
    root = tmp_path / "imagenet"
    with fails(str(root), f"Data/{kind}", "no such folder"):
        load(root, tmp_path / "list.txt", CLASSES)
    root.mkdir()
    with fails(str(root), f"expected Data/{kind}", "nothing"):
        load(root, tmp_path / "list.txt", CLASSES)
    (root / "Data" / kind).mkdir(parents=True)
    with fails(str(root), f"expected Annotations/{kind}", "Data"):
        load(root, tmp_path / "list.txt", CLASSES)
    (root / "Annotations" / "CLS-LOC").mkdir(parents=True)
    with fails(str(root), f"expected Annotations/{kind}", "CLS-LOC"):
        load(root, tmp_path / "list.txt", CLASSES)


def test_root_that_is_a_file(tmp_path):
    with fails("list.txt", "no such folder"):
        load_vid_videos(write(tmp_path / "list.txt", ""), tmp_path / "list.txt", CLASSES)


def test_a_video_of_which_frames_are_missing(root, video_list):
    (root / "Data/VID/val/a/000001.JPEG").unlink()
    with fails(str(root / "Data/VID/val/a/000001.JPEG"), "found none (of 2 in its folder)"):
        load_vid_videos(root, video_list, CLASSES)


def test_a_video_longer_than_its_folder(root):
    rows = write(root / "videos.txt", "val/a 1 0 4\n")
    with fails("val/a/000003.JPEG", "expected an image", "of 3 in its folder"):
        load_vid_videos(root, rows, CLASSES)


def test_a_video_and_a_still_that_are_not_there(root):
    with fails("val/c/000000.JPEG", "of 0 in its folder"):
        load_vid_videos(root, write(root / "videos.txt", "val/c 1 0 4\n"), CLASSES)
    with fails("Data/DET/train/x/x_3.JPEG", "of 2 in its folder"):
        load_det_images(root, write(root / "det.txt", "train/x/x_3 1\n"), CLASSES)


def test_an_annotation_that_is_not_there(root, video_list):
    (root / "Annotations/VID/val/a/000002.xml").unlink()
    with fails("Annotations/VID/val/a/000002.xml", "expected an annotation file", "No such file"):
        load_vid_videos(root, video_list, CLASSES)


def test_an_object_without_trackid_is_an_error_in_vid_only(root, video_list):
    add(root, "VID", "val/a/000001", xml(xml_object(), xml_object(track=None)))
    with fails("a/000001.xml, object 2", "whole number in trackid", "no such element"):
        load_vid_videos(root, video_list, CLASSES)


# One annotation file


def test_read_annotation_with_and_without_tracks(tmp_path):
    path = write(tmp_path / "f.xml", xml(xml_object("n02", track=0)))
    entry = {"bbox": [1.0, 2.0, 30.0, 40.0], "bbox_mode": 0, "category_id": 1, "iscrowd": 0}
    assert read_annotation(path, IDS, tracks=False)["annotations"] == [entry]
    assert read_annotation(path, IDS) == {
        "height": 48,
        "width": 64,
        "annotations": [entry | {"track_id": 0}],
    }
    assert read_annotation(str(path), {})["annotations"] == []


def test_boxes_beyond_the_image_are_left_as_they_are(tmp_path):
    path = write(tmp_path / "f.xml", xml(xml_object(box=(-3, 0, 64.5, 50))))
    assert read_annotation(path, IDS)["annotations"][0]["bbox"] == [-3.0, 0.0, 64.5, 50.0]


def test_objects_of_other_classes_are_not_checked(tmp_path):
    path = write(tmp_path / "f.xml", xml(xml_object("n99", box=(9, 9, 1, 1), track=None)))
    assert read_annotation(path, IDS)["annotations"] == []


@pytest.mark.parametrize(
    ("box", "found"),
    [
        ((9, 2, 1, 4), "[9.0, 2.0, 1.0, 4.0]"),
        ((1, 4, 3, 2), "[1.0, 4.0, 3.0, 2.0]"),
        ((1, 2, 1, 4), "[1.0, 2.0, 1.0, 4.0]"),
        ((1, 2, 3, 2), "[1.0, 2.0, 3.0, 2.0]"),
        ((1, 2, "inf", 4), "[1.0, 2.0, inf, 4.0]"),
        ((1, 2, 3, "inf"), "[1.0, 2.0, 3.0, inf]"),
        (("nan", 2, 3, 4), "[nan, 2.0, 3.0, 4.0]"),
    ],
)
def test_boxes_reversed_without_area_or_not_finite(tmp_path, box, found):
    path = write(tmp_path / "f.xml", xml(xml_object(), xml_object(box=box)))
    with fails(str(path), "object 2", "xmin < xmax and ymin < ymax", found):
        read_annotation(path, IDS)


@pytest.mark.parametrize(
    ("objects", "parts"),
    [
        (xml_object(box=(1, "two", 3, 4)), ("object 1", "a number in bndbox/ymin", "'two'")),
        (xml_object(box=(1, "", 3, 4)), ("object 1", "bndbox/ymin", "''")),
        ("<object><name>n01</name></object>", ("object 1", "bndbox/xmin", "no such element")),
        ("<object><trackid>1</trackid></object>", ("object 1", "expected a name", "none")),
        (xml_object(track="first"), ("object 1", "whole number in trackid", "'first'")),
    ],
)
def test_objects_with_parts_missing_or_not_numbers(tmp_path, objects, parts):
    path = write(tmp_path / "f.xml", xml(objects))
    with fails(str(path), *parts):
        read_annotation(path, IDS)


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        ("", ("whole number in size/width", "no such element")),
        ("<size><width>64</width></size>", ("size/height", "no such element")),
        ("<size><width>64</width><height>4.5</height></size>", ("size/height", "'4.5'")),
        ("<size><width>0</width><height>48</height></size>", ("at least 1x1", "0x48")),
    ],
)
def test_size_missing_or_not_a_size(tmp_path, size, parts):
    path = write(tmp_path / "f.xml", xml(size=size))
    with fails(str(path), *parts):
        read_annotation(path, IDS)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("line 1", "well-formed XML", "no element found")),
        ("<annotation>\n<size>\n</annotation>", ("line 3", "well-formed XML", "mismatched tag")),
        (b"<annotation>\n\xff\xfe</annotation>", ("line 2", "well-formed XML", "invalid token")),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', ("line 1", "klingon")),
    ],
)
def test_xml_that_does_not_parse_names_file_and_line(tmp_path, text, parts):
    path = write(tmp_path / "f.xml", text)
    with fails(str(path), *parts):
        read_annotation(path, IDS)


def test_an_annotation_that_is_a_folder(tmp_path):
    with fails(str(tmp_path), "expected an annotation file", "Is a directory"):
        read_annotation(tmp_path, IDS)


# Lists

READERS = [read_video_list, read_frame_list, read_image_list]


def test_lists_as_the_community_writes_them(tmp_path):
    path = tmp_path / "list.txt"
    write(path, "val/ILSVRC2015_val_00000000 1 0 464\nval/ILSVRC2015_val_00000001 465 0 464\n")
    assert read_video_list(path) == [
        ("val/ILSVRC2015_val_00000000", 464),
        ("val/ILSVRC2015_val_00000001", 464),
    ]
    write(path, "train/d/v 1 10 300\ntrain/d/v 1 30 300")
    assert read_frame_list(path) == [("train/d/v", 10, 300), ("train/d/v", 30, 300)]
    write(path, "train/b/b_1 1\ntrain/a/a_1 1\ntrain/b/b_1 1\ntrain/c/c_1 -1\n")
    assert read_image_list(path) == ["train/b/b_1", "train/a/a_1", "train/c/c_1"]


def test_a_frame_listed_twice_is_read_once(tmp_path):
    path = write(tmp_path / "list.txt", "v 1 1 3\nv 1 0 3\nv 1 1 3\n")
    assert read_frame_list(path) == [("v", 1, 3), ("v", 0, 3)]


def test_byte_order_mark_carriage_returns_blank_lines_and_tabs(tmp_path):
    path = write(tmp_path / "list.txt", b"\xef\xbb\xbfv/a 1 0 2\r\n\r\nv/b\t3 0  4\r\n")
    assert read_video_list(path) == [("v/a", 2), ("v/b", 4)]
    path = write(tmp_path / "list.txt", b"\xef\xbb\xbfv/a 1\r\nv/b 1\r\n")
    assert read_image_list(path) == ["v/a", "v/b"]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_list_that_names_nothing(tmp_path, read, text):
    path = write(tmp_path / "list.txt", text)
    with fails(str(path), "expected rows as '", "found none"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_list_that_is_not_there_or_not_text(tmp_path, read):
    with fails(str(tmp_path / "list.txt"), "expected a list file", "No such file"):
        read(tmp_path / "list.txt")
    with fails(str(tmp_path), "expected a list file", "Is a directory"):
        read(tmp_path)
    path = write(tmp_path / "list.txt", "v 1 0 2\n".encode("utf-16"))
    with fails(str(path), "expected text in UTF-8"):
        read(path)


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_video_list, "val/b 1 0"),
        (read_video_list, "val/b 1 0 4 5"),
        (read_video_list, "val/b 1 0 many"),
        (read_video_list, "val/b 1 0 4.5"),
        (read_frame_list, "val/b 1"),
        (read_frame_list, "val/b 1 ten 300"),
        (read_image_list, "val/b"),
        (read_image_list, "val/b 1 0 4"),
        (read_image_list, "val/b one"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path, read, row):
    good = "v 1" if read is read_image_list else "v 1 0 2"
    path = write(tmp_path / "list.txt", f"{good}\r\n\r\n{row}\r\n")
    with fails(f"{path}, line 3: ", "expected a row as '", f"found {row!r}"):
        read(path)


def test_a_long_line_is_cut_short(tmp_path):
    path = write(tmp_path / "list.json", "[" * 1000)
    with fails(str(path), "line 1", "found '" + "[" * 80 + "'"):
        read_video_list(path)


@pytest.mark.parametrize(
    ("read", "row", "parts"),
    [
        (read_video_list, "val/b 1 0 0", ("length of at least 1", "found 0 and 0")),
        (read_video_list, "val/b 1 0 -4", ("length of at least 1", "found 0 and -4")),
        (read_video_list, "val/b 1 10 300", ("expected start 0", "found 10 and 300")),
        (read_video_list, "v 1 0 2", ("each video once", "found v again")),
        (read_frame_list, "val/b 1 300 300", ("frame number from 0", "found 300 of 300")),
        (read_frame_list, "val/b 1 -1 300", ("frame number from 0", "found -1 of 300")),
    ],
)
def test_numbers_that_cannot_be(tmp_path, read, row, parts):
    path = write(tmp_path / "list.txt", f"v 1 0 2\n{row}\n")
    with fails(f"{path}, line 2: ", *parts):
        read(path)


def test_a_loaders_list_is_checked(root):
    for load, _ in LOADERS:
        with fails("empty.txt", "found none"):
            load(root, write(root / "empty.txt", ""), CLASSES)
        with fails("absent.txt", "No such file"):
            load(root, root / "absent.txt", CLASSES)


# Videos, and frames of a video


def test_group_by_video_orders_frames_and_keeps_the_videos_order(root):
    rows = write(root / "frames.txt", "val/a 1 2 3\nval/b 1 0 1\nval/a 1 0 3\n")
    records = load_vid_frames(root, rows, CLASSES)
    videos = group_by_video(records)
    assert [video["video_id"] for video in videos] == ["val/a", "val/b"]
    assert [frame["frame_index"] for frame in videos[0]["frames"]] == [0, 2]
    assert videos[1]["frames"][0] is records[1]
    assert [record["frame_index"] for record in records] == [2, 0, 0]


def test_group_by_video_of_nothing():
    assert group_by_video([]) == []


@pytest.mark.parametrize(
    ("length", "listed"),  # rows of VID_train_15frames.txt
    [
        (300, [10, 30, 50, 70, 90, 110, 130, 150, 170, 190, 210, 230, 250, 270, 290]),
        (48, [1, 4, 8, 11, 14, 17, 20, 24, 27, 30, 33, 36, 40, 43, 46]),
        (26, [0, 2, 4, 6, 7, 9, 11, 13, 14, 16, 18, 19, 21, 23, 25]),
        (54, [1, 5, 9, 12, 16, 19, 23, 26, 30, 34, 37, 41, 45, 48, 52]),  # ours: 27, not 26
        (12, list(range(12))),
        (16, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]),
    ],
)
def test_sample_evenly_is_the_communitys_spacing(length, listed):
    ours = sample_evenly(length, 15)
    assert len(ours) == len(listed)
    assert sum(abs(a - b) for a, b in zip(ours, listed, strict=True)) == (length == 54)


def test_sample_evenly_never_repeats_nor_leaves_the_video():
    for length in range(40):
        for count in range(20):
            numbers = sample_evenly(length, count)
            assert len(numbers) == min(length, count)
            assert numbers == sorted(set(numbers)) and set(numbers) <= set(range(length))


def test_sample_evenly_of_one_and_of_nothing():
    assert sample_evenly(1, 15) == [0]
    assert sample_evenly(9, 1) == [4]
    assert sample_evenly(0, 15) == sample_evenly(9, 0) == []
    with pytest.raises(ValueError, match="found -1 and 15"):
        sample_evenly(-1, 15)
