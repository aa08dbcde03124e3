"""List files: the rows as the community writes them, and what is said of bad ones."""

import pytest

from d2_plugtrack.data.imagenet.lists import read_frame_list, read_image_list, read_video_list
from d2_plugtrack.data.problems import Problems

READERS = [read_video_list, read_frame_list, read_image_list]


def test_lists_as_the_community_writes_them(tmp_path, files):
    path = tmp_path / "list.txt"
    files.write(
        path, "val/ILSVRC2015_val_00000000 1 0 464\nval/ILSVRC2015_val_00000001 465 0 464\n"
    )
    assert read_video_list(path) == [
        ("val/ILSVRC2015_val_00000000", 464, 1),
        ("val/ILSVRC2015_val_00000001", 464, 2),
    ]
    files.write(path, "train/d/v 1 10 300\ntrain/d/v 1 30 300")
    assert read_frame_list(path) == [("train/d/v", 10, 300, 1), ("train/d/v", 30, 300, 2)]
    files.write(path, "train/b/b_1 1\ntrain/a/a_1 1\ntrain/b/b_1 1\ntrain/c/c_1 -1\n")
    assert read_image_list(path) == [
        ("train/b/b_1", 1),
        ("train/a/a_1", 2),
        ("train/c/c_1", 4),
    ]


def test_a_frame_listed_twice_is_read_once(tmp_path, files):
    path = files.write(tmp_path / "list.txt", "v 1 1 3\nv 1 0 3\nv 1 1 3\n")
    assert read_frame_list(path) == [("v", 1, 3, 1), ("v", 0, 3, 2)]


def test_byte_order_mark_carriage_returns_blank_lines_and_tabs(tmp_path, files):
    path = files.write(tmp_path / "list.txt", b"\xef\xbb\xbfv/a 1 0 2\r\n\r\nv/b\t3 0  4\r\n")
    assert read_video_list(path) == [("v/a", 2, 1), ("v/b", 4, 3)]
    path = files.write(tmp_path / "list.txt", b"\xef\xbb\xbfv/a 1\r\nv/b 1\r\n")
    assert read_image_list(path) == [("v/a", 1), ("v/b", 2)]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_a_list_that_names_nothing(tmp_path, files, fails, read, text):
    path = files.write(tmp_path / "list.txt", text)
    with fails(str(path), "expected rows as '", "found none"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_list_that_is_not_there_or_not_text(tmp_path, files, fails, read):
    with fails(str(tmp_path / "list.txt"), "expected a list file", "No such file"):
        read(tmp_path / "list.txt")
    with fails(str(tmp_path), "expected a list file", "Is a directory"):
        read(tmp_path)
    path = files.write(tmp_path / "list.txt", "v 1 0 2\n".encode("utf-16"))
    with fails(str(path), "expected text in UTF-8"):
        read(path)


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_video_list, "val/b 1 0"),
        (read_video_list, "val/b 1 0 4 5"),
        (read_video_list, "val/b 1 0 many"),
        (read_video_list, "val/b 1 0 4.5"),
        (read_video_list, "val/b 1 0 1_0"),
        (read_video_list, "val/b 1 0 \u0663"),
        (read_video_list, "val/b 1 0 " + "9" * 19),
        (read_frame_list, "val/b/\u0660\u0660\u0660\u0660\u0660\u0661 1"),
        (read_frame_list, "val/b 1"),
        (read_frame_list, "val/b/00001 1"),
        (read_frame_list, "val/b/000001 one"),
        (read_frame_list, "/000001 1"),
        (read_frame_list, "val/b 1 0"),
        (read_frame_list, "val/b 1 ten 300"),
        (read_image_list, "val/b"),
        (read_image_list, "val/b 1 0 4"),
        (read_image_list, "val/b one"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path, files, fails, read, row):
    good = "v 1" if read is read_image_list else "v 1 0 2"
    path = files.write(tmp_path / "list.txt", f"{good}\r\n\r\n{row}\r\n")
    with fails(f"{path}, line 3: ", "expected a row as '", f"found {row!r}"):
        read(path)


def test_a_long_line_is_cut_short(tmp_path, files, fails):
    path = files.write(tmp_path / "list.json", "[" * 1000)
    with fails(str(path), "line 1", "found '" + "[" * 80 + "'"):
        read_video_list(path)


@pytest.mark.parametrize(
    ("read", "row", "parts"),
    [
        (read_video_list, "val/b 1 0 0", ("length of at least 1", "found 0 and 0")),
        (read_video_list, "val/b 1 0 -4", ("length of at least 1", "found 0 and -4")),
        (read_video_list, "val/b 1 10 300", ("expected start 0", "found 10 and 300")),
        (read_video_list, "val/b 1 0 2147483647", ("below 2147483647", "found 0 and 2147483647")),
        (read_frame_list, "val/b 1 0 2147483647", ("below 2147483647", "found 0 of 2147483647")),
        (read_video_list, "v 1 0 2", ("each video once", "found v again")),
        (read_frame_list, "val/b 1 300 300", ("frame number from 0", "found 300 of 300")),
        (read_frame_list, "val/b 1 -1 300", ("frame number from 0", "found -1 of 300")),
        (read_frame_list, "v 1 1 3", ("length 2 of the video's first row", "found 3")),
    ],
)
def test_numbers_that_cannot_be(tmp_path, files, fails, read, row, parts):
    path = files.write(tmp_path / "list.txt", f"v 1 0 2\n{row}\n")
    with fails(f"{path}, line 2: ", *parts):
        read(path)


def test_a_list_of_frames_without_lengths(tmp_path, files):
    """The other form of VID_val_frames.txt: a video is as long as its last frame says."""
    short = "val/a/000000 1\nval/a/000002 2\nval/b/000000 3\nval/a/000001 4\n"
    rows = read_frame_list(files.write(tmp_path / "short.txt", short))
    assert rows == [("val/a", 0, 3, 1), ("val/a", 2, 3, 2), ("val/b", 0, 1, 3), ("val/a", 1, 3, 4)]
    long = "val/a 1 0 3\nval/a 2 2 3\nval/b 3 0 1\nval/a 4 1 3\n"
    assert read_frame_list(files.write(tmp_path / "long.txt", long)) == rows


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (read_video_list, "v 1 0 2", {"malformed rows": "w 1", "repeated videos": "v 1 0 3"}),
        (read_video_list, "v 1 0 2", {"rows of impossible videos": "w 1 0 0"}),
        (
            read_frame_list,
            "v 1 0 2",
            {"malformed rows": "v", "rows of impossible frames": "v 1 2 2"},
        ),
        (read_image_list, "v 1", {"malformed rows": "v 1 0"}),
    ],
)
def test_bad_rows_are_left_out_and_counted(tmp_path, files, read, good, bad):
    path = files.write(tmp_path / "list.txt", "\n".join([good, *bad.values(), ""]))
    problems = Problems(strict=False)
    rows = read(path, problems)
    assert [(row[0], row.line) for row in rows] == [("v", 1)]
    assert problems.counts == dict.fromkeys(bad, 1)
    for line, kind in enumerate(bad, start=2):
        assert problems.first[kind].startswith(f"{path}, line {line}: expected")


def test_a_list_of_bad_rows_alone_is_an_error_always(tmp_path, files, fails):
    path = files.write(tmp_path / "list.txt", "v\nw\n")
    with fails(str(path), "expected rows as '", "found left out 2 malformed rows", "line 1"):
        read_video_list(path, Problems(strict=False))
