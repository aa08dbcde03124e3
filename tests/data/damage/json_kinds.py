"""Kinds of damage to a JSON file of videos: to its text, to a section, or to one entry.

Entries are damaged by ``damaged_entry``: ``ENTRIES`` names, for a format and a section, which keys
may get which values.
"""

import copy
import json
import random
from typing import Any

from .kinds import (
    PLACES,
    Kind,
    flipped,
    garbage,
    one_of,
    replaced,
    truncated,
    with_a_hole,
    without_a_part,
)

Data = dict[str, list[dict[str, Any]]]


class Literal(str):
    """A number as it stands in the file, which ``json`` would not write so."""


NO_WHOLE = [None, "1", [], {}, True, 1.5, Literal("NaN"), Literal("1e999"), Literal("9" * 5000)]
NO_WHOLE += [-(10**30), 2**63]
NO_ID = [None, [], {}, True, 1.5, ["[" * 9], Literal("Infinity"), Literal("-Infinity")]
NO_TEXT = [None, "", 7, [], {}, True]
NO_FILE = [*NO_TEXT, "a\0b.jpg", "\ud800.jpg"]
NO_SIZE = [*NO_WHOLE, 0, -1, 2**31, 2_000_000_000]
NO_FRAME = [*NO_WHOLE, -1, 2**31, 2**40]
NO_LIST = [None, "", 7, {}, True]
BOXES = [None, [], [1, 2, 3], [1, 2, 3, 4, 5], ["1", 2, 3, 4], {"x": 1}, "1 2 3 4", 7]
BOXES += [[1, 2, 0, 4], [1, 2, 3, -4], [1, 2, 3, None], [1, 2, True, 4], [[1], 2, 3, 4]]
BOXES += [[500, 2, 3, 4], [1, -40, 3, 4], [1e30, 2, 3, 4], [1, 2, 1e30, 4], [1, 2, 10**400, 4]]
BOXES += [[1, 2, Literal(number), 4] for number in ("NaN", "Infinity", "1e999", "9" * 5000)]
TRACK_BOXES = [box for box in BOXES if box is not None]  # null: not in this frame
OTHER_ID = [777_777, "no such id"]
MISSING = object()

#: format: section: key: values that are wrong
ENTRIES = {
    "coco_vid": {
        "videos": {"id": [*NO_ID, MISSING]},
        "categories": {"id": [*NO_WHOLE, MISSING], "name": [*NO_TEXT, MISSING]},
        "images": {
            "id": [*NO_ID, MISSING],
            "video_id": [*NO_ID, MISSING, *OTHER_ID],
            "frame_id": [*NO_FRAME, MISSING],
            "file_name": [*NO_FILE, MISSING, "nowhere/at_all.jpg", "n" * 5000],
            "height": [*NO_SIZE, MISSING],
            "width": [*NO_SIZE, MISSING],
        },
        "annotations": {
            "image_id": [*NO_ID, MISSING, *OTHER_ID],
            "category_id": [*NO_WHOLE, MISSING, 777_777],
            "bbox": [*BOXES, MISSING],
            "instance_id": [*NO_WHOLE, MISSING],
            "iscrowd": [2, -1, "no", None, [], Literal("NaN")],
        },
    },
    "youtube_vis": {
        "videos": {
            "id": [*NO_ID, MISSING],
            "file_names": [*NO_LIST, MISSING, [1], [None], [""], ["a\0b.jpg"], ["\ud800.jpg"]],
            "height": [*NO_SIZE, MISSING],
            "width": [*NO_SIZE, MISSING],
            "length": [0, 99, -1, "2", [], Literal("NaN")],
        },
        "categories": {"id": [*NO_WHOLE, MISSING], "name": [*NO_TEXT, MISSING]},
        "annotations": {
            "id": [*NO_WHOLE, MISSING],
            "video_id": [*NO_ID, MISSING, *OTHER_ID],
            "category_id": [*NO_WHOLE, MISSING, 777_777],
            "bboxes": [*NO_LIST, MISSING, [None] * 99, []],
            "areas": ["", 7, {}, [None] * 99],
            "iscrowd": [2, -1, "no", None, []],
        },
    },
}


def written(data: Any) -> str:
    """JSON of an object in which there may be :class:`Literal`."""
    literals: list[str] = []

    def marked(value: Any) -> Any:
        if isinstance(value, Literal):
            literals.append(value)
            return f"literal {len(literals) - 1}"
        if isinstance(value, dict):
            return {key: marked(inner) for key, inner in value.items()}
        return [marked(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(marked(data), indent=1)
    for number, literal in enumerate(literals):
        text = text.replace(f'"literal {number}"', literal)
    return text


def damaged_value(rng: random.Random, data: Data, form: str, section: str, key: str) -> int:
    """Give one entry a wrong value under this key; its index."""
    index = rng.randrange(len(data[section]))
    value = rng.choice(ENTRIES[form][section][key])
    if value is MISSING:
        data[section][index].pop(key)
    else:
        data[section][index][key] = value
    return index


def damaged_track_box(rng: random.Random, data: Data) -> int:
    """In YouTube-VIS: one box of one track; the track's index."""
    index = rng.randrange(len(data["annotations"]))
    boxes = data["annotations"][index]["bboxes"]
    boxes[rng.randrange(len(boxes))] = rng.choice(TRACK_BOXES)
    return index


def repeated(rng: random.Random, data: Data, section: str) -> int:
    """An entry is there a second time, somewhere behind the first; the index of the first."""
    index = rng.randrange(len(data[section]))
    entry = copy.deepcopy(data[section][index])
    data[section].insert(rng.randint(index + 1, len(data[section])), entry)
    return index


def no_object(rng: random.Random, data: Data, section: str) -> int:
    """Something else stands where an entry was; its index."""
    index = rng.randrange(len(data[section]))
    data[section][index] = rng.choice([None, 7, "text", [], [[1]], True, Literal("NaN")])
    return index


def odd_id(rng: random.Random, data: Data, section: str) -> int:
    """An entry that is bad, with an id that makes a bad message; its index."""
    index = rng.randrange(len(data[section]))
    deep: list = []
    for _ in range(rng.choice([100, 400])):
        deep = [deep]
    odd = ["line\nbreak", "x" * 10**6, "\ud800", "\x1b[31m", {"a": ["b" * 999] * 99}, deep]
    data[section][index] = {"id": rng.choice(odd)}
    return index


def _without_section(rng: random.Random, text: str) -> str:
    data = json.loads(text)
    sections = ("categories", "annotations", "videos", "images")
    section = rng.choice([name for name in sections if name in data])
    if rng.random() < 0.5:
        del data[section]
    else:
        data[section] = rng.choice([None, {}, "text", 7, True])
    return written(data)


TEXT_KINDS = [
    Kind("truncated", "fatal", lambda rng, text: truncated(rng, text.encode())),
    Kind("empty", "fatal", one_of("", " \n", "\ufeff")),
    Kind("random bytes", "fatal", lambda rng, text: garbage(rng, b"")),
    Kind("zeros in the middle", "fatal", lambda rng, text: with_a_hole(rng, text.encode())),
    Kind("bytes flipped", "any", lambda rng, text: flipped(rng, text.encode())),
    Kind("a part missing", "any", lambda rng, text: without_a_part(rng, text.encode())),
    Kind("UTF-16", "fatal", lambda rng, text: text.encode("utf-16")),
    Kind(
        "not UTF-8",
        "fatal",
        lambda rng, text: replaced(rng, text, "clip", "cl\xefp").encode("latin-1"),
    ),
    Kind("text behind the end", "fatal", lambda rng, text: text + rng.choice(["}", "more", "{}"])),
    Kind("two documents", "fatal", lambda rng, text: text + text),
    Kind("single quotes", "fatal", lambda rng, text: text.replace('"', "'")),
    Kind("a comma missing", "fatal", lambda rng, text: replaced(rng, text, ",", "")),
    Kind("a comma too many", "fatal", lambda rng, text: replaced(rng, text, r"\n *[\]}]", ",]")),
    Kind("no object", "fatal", one_of("[]", "null", "7", '"text"', "NaN", "true")),
    Kind("another object", "fatal", one_of("{}", '{"a": 1}', '{"shapes": []}', '{"\\n": 1}')),
    Kind("a section missing or no list", "fatal", _without_section),
    Kind(
        "no categories",
        "fatal",
        lambda rng, text: json.dumps({**json.loads(text), "categories": []}),
    ),
    Kind(
        "deep", "fatal", lambda rng, text: text[:-1] + ', "a": ' + "[" * 10**5 + "]" * 10**5 + "}"
    ),
    Kind("deep and not closed", "fatal", lambda rng, text: "[" * rng.choice([10**3, 10**6])),
    *(Kind(name, "fatal", one_of(place)) for name, place in PLACES),
    Kind("carriage returns", "same", lambda rng, text: text.replace("\n", "\r\n")),
    Kind("byte order mark", "same", lambda rng, text: "\ufeff" + text),
    Kind("on one line", "same", lambda rng, text: json.dumps(json.loads(text))),
    Kind("unsorted", "same", lambda rng, text: _shuffled(rng, text)),
    Kind(
        "more than is needed",
        "same",
        lambda rng, text: json.dumps({"info": {"x": [None]}, "licenses": 7, **json.loads(text)}),
    ),
]


def _shuffled(rng: random.Random, text: str) -> str:
    """The entries of all sections in another order."""
    data = json.loads(text)
    for section in data.values():
        rng.shuffle(section)
    return json.dumps(data)
