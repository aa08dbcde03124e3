"""One annotation file: what is read of it, and what is said of what is bad, with its line."""

from xml.parsers import expat

import pytest

from d2_plugtrack.data.imagenet.xml_file import BBOX_MODE, read_annotation
from d2_plugtrack.data.problems import Problems

IDS = {"n01": 0, "n02": 1}
OUTSIDE = [(64, 2, 70, 4), (1, 48, 3, 50), (-9, 2, 0, 4), (1, -9, 3, 0), (200, 200, 201, 201)]


@pytest.fixture
def annotation_file(tmp_path, files):
    """A function that writes a file of these objects and returns its path."""

    def make(*objects: str, **size: str):
        return files.write(tmp_path / "f.xml", files.xml(*objects, **size))

    return make


def test_bbox_mode_is_detectron2s_xyxy():
    from detectron2.structures import BoxMode

    assert BoxMode.XYXY_ABS == BBOX_MODE


# ---- what is good --------------------------------------------------------------------------------


def test_read_annotation_with_and_without_tracks(annotation_file, files):
    path = annotation_file(files.xml_object("n02", track=0))
    entry = {"bbox": [1.0, 2.0, 30.0, 40.0], "bbox_mode": 0, "category_id": 1, "iscrowd": 0}
    assert read_annotation(path, IDS, tracks=False)["annotations"] == [entry]
    assert read_annotation(path, IDS) == {
        "height": 48,
        "width": 64,
        "annotations": [entry | {"track_id": 0}],
    }
    assert read_annotation(str(path), {}, other_names=["n02"])["annotations"] == []


def test_boxes_partly_beyond_the_image_are_left_as_they_are(annotation_file, files):
    boxes = [(-3, 0, 64.5, 50), (63.5, 47.5, 90, 90), (-9, -9, 0.5, 0.5)]
    path = annotation_file(*(files.xml_object(box=b, track=i) for i, b in enumerate(boxes)))
    assert [tuple(a["bbox"]) for a in read_annotation(path, IDS)["annotations"]] == boxes


def test_an_object_twice_in_a_frame(annotation_file, files, fails):
    path = annotation_file(*(files.xml_object(box=(1, 2, 3, y), track=7) for y in (4, 5)))
    with fails(str(path), "line 5, object 2", "each trackid once", "7"):
        read_annotation(path, IDS)
    problems = Problems(strict=False)
    found = read_annotation(path, IDS, problems=problems)
    assert [a["bbox"][3] for a in found["annotations"]] == [4]
    assert problems.counts == {"repeated objects": 1}


def test_objects_of_other_names_are_not_checked(annotation_file, files):
    path = annotation_file(files.xml_object("n99", box=(9, 9, 1, 1), track=None))
    assert read_annotation(path, IDS, other_names={"n99"})["annotations"] == []


def test_a_file_without_objects(annotation_file):
    assert read_annotation(annotation_file(), IDS) == {"height": 48, "width": 64, "annotations": []}


def test_byte_order_mark_and_carriage_returns(annotation_file, files):
    path = annotation_file(files.xml_object())
    expected = read_annotation(path, IDS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_annotation(path, IDS) == expected


# ---- bad objects ---------------------------------------------------------------------------------


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
        ((1, 2, "1e9", 4), "[1.0, 2.0, 1000000000.0, 4.0]"),
        ((1, "-1e300", 3, 4), "[1.0, -1e+300, 3.0, 4.0]"),
    ],
)
def test_boxes_reversed_without_area_or_not_finite(annotation_file, files, fails, box, found):
    path = annotation_file(files.xml_object(), files.xml_object(box=box))
    with fails(f"{path}, line 5, object 2: ", "xmin < xmax and ymin < ymax", found):
        read_annotation(path, IDS)


@pytest.mark.parametrize("box", OUTSIDE)
def test_boxes_wholly_outside_the_image(annotation_file, files, fails, box):
    path = annotation_file(files.xml_object(), files.xml_object(box=box))
    with fails(f"{path}, line 5, object 2: ", "in the image of 64x48", str(float(box[2]))):
        read_annotation(path, IDS)


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"box": (1, "two", 3, 4)}, ("a number in bndbox/ymin", "'two'")),
        ({"box": (1, "", 3, 4)}, ("bndbox/ymin", "''")),
        ({"name": ""}, ("expected a name", "none")),
        ({"name": "n99"}, ("expected a name among the 3 known ids", "'n99'")),
        ({"track": None}, ("whole number in trackid", "no such element")),
        ({"track": "first"}, ("whole number in trackid", "'first'")),
        ({"track": ""}, ("whole number in trackid", "''")),
        ({"track": "1.5"}, ("whole number in trackid", "'1.5'")),
        ({"track": "1_5"}, ("whole number in trackid", "'1_5'")),
        ({"track": 2**63}, ("whole number in trackid", "'9223372036854775808'")),
        ({"name": "n" * 10**6}, ("known ids", "'" + "n" * 79)),
    ],
)
def test_objects_with_parts_missing_or_not_numbers(annotation_file, files, fails, fields, parts):
    path = annotation_file(files.xml_object(), files.xml_object(**fields))
    with fails(f"{path}, line 5, object 2: ", *parts):
        read_annotation(path, IDS, other_names=["n77"])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<object><name>n01</name></object>", ("bndbox/xmin", "no such element")),
        ("<object><trackid>1</trackid></object>", ("expected a name", "none")),
    ],
)
def test_objects_without_parts(annotation_file, fails, text, parts):
    path = annotation_file(text)
    with fails(f"{path}, line 4, object 1: ", *parts):
        read_annotation(path, IDS)


def test_the_line_is_that_of_the_objects_own_element(tmp_path, files, fails):
    """Objects that lie deeper, and comments, are not counted."""
    lines = [
        '<?xml version="1.0"?>',
        "<annotation>",
        "<source><object>of another kind</object></source>",
        "<size><width>64</width><height>48</height></size>",
        "<!-- <object> -->",
        files.xml_object().replace("><", ">\n<"),  # 9 lines
        files.xml_object(track=None),
        "</annotation>",
    ]
    text = "\r\n".join("\n".join(lines).split("\n"))
    path = files.write(tmp_path / "f.xml", text)
    line = text.split("\r\n").index(files.xml_object(track=None)) + 1
    assert line > 13
    with fails(f"{path}, line {line}, object 2: "):
        read_annotation(path, IDS)


@pytest.mark.parametrize(
    ("tag", "named"),
    [("trackid", ""), ("name", ""), ("bndbox", ""), ("xmin", "bndbox/"), ("ymax", "bndbox/")],
)
def test_elements_twice(annotation_file, files, fails, tag, named):
    """Which of the two is meant nobody knows, even where they are alike."""
    one = files.xml_object()
    start, end = one.index(f"<{tag}>"), one.index(f"</{tag}>") + len(f"</{tag}>")
    path = annotation_file(files.xml_object(track=1), one[:end] + one[start:end] + one[end:])
    with fails(f"{path}, line 5, object 2: expected one {named}{tag}, found 2"):
        read_annotation(path, IDS)
    problems = Problems(strict=False)
    assert len(read_annotation(path, IDS, problems=problems)["annotations"]) == 1
    assert problems.counts == {"repeated elements": 1}


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ("<size><width>6</width><height>4</height></size>" * 2, "size"),
        ("<size><width>6</width><width>6</width><height>4</height></size>", "size/width"),
    ],
)
def test_a_size_twice(annotation_file, fails, size, named):
    path = annotation_file(size=size)
    with fails(f"{path}, line 3: expected one {named}, found 2"):
        read_annotation(path, IDS)
    assert_file_is_left_out(path, "repeated elements")


def test_thousands_of_bad_objects_are_looked_for_once(annotation_file, files, monkeypatch):
    path = annotation_file(*[files.xml_object(track=None)] * 3000)
    parsers = []
    make = expat.ParserCreate
    monkeypatch.setattr(expat, "ParserCreate", lambda: parsers.append(make()) or parsers[-1])
    problems = Problems(strict=False)
    assert read_annotation(path, IDS, problems=problems)["annotations"] == []
    assert problems.counts == {"objects without a track id": 3000}
    assert len(parsers) == 1


def test_bad_objects_are_left_out_and_counted(annotation_file, files):
    bad = [{"box": (3, 1, 3, 2)}, {"track": None}, {"name": "n99"}, {"name": ""}]
    bad += [{"box": (1, 2, 3, "x")}, *({"box": box} for box in OUTSIDE)]
    objects = [files.xml_object(**fields) for fields in bad]
    path = annotation_file(files.xml_object(track=1), *objects, files.xml_object(track=2))
    problems = Problems(strict=False)
    found = read_annotation(path, IDS, problems=problems)
    assert [a["track_id"] for a in found["annotations"]] == [1, 2]
    assert problems.counts == {
        "boxes without area": 1,
        "objects without a track id": 1,
        "objects of an unknown class": 1,
        "objects without a name": 1,
        "objects without a box": 1,
        "boxes outside the image": 5,
    }
    assert problems.first["boxes outside the image"].startswith(f"{path}, line 10, object 7: ")


# ---- bad files -----------------------------------------------------------------------------------


def assert_file_is_left_out(path, kind: str) -> None:
    problems = Problems(strict=False)
    assert read_annotation(path, IDS, problems=problems) is None
    assert problems.counts == {kind: 1}


@pytest.mark.parametrize(
    ("size", "line", "parts"),
    [
        ("", 1, ("whole number in size/width", "no such element")),
        ("<size><width>64</width></size>", 3, ("size/height", "no such element")),
        ("<size><width>64</width><height>4.5</height></size>", 3, ("size/height", "'4.5'")),
        ("<size><width>0</width><height>48</height></size>", 3, ("at least 1x1", "0x48")),
        ("<size><width>9</width><height>2147483647</height></size>", 3, ("at most", "9x21474836")),
        ("<size><width>20000</width><height>9000</height></size>", 3, ("178956970 pixels",)),
    ],
)
def test_size_missing_or_not_a_size(annotation_file, files, fails, size, line, parts):
    path = annotation_file(files.xml_object(), size=size)
    with fails(f"{path}, line {line}: ", *parts):
        read_annotation(path, IDS)
    assert_file_is_left_out(path, "annotation files without a size")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("line 1", "well-formed XML", "no element found")),
        ("<annotation>\n<size>\n</annotation>", ("line 3", "well-formed XML", "mismatched tag")),
        (b"<annotation>\n\xff\xfe</annotation>", ("line 2", "well-formed XML", "invalid token")),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', ("line 1", "klingon")),
    ],
)
def test_xml_that_does_not_parse_names_file_and_line(tmp_path, files, fails, text, parts):
    path = files.write(tmp_path / "f.xml", text)
    with fails(str(path), *parts):
        read_annotation(path, IDS)
    assert_file_is_left_out(path, "malformed annotation files")


def test_an_annotation_that_is_a_folder_or_not_there(tmp_path, fails):
    with fails(str(tmp_path), "expected an annotation file", "Is a directory"):
        read_annotation(tmp_path, IDS)
    path = tmp_path / "none.xml"
    with fails(f"list.txt, line 7: {path}: expected an annotation file", "No such file"):
        read_annotation(path, IDS, named_by="list.txt, line 7")
    assert_file_is_left_out(path, "missing annotation files")
