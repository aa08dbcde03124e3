"""Whether a video was cut off where its demuxer does not notice: Matroska, WebM, MPEG-TS, AVI."""

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TS_PACKETS = (188, 192, 204)  # bytes: plain, with a time code (.m2ts), with error correction
_SLACK = 8  # bytes: some writers count an AVI's own header, too


def is_cut_off(path: Path, format_name: str) -> bool:
    """Whether the file is shorter than it says.

    Args:
        path: of the file.
        format_name: FFmpeg's name of its format; other formats give False.
    """
    size = path.stat().st_size
    if format_name == "mpegts":
        return all(size % packet for packet in _TS_PACKETS)
    if format_name == "avi":
        with path.open("rb") as file:
            return size + _SLACK < _riff_size(file)
    if format_name == "matroska,webm":
        with path.open("rb") as file:
            stated = _matroska_size(file.read(4096))
        return stated is not None and size < stated
    return False


def _riff_size(file: BinaryIO) -> int:
    """Bytes up to the end of the last of an AVI's chunks that begins in the file."""
    end = 0
    while (head := file.read(8))[:4] == b"RIFF" and len(head) == 8:
        end += 8 + int.from_bytes(head[4:], "little")
        file.seek(end)
    return end


def _matroska_size(head: bytes) -> int | None:
    """Bytes up to the end of the segment; None where it is of unknown size, as while recording."""
    if not head.startswith(_EBML):
        return None
    header_size, start = _read_size(head, len(_EBML))
    start += header_size or 0
    if head[start : start + len(_SEGMENT)] != _SEGMENT:
        return None
    size, start = _read_size(head, start + len(_SEGMENT))
    return None if size is None else start + size


def _read_size(head: bytes, start: int) -> tuple[int | None, int]:
    """A number whose leading zeros say how many bytes it has, all ones: unknown; and its end."""
    if not head[start : start + 1]:
        return None, start
    length = 9 - head[start].bit_length()
    ones = (1 << 7 * length) - 1
    value = int.from_bytes(head[start : start + length], "big") & ones
    return (None if value == ones else value), start + length
