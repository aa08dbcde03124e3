"""One annotation file of ImageNet VID or DET: an image's size and its objects.

Boxes are xyxy in absolute pixels, floats exactly as in the XML, neither shifted nor clipped. A
file without objects is ordinary. What is bad goes to a ``Problems``: a bad object is left out, a
bad file gives None.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from os import PathLike
from typing import Any
from xml.parsers import expat

from ..limits import FAR, LARGE, MAX_PIXELS
from ..problems import Problems, shown
from .numbers import parse_decimal, parse_whole

StrPath = str | PathLike[str]
Annotation = dict[str, Any]

BBOX_MODE = 0  # detectron2's BoxMode.XYXY_ABS, an IntEnum, without importing detectron2
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Bad(Exception):
    """What is wrong with an element: a kind of problem, and what was expected and found."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def read_annotation(
    path: StrPath,
    class_ids: Mapping[str, int],
    *,
    tracks: bool = True,
    other_names: Collection[str] = (),
    problems: Problems | None = None,
    named_by: str = "",
) -> dict[str, Any] | None:
    """The ``height``, ``width`` and ``annotations`` of one XML file; None where the file is bad.

    Args:
        path: the XML file.
        class_ids: WordNet id to category id.
        tracks: every object must have a ``trackid`` (VID), which becomes its ``track_id``; without
            (DET) annotations have no ``track_id``.
        other_names: WordNet ids whose objects are left out without a word; an object of a name
            that is neither here nor in ``class_ids`` is a problem.
        problems: takes what is bad; where None, that is an error.
        named_by: where the file is listed, for the message that it is not there.

    Raises:
        UserError: on what is bad, where ``problems`` is strict.
    """
    problems = Problems() if problems is None else problems
    root = _parse(path, problems, named_by)
    if root is None:
        return None
    lines = _Lines(path)
    try:
        width, height = _read_size(root)
    except _Bad as bad:
        problems.report(bad.kind, f"{path}, line {lines.of('size', 1)}: {bad}")
        return None
    annotations: list[Annotation] = []
    taken: set[int] = set()
    for position, element in enumerate(root.iterfind("object"), start=1):
        try:
            category = _read_category(element, class_ids, other_names)
            if category is not None:
                found = _read_object(element, category, (width, height), tracks)
                if tracks and found["track_id"] in taken:
                    raise _Bad(
                        "repeated objects",
                        f"expected each trackid once, found {found['track_id']} again",
                    )
                taken.add(found.get("track_id"))
                annotations.append(found)
        except _Bad as bad:
            line = lines.of("object", position)
            problems.report(bad.kind, f"{path}, line {line}, object {position}: {bad}")
    return {"height": height, "width": width, "annotations": annotations}


def _parse(path: StrPath, problems: Problems, named_by: str) -> ET.Element | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return ET.XML(file.read())
    except OSError as error:
        where = f"{named_by}: {path}" if named_by else path
        problems.report(
            "missing annotation files",
            f"{where}: expected an annotation file, found {error.strerror}",
        )
    except ET.ParseError as error:
        reason = str(error).split(":")[0]
        problems.report(
            "malformed annotation files",
            f"{path}, line {error.position[0]}: expected well-formed XML, found {reason}",
        )
    except (LookupError, ValueError) as error:  # a declared encoding that expat does not know
        problems.report(
            "malformed annotation files", f"{path}, line 1: expected XML in UTF-8, found {error}"
        )
    return None


def _read_size(root: ET.Element) -> tuple[int, int]:
    """(width, height)."""
    kind = "annotation files without a size"
    size = _only_child(root, "size")
    width, height = _numbers(size, parse_whole, ("width", "height"), "size/", kind)
    if not (1 <= width < LARGE and 1 <= height < LARGE and width * height <= MAX_PIXELS):
        raise _Bad(
            kind,
            f"expected a size of at least 1x1 and at most {MAX_PIXELS} pixels, "
            f"found {width}x{height}",
        )
    return width, height


def _read_category(
    element: ET.Element, class_ids: Mapping[str, int], other_names: Collection[str]
) -> int | None:
    """The category id of an object, or None where its class is not among those asked for."""
    child = _only_child(element, "name")
    name = "" if child is None else (child.text or "").strip()
    category = class_ids.get(name)
    if category is None and name not in other_names:
        if not name:
            raise _Bad("objects without a name", "expected a name, found none")
        known = len(class_ids.keys() | set(other_names))
        raise _Bad(
            "objects of an unknown class",
            f"expected a name among the {known} known ids, found {shown(name)}",
        )
    return category


def _read_object(
    element: ET.Element, category: int, image_size: tuple[int, int], tracks: bool
) -> Annotation:
    kind = "objects without a box"
    box = _numbers(_only_child(element, "bndbox"), parse_decimal, _SIDES, "bndbox/", kind)
    x1, y1, x2, y2 = box
    if not (-FAR < x1 < x2 < FAR and -FAR < y1 < y2 < FAR):
        raise _Bad(
            "boxes without area",
            f"expected xmin < xmax and ymin < ymax, all nearer than {FAR:.0e} pixels, "
            f"found {box} as [xmin, ymin, xmax, ymax]",
        )
    width, height = image_size
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise _Bad(
            "boxes outside the image",
            f"expected a box that is in the image of {width}x{height} at least in part, "
            f"found {box} as [xmin, ymin, xmax, ymax]",
        )
    annotation = {"bbox": box, "bbox_mode": BBOX_MODE, "category_id": category, "iscrowd": 0}
    if tracks:
        numbers = _numbers(element, parse_whole, ("trackid",), "", "objects without a track id")
        annotation["track_id"] = numbers[0]
    return annotation


def _only_child(element: ET.Element, tag: str) -> ET.Element | None:
    found = element.findall(tag)
    if len(found) > 1:
        raise _twice(tag, len(found))
    return found[0] if found else None


def _twice(tag: str, count: int) -> _Bad:
    return _Bad("repeated elements", f"expected one {tag}, found {count}")


def _numbers(
    element: ET.Element | None,
    parse: Callable[[str | None], float],
    tags: Sequence[str],
    within: str,
    kind: str,
) -> list:
    """The numbers in the children of those tags; ``within`` names the element in a message."""
    texts = {} if element is None else {child.tag: child.text for child in element}
    if element is not None and len(texts) < len(element):
        names = [child.tag for child in element]
        for tag in tags:
            if names.count(tag) > 1:
                raise _twice(f"{within}{tag}", names.count(tag))
    try:
        return [parse(texts[tag]) for tag in tags]
    except (KeyError, ValueError):
        tag = next(tag for tag in tags if not _parses(parse, texts.get(tag)))
        expected = "a whole number" if parse is parse_whole else "a number"
        found = shown(texts[tag] or "") if tag in texts else "no such element"
        raise _Bad(kind, f"expected {expected} in {within}{tag}, found {found}") from None


def _parses(parse: Callable[[str | None], float], text: str | None) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


class _Lines:
    """The lines of a file's elements, found when one is asked for.

    ElementTree keeps none; reading a bad file a second time costs good ones nothing.
    """

    def __init__(self, path: StrPath):
        self._path = path

    def of(self, tag: str, position: int) -> int:
        """The line of the root's ``position``-th child of that tag, or of the root without one."""
        root_line, lines = self._found
        return lines[tag][position - 1] if tag in lines else root_line

    @cached_property
    def _found(self) -> tuple[int, dict[str, list[int]]]:
        """Of the root, and of its children by tag."""
        lines: dict[str, list[int]] = {}
        root_line = depth = 0
        parser = expat.ParserCreate()

        def start(name: str, _) -> None:
            nonlocal root_line, depth
            if depth == 0:
                root_line = parser.CurrentLineNumber
            elif depth == 1:
                lines.setdefault(name, []).append(parser.CurrentLineNumber)
            depth += 1

        def end(_) -> None:
            nonlocal depth
            depth -= 1

        parser.StartElementHandler, parser.EndElementHandler = start, end
        with open(self._path, "rb") as file:
            parser.ParseFile(file)
        return root_line, lines
