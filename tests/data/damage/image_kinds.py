"""Kinds of damage to an image file of 64x48 pixels, JPEG or PNG.

``named``: it is no whole image of that size; ``same``: it is, in other pixels perhaps; ``any``.
"""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image

from .kinds import PLACES, Kind, flipped, garbage, one_of, truncated, with_a_hole

SIZE = (64, 48)


def photo(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Coarse random colours."""
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size).convert(mode)


def encoded(file_format: str, image: Image.Image | None = None, **options) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    (photo() if image is None else image).save(buffer, file_format, **options)
    return buffer.getvalue()


def whole_image(rng: random.Random) -> bytes:
    """What is damaged."""
    return rng.choice(
        [encoded("JPEG"), encoded("JPEG", progressive=True), encoded("PNG"), encoded("WEBP")]
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_of_size(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that says that size of itself, with a checksum that is right."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = _chunk(b"IDAT", pixels or zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + body


def _jpeg_of_size(rng: random.Random, content: bytes) -> bytes:
    """Another size in the header: the frame header is FF C0, length, depth, height, width."""
    jpeg = bytearray(encoded("JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", *rng.choice([(65500, 65500), (0, 0), (48, 6400)]))
    return bytes(jpeg)


def _without_end(rng: random.Random, content: bytes) -> bytes:
    """At most nine tenths of it."""
    return truncated(rng, content[: len(content) * 9 // 10])


def _bomb(rng: random.Random, content: bytes) -> bytes:
    """A gigabyte of black in a megabyte."""
    side = 20_000
    squeeze = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    return png_of_size(side, side, b"".join(squeeze.compress(row) for _ in range(200)))


KINDS = [
    Kind("truncated", "named", _without_end),
    Kind("empty", "named", one_of(b"")),
    Kind("random bytes", "named", garbage),
    Kind("a web page", "named", one_of(b"<html><body>404 Not Found</body></html>\n")),
    Kind("zeros alone", "named", lambda rng, content: bytes(len(content))),
    Kind("zeros in the middle", "any", with_a_hole),
    Kind("bytes flipped", "any", flipped),
    Kind(
        "another size",
        "named",
        one_of(encoded("PNG", photo(size=(48, 64))), encoded("GIF", photo(size=(1, 1)))),
    ),
    Kind("a size that is not its own", "named", _jpeg_of_size),
    Kind(
        "an absurd size",
        "named",
        one_of(
            *(
                png_of_size(w, h)
                for w, h in [
                    (2**31 - 1, 2**31 - 1),
                    (100_000, 100_000),
                    (2**20 + 1, 1),
                    (1, 2**31 - 1),
                    (20_000, 8000),
                ]
            )
        ),
    ),
    Kind("a bomb", "named", _bomb),
    Kind("only a header", "named", lambda rng, content: content[: rng.choice([2, 4, 8, 16])]),
    *(Kind(name, "named", one_of(place)) for name, place in PLACES),
    Kind("another format than its name says", "same", one_of(encoded("PNG"), encoded("BMP"))),
    Kind(
        "another mode",
        "same",
        one_of(
            *(encoded("PNG", photo(mode)) for mode in ("L", "RGBA", "P", "1", "LA")),
            encoded("JPEG", photo("CMYK")),
        ),
    ),
    Kind("text behind the end", "same", lambda rng, content: content + b"more"),
    Kind(
        "EXIF that is none",
        "same",
        one_of(
            encoded("JPEG", exif=b"Exif\0\0" + bytes(range(256))),
            encoded("JPEG", exif=b"Exif\0\0MM"),
        ),
    ),
]
