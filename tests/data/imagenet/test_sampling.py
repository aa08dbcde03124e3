"""The community's lists, made from small folders in the layout of the download."""

import random
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from d2_plugtrack.data.imagenet.classes import VID_CLASSES
from d2_plugtrack.data.imagenet.lists import read_frame_list, read_image_list, read_video_list
from d2_plugtrack.data.imagenet.records import load_vid_frames, load_vid_videos
from d2_plugtrack.data.imagenet.sampling import (
    STILL_LIST,
    VIDEO_LISTS,
    draw_images,
    find_classes,
    make_lists,
    sample_evenly,
)
from d2_plugtrack.data.problems import Problems

SCRIPT = Path(__file__).resolve().parents[3] / "datasets/prepare_imagenet_vid.py"
DOG, ZEBRA, PERSON = "n02084071", "n02391049", "n00007846"
CHUNK = "train/ILSVRC2015_VID_train_0000"


@pytest.fixture
def unpacked(tmp_path, files):
    """VID of 2015 with two training and two validation videos, DET of 2017 in both its layouts."""
    vid, det = tmp_path / "ILSVRC2015", tmp_path / "ILSVRC"
    videos = {f"{CHUNK}/b": 32, f"{CHUNK[:-1]}1/a": 2, "val/y": 3, "val/x": 2}
    for video, length in videos.items():
        for number in range(length):
            text = files.xml(files.xml_object(DOG))
            files.add(vid, "VID", f"{video}/{number:06d}", text)

    def still(name: str, *ids: str) -> None:
        files.add(det, "DET", f"train/{name}", files.xml(*map(files.xml_object, ids)))

    still(f"ILSVRC2013_train/{DOG}/{DOG}_1", DOG, PERSON)
    still(f"ILSVRC2013_train/{ZEBRA}/{ZEBRA}_1", ZEBRA, DOG, DOG)
    still(f"ILSVRC2013_train/{ZEBRA}/{ZEBRA}_2", PERSON)  # named after a class that it has not
    still("ILSVRC2014_train_0000/ILSVRC2014_train_00000001", PERSON)
    still("ILSVRC2014_train_0000/ILSVRC2014_train_00000002", PERSON, ZEBRA)
    still("ILSVRC2014_train_0000/ILSVRC2014_train_00000003")
    files.add(det, "DET", "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000004", None)
    return tmp_path


def contents(written: dict[Path, int]) -> dict[str, list[str]]:
    return {path.name: path.read_text().splitlines() for path in written}


# ---- the lists -----------------------------------------------------------------------------------


def test_the_four_lists(unpacked):
    written, problems = make_lists(unpacked, None, seed=0, overwrite=False)
    assert list(written) == [
        *(unpacked / "ILSVRC2015/ImageSets" / name for name in VIDEO_LISTS),
        unpacked / "ILSVRC/ImageSets" / STILL_LIST,
    ]
    assert problems.counts == {}
    lists = contents(written)
    assert [len(rows) for rows in lists.values()] == list(written.values()) == [17, 2, 5, 3]
    assert lists["VID_train_15frames.txt"] == [
        *(f"{CHUNK}/b 1 {number} 32" for number in sample_evenly(32, 15)),
        *(f"{CHUNK[:-1]}1/a 1 {number} 2" for number in (0, 1)),
    ]
    assert lists["VID_val_videos.txt"] == ["val/x 1 0 2", "val/y 3 0 3"]
    assert lists["VID_val_frames.txt"] == [
        *("val/x 1 0 2", "val/x 2 1 2", "val/y 3 0 3", "val/y 4 1 3", "val/y 5 2 3")
    ]
    assert lists[STILL_LIST] == [
        f"train/ILSVRC2013_train/{DOG}/{DOG}_1 1",
        f"train/ILSVRC2013_train/{ZEBRA}/{ZEBRA}_1 1",
        "train/ILSVRC2014_train_0000/ILSVRC2014_train_00000002 1",
    ]


def test_the_readers_take_what_is_made(unpacked):
    make_lists(unpacked, None, seed=0, overwrite=False)
    root = unpacked / "ILSVRC2015"
    train, videos, frames = (root / "ImageSets" / name for name in VIDEO_LISTS)
    assert len(read_frame_list(train)) == 17
    assert [row[:2] for row in read_video_list(videos)] == [("val/x", 2), ("val/y", 3)]
    stills = unpacked / "ILSVRC/ImageSets" / STILL_LIST
    assert len(read_image_list(stills)) == 3
    records = load_vid_videos(root, videos, VID_CLASSES)
    assert len(records) == 5 and load_vid_frames(root, frames, VID_CLASSES) == records


def test_only_what_is_there_is_listed_in_a_folder_of_ones_own(unpacked, tmp_path):
    root, output = unpacked / "ILSVRC2015", tmp_path / "lists/new"
    (root / "Data/VID/train").rename(tmp_path / "elsewhere")
    written, _ = make_lists(root, output, seed=0, overwrite=False)
    assert list(written) == [output / name for name in VIDEO_LISTS[1:]]


def test_nothing_unpacked_is_an_error(tmp_path, fails):
    with fails(f"{tmp_path}/ILSVRC2015, ", f", {tmp_path}: expected Data/VID"):
        make_lists(tmp_path, None, seed=0, overwrite=False)


def test_nothing_to_list_is_an_error(tmp_path, files, fails):
    files.add(tmp_path, "DET", "train/x/x_1", files.xml(files.xml_object(PERSON)))
    with fails(str(tmp_path), f"something to list in {STILL_LIST}, found nothing"):
        make_lists(tmp_path, None, seed=0, overwrite=False)
    assert not (tmp_path / "ImageSets" / STILL_LIST).exists()


def test_lists_that_are_there_are_kept_unless_told_otherwise(unpacked, files, fails):
    path = files.write(unpacked / "ILSVRC/ImageSets" / STILL_LIST, "mine\n")
    others = [unpacked / "ILSVRC2015/ImageSets" / name for name in VIDEO_LISTS]
    written, _ = make_lists(unpacked, None, seed=0, overwrite=False)
    assert list(written) == others and all(other.is_file() for other in others)
    others[1].unlink()
    written, _ = make_lists(unpacked, None, seed=0, overwrite=False)
    assert list(written) == others[1:2]
    with fails(str(others[0]), "is there already", "--overwrite"):
        make_lists(unpacked, None, seed=0, overwrite=False)
    assert path.read_text() == "mine\n"
    make_lists(unpacked, None, seed=0, overwrite=True)
    assert path.read_text().startswith("train/ILSVRC2013_train")


def test_what_is_bad_is_left_out_and_counted(unpacked, files):
    (unpacked / "ILSVRC2015/Data/VID/val/w").mkdir()
    (unpacked / "ILSVRC2015/Data/VID/val/x/000000.JPEG").unlink()  # 000001 says the length
    det, name = unpacked / "ILSVRC", "train/ILSVRC2014_train_0000/ILSVRC2014_train_0000000"
    files.add(det, "DET", f"{name}6", files.xml(files.xml_object(DOG)), image=None)
    files.add(det, "DET", f"{name}7", f"<annotation>\n{DOG}")
    written, problems = make_lists(unpacked, None, seed=0, overwrite=False)
    assert list(written.values()) == [17, 2, 5, 3]
    assert problems.counts == {
        "videos without frames": 1,
        "missing images": 1,
        "malformed annotation files": 1,
    }
    assert f"{name}7.xml, line 2: " in problems.first["malformed annotation files"]


@pytest.mark.parametrize("name", ["my video", "two\nlines", "\udce9"])
def test_paths_that_no_list_can_hold_are_counted(unpacked, files, name):
    """A row with them would be another one, or none."""
    expected = contents(make_lists(unpacked, None, seed=0, overwrite=False)[0])
    files.add(unpacked / "ILSVRC2015", "VID", f"val/{name}/000000", files.xml())
    files.add(unpacked / "ILSVRC", "DET", f"train/{name}", files.xml(files.xml_object(DOG)))
    written, problems = make_lists(unpacked, None, seed=0, overwrite=True)
    assert contents(written) == expected
    kind = "paths that no list can hold"
    assert problems.counts == {kind: 2} and problems.first[kind].isprintable()
    assert ": expected a path in UTF-8 without white space" in problems.first[kind]


def test_the_command(unpacked, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    arguments = ["--root", str(unpacked), "--seed", "3"]
    main(arguments)
    assert f"{unpacked}/ILSVRC/ImageSets/{STILL_LIST}: 3 rows" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert capsys.readouterr().err.startswith(f"error: {unpacked}/ILSVRC2015/")
    main([*arguments, "--overwrite"])


# ---- the draw of stills --------------------------------------------------------------------------


def images_by_class(rng: random.Random) -> dict[str, list[str]]:
    names = [f"train/{number}" for number in range(300)]
    return {name: rng.sample(names, rng.randrange(1, 200)) for name in ("n1", "n2", "n3")}


def test_the_draw_depends_on_seed_and_names_alone():
    rng = random.Random(0)
    images = images_by_class(rng)
    drawn = draw_images(images, seed=5, count=20)
    shuffled = {name: rng.sample(images[name], len(images[name])) for name in reversed(images)}
    assert draw_images(shuffled, seed=5, count=20) == drawn
    assert draw_images(images, seed=6, count=20) != drawn


@pytest.mark.parametrize("seed", range(20))
def test_each_class_has_its_share_and_each_image_is_there_once(seed):
    images = images_by_class(random.Random(seed))
    drawn = draw_images(images, seed, count=50)
    assert drawn == sorted(set(drawn)) and set(drawn) <= {i for m in images.values() for i in m}
    assert len(drawn) <= 150
    for members in images.values():  # an image drawn for another class counts here as well
        assert len(set(members) & set(drawn)) >= min(50, len(members))
    few = draw_images({"n1": images["n1"]}, seed, count=1000)
    assert few == sorted(images["n1"])
    assert len(draw_images({"n1": images["n1"]}, seed, count=3)) == min(3, len(images["n1"]))


def test_the_draw_is_even():
    """Of 10 images 5 are drawn, with 400 seeds: each 200 times, give or take five deviations."""
    names = [f"i{number}" for number in range(10)]
    drawn = [image for seed in range(400) for image in draw_images({"n": names}, seed, count=5)]
    deviation = (400 * 0.5 * 0.5) ** 0.5  # 10
    assert all(abs(drawn.count(name) - 200) < 5 * deviation for name in names)


def test_nothing_to_draw():
    assert draw_images({}, 0) == draw_images({"n1": []}, 0) == []


# ---- the classes of a file -----------------------------------------------------------------------


def bodies() -> list[str]:
    """Objects of all sorts, some of whose ids no search for bytes finds as they stand."""
    name = "<object><name>{}</name></object>".format
    return [
        *map(name, (DOG, ZEBRA, PERSON, "", f" {DOG}\n", DOG[:-1], f"{DOG}1", DOG.upper())),
        *map(name, (f"&#110;{DOG[1:]}", f"n02<!-- -->{DOG[3:]}", f"<![CDATA[{DOG}]]>")),
        *map(name, (f"n02<?a b?>{DOG[3:]}", "&lt;")),
        f"<folder>{DOG}</folder><filename>{ZEBRA}_1</filename>",
        f"<!-- {name(DOG)} -->",
        f"<part>{name(DOG)}</part>",
        f"<object><part><name>{DOG}</name></part></object>",
        "<object/>",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_classes_are_those_that_a_parser_finds(tmp_path, files, encoding):
    rng = random.Random(0)
    for head in ("", '<?xml version="1.0"?>'):
        for body in [*bodies(), *("".join(rng.sample(bodies(), 3)) for _ in range(60))]:
            text = f"{head}<annotation>{body}</annotation>".encode(encoding)
            path = files.write(tmp_path / "f.xml", text)
            names = {(e.text or "").strip() for e in ET.XML(text).iterfind("object/name")}
            assert find_classes(path, Problems()) == names & VID_CLASSES.keys()


# ---- the spacing of frames -----------------------------------------------------------------------


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
