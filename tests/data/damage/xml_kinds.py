"""Kinds of damage to an annotation file, which has a size of 64x48 and objects, one a line."""

import random
import re

from .kinds import (
    NO_NUMBERS,
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

NUMBERS = ("width", "height", "xmin", "xmax", "ymin", "ymax")
WHOLE = ("width", "height", "trackid")
ELEMENTS = ("size", "name", "bndbox", "trackid", *NUMBERS)


def _present(rng: random.Random, text: str, tags: tuple[str, ...]) -> str:
    return rng.choice([tag for tag in tags if f"<{tag}>" in text])  # stills have no trackid


def _with(tags: tuple[str, ...], values):
    """One element of these gets another text."""

    def damage(rng: random.Random, text: str) -> str:
        tag = _present(rng, text, tags)
        value = rng.choice(values)
        return replaced(rng, text, f"<{tag}>[^<]*</{tag}>", lambda m: f"<{tag}>{value}</{tag}>")

    return damage


def _whole_element(tag: str) -> str:
    return f"<{tag}>.*?</{tag}>"


def _without_element(rng: random.Random, text: str) -> str:
    return replaced(rng, text, _whole_element(_present(rng, text, ELEMENTS)), "")


def _element_twice(rng: random.Random, text: str) -> str:
    tag = _present(rng, text, ELEMENTS)
    return replaced(rng, text, _whole_element(tag), lambda m: m[0] + m[0])


def _box(values):
    """One object's box becomes one of these (xmin, ymin, xmax, ymax)."""

    def damage(rng: random.Random, text: str) -> str:
        sides = zip(("xmin", "ymin", "xmax", "ymax"), rng.choice(values), strict=True)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        return replaced(rng, text, _whole_element("bndbox"), f"<bndbox>{box}</bndbox>")

    return damage


def _object_twice(rng: random.Random, text: str) -> str:
    if "<trackid>" in text:
        return replaced(rng, text, r"<object>.*</object>\n", lambda m: m[0] * 2)
    return replaced(rng, text, r"<name>[^<]*</name>", lambda m: m[0] * 2)  # stills may repeat


def _cut_before_its_end(rng: random.Random, text: str) -> bytes:
    content = text.encode()
    return truncated(rng, content[: content.rindex(b">")])


def _with_entities(definitions: str, use: str):
    def damage(rng: random.Random, text: str) -> str:
        named = replaced(rng, text, r"<name>[^<]*</name>", f"<name>{use}</name>")
        return f"<!DOCTYPE annotation [{definitions}]>\n{named}"

    return damage


LAUGHS = '<!ENTITY l0 "ha">' + "".join(
    f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10)
)
LONG = f'<!ENTITY long "{"a" * 50_000}">'  # sixty of them stay below expat's own limit
OUTSIDE = "".join(
    f'<!ENTITY x{i} SYSTEM "{place}">'
    for i, place in enumerate(("file:///etc/passwd", "http://localhost:9/x", "/dev/zero"))
)


def _many_bad_objects(rng: random.Random, text: str) -> str:
    bad = "<object><name>tiny_red_disc</name></object>\n" * rng.randint(2000, 4000)
    return text.replace("</annotation>", f"{bad}</annotation>")


def _nested(close: bool):
    def damage(rng: random.Random, text: str) -> str:
        depth = rng.randint(50_000, 100_000)
        tower = "<a>" * depth + ("</a>" * depth if close else "")
        return text.replace("</annotation>", f"{tower}</annotation>")

    return damage


def _encoded(*names: str):
    def damage(rng: random.Random, text: str) -> bytes:
        return f'<?xml version="1.0" encoding="{rng.choice(names)}"?>\n{text}'.encode()

    return damage


def _spaced(rng: random.Random, text: str) -> str:
    return re.sub(r">(\d+)<", r">  \1\n<", text)


KINDS = [
    Kind("truncated", "named", _cut_before_its_end),
    Kind("empty", "named", one_of("", " ", "\n\n", "\ufeff")),
    Kind("random bytes", "named", lambda rng, text: garbage(rng, b"")),
    Kind("zeros in the middle", "named", lambda rng, text: with_a_hole(rng, text.encode())),
    Kind("bytes flipped", "any", lambda rng, text: flipped(rng, text.encode())),
    Kind("a part missing", "any", lambda rng, text: without_a_part(rng, text.encode())),
    Kind("not UTF-8", "named", lambda rng, t: t.replace("<folder>", "<folder>é").encode("latin-1")),
    Kind("unknown encoding", "named", _encoded("klingon", "rot13", "idna", "undefined", "base64")),
    Kind("multi-byte encoding", "named", _encoded("big5", "shift_jis", "euc-kr", "utf-7-imap")),
    Kind("a web page", "named", one_of("<html><body>404 Not Found</body></html>\n")),
    Kind("JSON", "named", one_of('{"annotations": []}\n', "[]", "null")),
    Kind("two documents", "named", lambda rng, text: text + text),
    Kind("text behind the end", "named", lambda rng, text: text + "more\n"),
    Kind("element missing", "named", _without_element),
    Kind("element twice", "named", _element_twice),
    Kind("no number", "named", _with((*NUMBERS, "trackid"), NO_NUMBERS)),
    Kind(
        "not finite", "named", _with(NUMBERS, ["nan", "inf", "-inf", "1e999", "NaN", "-Infinity"])
    ),
    Kind("fraction", "named", _with(WHOLE, ["1.5", "64.0", "1e1"])),
    Kind("huge box", "named", _with(("xmax", "ymax"), ["1e30", "1e300", "9" * 40, "9" * 400])),
    Kind("huge whole number", "named", _with(WHOLE, ["9" * 19, "9" * 30, "9" * 4000, "9" * 5000])),
    Kind("negative size", "named", _with(("width", "height"), ["0", "-1", "-64", "-9999999999"])),
    Kind("huge size", "named", _with(("width", "height"), ["99999999", "2147483647"])),
    Kind("other size", "any", _with(("width", "height"), ["1", "20", "65", "4096"])),
    Kind("box inside out", "named", _box([(30, 2, 1, 40), (1, 40, 30, 2), (30, 40, 1, 2)])),
    Kind("box without area", "named", _box([(5, 5, 5, 5), (1, 2, 1, 9), (1, 2, 9, 2)])),
    Kind("box outside", "named", _box([(64, 0, 90, 9), (0, 48, 9, 90), (-9, -9, -1, -1)])),
    Kind(
        "unknown class", "named", _with(("name",), ["n99999999", "<b/>", "", "\x7f", "x" * 10**6])
    ),
    Kind("object twice", "named", _object_twice),
    Kind("entities of entities", "named", _with_entities(LAUGHS, "&l9;")),
    Kind("long entities", "named", _with_entities(LONG, "&long;" * 60)),
    Kind("entities outside", "named", _with_entities(OUTSIDE, "&x0;&x1;&x2;")),
    Kind("deep and not closed", "named", _nested(close=False)),
    Kind("thousands of bad objects", "named", _many_bad_objects),
    *(Kind(name, "named", one_of(place)) for name, place in PLACES),
    Kind("deep and closed", "same", _nested(close=True)),
    Kind("carriage returns", "same", lambda rng, text: text.replace("\n", "\r\n")),
    Kind("byte order mark", "same", lambda rng, text: "\ufeff" + text),
    Kind("UTF-16", "same", lambda rng, text: text.encode("utf-16")),
    Kind("declared UTF-8", "same", _encoded("utf-8", "UTF-8", "us-ascii", "iso-8859-1")),
    Kind(
        "a document type elsewhere",
        "same",
        lambda rng, text: '<!DOCTYPE annotation SYSTEM "http://localhost:9/a.dtd">\n' + text,
    ),
    Kind("comments", "same", lambda rng, text: text.replace("\n", "<!-- <object> -->\n")),
    Kind("spaces around numbers", "same", _spaced),
    Kind("no end of line at the end", "same", lambda rng, text: text.rstrip()),
]
