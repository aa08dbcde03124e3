"""Damaged annotation files, lists, JSON files and images: named, counted, and the rest is read.

Every case is a small good dataset of which one file is damaged, by a kind of ``damage/`` and a
seed; it is read strictly and not, from the files and from the cache. ``damage/verdict.py`` says
what has to come of it.
"""

import copy
import os
import random
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from d2_plugtrack.data.bad_images import BadImage, BadImages, read_frame, read_whole_frame
from d2_plugtrack.data.catalog import DatasetEntry, find_dataset
from d2_plugtrack.errors import UserError
from tests.data.damage import image_kinds, json_kinds, list_kinds, xml_kinds
from tests.data.damage.kinds import (
    InPlace,
    flipped,
    garbage,
    truncated,
    with_a_hole,
    without_a_part,
)
from tests.data.damage.sets import JSON_FORMS, LISTS, entry_of, write_imagenet, write_json_set
from tests.data.damage.verdict import (
    SECONDS,
    assert_message,
    by_image,
    judge,
    listening,
    read_in_every_way,
    time_limit,
)

MEMORY = 5e8  # bytes that no damage may cost
Case = tuple[str, Callable[[Path, random.Random], None]]  # kind, and what runs it in a folder


def put(path: Path, content: str | bytes | InPlace) -> None:
    """Make a file what a damage made of it."""
    if isinstance(content, InPlace):
        path.unlink()
        if content.what == "folder":
            path.mkdir()
        elif content.what == "loop":
            path.symlink_to(path.name)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


# ---- cases ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good") / "set"
    root.mkdir()
    write_imagenet(root)
    return root


def copied(imagenet: Path, folder: Path) -> Path:
    """A copy whose damage is nobody else's."""
    return Path(shutil.copytree(imagenet, folder / "set", copy_function=os.link))


def fresh(path: Path) -> str:
    """The text of a file, which from here on is no link to the good one."""
    text = path.read_text()
    path.unlink()
    path.write_text(text)
    return text


def read_and_judge(entry: DatasetEntry, outcome: str, good, touched, file: Path) -> None:
    found = read_in_every_way(lambda strict: entry.load_records(strict=strict))
    judge(found, outcome, good, touched, file)


def good_records(entry: DatasetEntry):
    """Of the undamaged files, without a cache that would outlive them."""
    os.environ["PLUGTRACK_CACHE"] = ""
    try:
        return by_image(entry.load_records(strict=True))
    finally:
        del os.environ["PLUGTRACK_CACHE"]


def xml_case(kind, list_name: str, imagenet: Path):
    def run(folder: Path, rng: random.Random) -> None:
        root, entry = copied(imagenet, folder), entry_of(list_name)
        good = good_records(entry)
        image = rng.choice(sorted(good))
        part = "VID" if entry.has_videos else "DET"
        path = root / f"Annotations/{part}/{image}.xml"
        put(path, kind.damage(rng, fresh(path)))
        read_and_judge(entry, kind.outcome, good, {image}, path)

    return run


def row_case(damage, list_name: str, imagenet: Path):
    def run(folder: Path, rng: random.Random) -> None:
        root, entry = copied(imagenet, folder), entry_of(list_name)
        good = good_records(entry)
        path = root / "ImageSets" / list_name
        text = fresh(path)
        damaged, index = list_kinds.damaged_row(rng, text, damage)
        put(path, damaged)
        name = text.splitlines()[index].split()[0]
        video = name.rpartition("/")[0] if LISTS[list_name][1] == "short frame" else name
        touched = {key for key in good if key == name or key.rpartition("/")[0] == video}
        read_and_judge(entry, "named", good, touched, path)

    return run


def list_case(kind, list_name: str, imagenet: Path):
    def run(folder: Path, rng: random.Random) -> None:
        root, entry = copied(imagenet, folder), entry_of(list_name)
        good = good_records(entry)
        path = root / "ImageSets" / list_name
        put(path, kind.damage(rng, fresh(path)))
        touched = good if kind.outcome == "any" else set()
        read_and_judge(entry, kind.outcome, good, touched, path)

    return run


def json_case(kind, form: str):
    def run(folder: Path, rng: random.Random) -> None:
        path = folder / "mine.json"
        write_json_set(path, form, rng.randrange(1000))
        entry = find_dataset(path.name)
        good = good_records(entry)
        put(path, kind.damage(rng, path.read_text()))
        read_and_judge(entry, kind.outcome, good, good, path)

    return run


def entry_case(form: str, section: str, damage: Callable[[random.Random, dict], int]):
    """``damage`` gives the index of the entry whose video is touched."""

    def run(folder: Path, rng: random.Random) -> None:
        path = folder / "mine.json"
        data = write_json_set(path, form, rng.randrange(1000))
        entry = find_dataset(path.name)
        good = good_records(entry)
        damaged = copy.deepcopy(data)
        index = damage(rng, damaged)
        put(path, json_kinds.written(damaged))
        videos = videos_of_entry(data, section, data[section][index])
        ids = {f"{entry.name}:{video}" for video in videos}
        touched = {key for key, record in good.items() if not ids or record["video_id"] in ids}
        read_and_judge(entry, "named", good, touched, path)

    return run


def videos_of_entry(data: dict, section: str, entry: dict) -> set:
    """The ids of the videos that an entry is part of; none where it is part of all."""
    if section == "videos":
        return {entry["id"]}
    if section == "categories":
        return set()
    if "image_id" in entry:
        return {i["video_id"] for i in data["images"] if i["id"] == entry["image_id"]}
    return {entry["video_id"]}


def all_cases(imagenet: Path) -> list[Case]:
    return [*xml_cases(imagenet), *list_cases(imagenet), *json_cases()]


def xml_cases(imagenet: Path) -> Iterator[Case]:
    for kind in xml_kinds.KINDS:
        for list_name in ("videos.txt", "stills.txt", "frames.txt"):
            yield f"XML: {kind.name}", xml_case(kind, list_name, imagenet)


def list_cases(imagenet: Path) -> Iterator[Case]:
    for list_name, (_, form) in LISTS.items():
        for name, damage in list_kinds.ROWS[form].items():
            yield f"list: {name}", row_case(damage, list_name, imagenet)
        for kind in list_kinds.KINDS:
            yield f"list: {kind.name}", list_case(kind, list_name, imagenet)


def json_cases() -> Iterator[Case]:
    for form in JSON_FORMS:
        for kind in json_kinds.TEXT_KINDS:
            yield f"JSON: {kind.name}", json_case(kind, form)
        for section, keys in json_kinds.ENTRIES[form].items():
            for key in keys:

                def damage(rng, data, form=form, section=section, key=key) -> int:
                    return json_kinds.damaged_value(rng, data, form, section, key)

                yield f"JSON: bad {section}/{key}", entry_case(form, section, damage)
            whole = {"no object": json_kinds.no_object, "odd id": json_kinds.odd_id}
            if (form, section) != ("coco_vid", "annotations"):  # whose ids mean nothing
                whole["an entry twice"] = json_kinds.repeated
            for name, change in whole.items():

                def damage(rng, data, section=section, change=change) -> int:
                    return change(rng, data, section)

                yield f"JSON: {name}", entry_case(form, section, damage)
    boxes = entry_case("youtube_vis", "annotations", json_kinds.damaged_track_box)
    yield "JSON: bad box of a track", boxes


# ---- the law -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_cases", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_files_are_named_and_the_rest_is_read(imagenet, tmp_path, monkeypatch, num_cases):
    monkeypatch.delenv("PLUGTRACK_CACHE", raising=False)
    cases = all_cases(imagenet)
    random.Random(0).shuffle(cases)
    run, failures, before = Counter(), [], peak_memory()
    for number in range(num_cases):
        kind, case = cases[number % len(cases)]
        folder = tmp_path / f"{number}"
        folder.mkdir()
        monkeypatch.setenv("DETECTRON2_DATASETS", str(folder))
        try:
            case(folder, random.Random(number))
        except Exception as error:  # all of them at once: the next one may be another fault
            failures.append(f"{number}, {kind}: {type(error).__name__}: {error!s:.300}")
        run[kind] += 1
        shutil.rmtree(folder)
    assert not failures, f"{len(failures)} of {num_cases}:\n" + "\n".join(failures)
    assert len(run) >= 25 and sum(run.values()) == num_cases
    assert peak_memory() - before < MEMORY


# ---- images --------------------------------------------------------------------------------------


def read_image_in_every_way(path: Path, outcome: str) -> None:
    """What ``data/bad_images.py`` gives of it, and what detectron2's mapper does."""
    record = {"file_name": str(path), "height": 48, "width": 64, "annotations": []}
    try:
        assert read_whole_frame(record).shape == (48, 64, 3)
    except BadImage as bad:
        assert outcome != "same", str(bad)
        assert_message(str(bad), path)
        with pytest.raises(UserError) as strict:
            read_frame(record, BadImages(strict=True))
        assert_message(str(strict.value), path)
    else:
        assert outcome != "named", "nothing is said"
    lenient = BadImages(strict=False)
    with listening() as said:
        frames = [read_frame(record, lenient) for _ in range(2)]
    assert all(f.shape == (48, 64, 3) and f.dtype == np.uint8 for f in frames)
    assert np.array_equal(*frames)
    assert len(said) == (lenient.count > 0) and all(map(str.isprintable, said))
    if outcome != "any":
        assert lenient.count == (2 if outcome == "named" else 0)


@pytest.mark.parametrize("num_cases", [40, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore:Corrupt EXIF")
def test_damaged_images_are_named_and_give_a_frame_all_the_same(tmp_path, num_cases):
    before = peak_memory()
    for number in range(num_cases):
        rng, kind = random.Random(number), image_kinds.KINDS[number % len(image_kinds.KINDS)]
        path = tmp_path / f"{number}.jpg"
        content = image_kinds.whole_image(rng)
        path.write_bytes(content)
        put(path, kind.damage(rng, content))
        try:
            with time_limit(SECONDS):
                read_image_in_every_way(path, kind.outcome)
        except Exception as error:
            raise AssertionError(f"{number}, {kind.name}") from error
    assert peak_memory() - before < MEMORY


@pytest.mark.parametrize("num_cases", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore:Corrupt EXIF")
def test_damaged_images_are_the_same_for_detectron2(tmp_path, num_cases):
    from detectron2.data import DatasetMapper

    from d2_plugtrack.data.image_mapper import FrameMapper, ImageMapper

    mapper = DatasetMapper(is_train=False, augmentations=[], image_format="BGR")
    for number in range(num_cases):
        rng, kind = random.Random(number), image_kinds.KINDS[number % len(image_kinds.KINDS)]
        path = tmp_path / f"{number}.jpg"
        content = image_kinds.whole_image(rng)
        path.write_bytes(content)
        put(path, kind.damage(rng, content))
        record = {"file_name": str(path), "height": 48, "width": 64, "annotations": []}
        bad_images = BadImages(strict=False)
        frame = FrameMapper(mapper, bad_images)(record)
        assert frame["image"].shape == (3, 48, 64), kind.name
        try:
            ImageMapper(mapper)(record)
        except BadImage as bad:
            assert_message(str(bad), path)
            assert kind.outcome != "same" and bad_images.count == 1, kind.name
        else:
            assert kind.outcome != "named" and bad_images.count == 0, kind.name


def peak_memory() -> float:
    """Bytes that this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# ---- the cache -----------------------------------------------------------------------------------

CACHE_DAMAGES = {
    "truncated": truncated,
    "flipped": flipped,
    "zeros in the middle": with_a_hole,
    "a part missing": without_a_part,
    "random bytes": garbage,
    "longer": lambda rng, content: content + rng.randbytes(rng.randint(1, 200)),
    "empty": lambda rng, content: b"",
    "twice": lambda rng, content: content + content,
}


@pytest.mark.parametrize("num_cases", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_a_damaged_cache_is_made_anew_and_not_trusted(imagenet, tmp_path, monkeypatch, num_cases):
    root, cache = copied(imagenet, tmp_path), tmp_path / "cache"
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    monkeypatch.setenv("PLUGTRACK_CACHE", str(cache))
    entry = entry_of("videos.txt")
    good = list(entry.load_records())
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for number in range(num_cases):
        rng = random.Random(number)
        name = list(CACHE_DAMAGES)[number % len(CACHE_DAMAGES)]
        damaged = CACHE_DAMAGES[name](rng, whole)
        if damaged == whole:  # a hole where there were zeros
            continue
        path.write_bytes(damaged)
        with listening() as said:
            assert list(entry.load_records()) == good, name
        assert len(said) == 1 and f"{path}: cannot be used" in said[0], name
        assert path.read_bytes() == whole, name
    assert root.is_dir()
