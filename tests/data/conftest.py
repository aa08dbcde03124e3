"""Small trees in the layout of ImageNet's download, and what is expected of an error."""

import re
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from d2_plugtrack.errors import UserError


def xml_object(name="n01", box=(1, 2, 30, 40), track="7") -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>"
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    trackid = "" if track is None else f"<trackid>{track}</trackid>"
    return f"<object>{trackid}<name>{name}</name><bndbox>{sides}</bndbox></object>"


def xml(*objects: str, size="<size><width>64</width><height>48</height></size>") -> str:
    """An annotation whose size is in line 3 and whose objects are in lines 4, 5, ..."""
    return f"<annotation>\n<folder>f</folder>\n{size}\n" + "\n".join(objects) + "\n</annotation>\n"


def add(root: Path, kind: str, image_id: str, text: str | None, image: bytes | None = b"") -> None:
    """An image and its annotation; None leaves out either."""
    parts = ("Data", "JPEG", image), ("Annotations", "xml", text and text.encode())
    for side, ending, content in parts:
        path = root / side / kind / f"{image_id}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def files():
    """``xml_object``, ``xml``, ``add`` and ``write``."""
    return SimpleNamespace(xml_object=xml_object, xml=xml, add=add, write=write)


@pytest.fixture
def fails():
    """Expect a UserError of one line that holds these parts in this order."""

    def fails(*parts: str):
        return pytest.raises(UserError, match=r"\A.*" + ".*".join(map(re.escape, parts)) + r".*\Z")

    return fails


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


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A smooth BGR image of 64x48 pixels, whose halves are nothing alike."""
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 48))


@pytest.fixture
def bad_record(tmp_path, photo):
    """A function: a record of 64x48 pixels without objects and its file, good or bad."""
    numbers = count()

    def make(kind: str) -> dict:
        path = tmp_path / f"bad_{next(numbers)}.jpg"
        shape = (128, 96) if kind == "another size" else (64, 48)
        encoded = cv2.imencode(".jpg", cv2.resize(photo, shape), [cv2.IMWRITE_JPEG_QUALITY, 95])
        whole = encoded[1].tobytes()
        contents = {"truncated": whole[: len(whole) * 6 // 10], "empty": b"", "not an image": b"no"}
        if kind != "missing":
            path.write_bytes(contents.get(kind, whole))
        return {"file_name": str(path), "height": 48, "width": 64, "annotations": []}

    return make
