"""Where to begin decoding a video that is wanted from some time on.

Going through the packets without decoding them (100,000 in a second or two) tells the key frames
and the place of every frame. Decoding begins two key frames before the time: after one alone, a
picture may still refer to pictures before it ("open" groups of pictures, gradual refresh). Where
timestamps do not tell everything, decoding begins at the beginning.
"""

from collections.abc import Iterator
from typing import NamedTuple

MARGIN = 0.5  # seconds that are sought too early: some formats seek by time of decoding


class Entry(NamedTuple):
    """Where decoding begins; without arguments at the beginning.

    Attributes:
        pts: timestamp of the key frame; None is the beginning.
        first: timestamp from which frames are given.
        index: place of the first frame that is given.
        hidden: packets before the key frame that an edit list says not to show.
    """

    pts: int | None = None
    first: int = 0
    index: int = 0
    hidden: int = 0

    def shown(self, frames: Iterator) -> Iterator:
        """The frames, without those before the first that is given."""
        if self.pts is None:
            return frames
        return (frame for frame in frames if frame.pts is None or frame.pts >= self.first)


class _Header(NamedTuple):
    pts: int
    is_key: bool
    is_hidden: bool


def find_entry(container, stream, origin: int, first: int) -> Entry | None:
    """Find where to begin for the frames from ``first`` on.

    Args:
        container, stream: just opened.
        origin: timestamp of the first frame that decodes.
        first: timestamp from which frames are given.

    Returns:
        None where the video ends before.
    """
    headers = _headers_up_to(container, stream, first)
    shown = [header.pts for header in headers or () if not header.is_hidden]
    if not shown or len(set(shown)) < len(shown):
        return Entry()
    if max(shown) < first:
        return None
    keys = [place for place, header in enumerate(headers) if header.is_key and header.pts <= first]
    if len(keys) < 2:
        return Entry()
    index = sum(origin <= pts < first for pts in shown)
    hidden = sum(header.is_hidden for header in headers[: keys[-2]])
    return Entry(headers[keys[-2]].pts, first, index, hidden)


def _headers_up_to(container, stream, first: int) -> list[_Header] | None:
    """What packets say of themselves, up to the first key frame after ``first`` or the end.

    All frames that are shown before ``first`` are among them. None where a packet does not say it.
    """
    import av

    headers = []
    try:
        for packet in container.demux(stream):
            if not packet.size:  # the flush at the end
                continue
            if packet.pts is None or packet.is_corrupt:
                return None
            headers.append(_Header(packet.pts, packet.is_keyframe, packet.is_discard))
            if packet.is_keyframe and packet.pts > first:
                break
    except av.FFmpegError:
        return None
    return headers


def packets_from(container, stream, entry: Entry) -> Iterator:
    """Yield the packets from the entry's key frame on; nothing where seeking does not find it."""
    if entry.pts is None:
        yield from container.demux(stream)
        return
    container.seek(entry.pts - round(MARGIN / stream.time_base), stream=stream)
    found = False
    for packet in container.demux(stream):
        found = found or packet.pts == entry.pts
        if found:
            yield packet
        elif packet.pts is None or (packet.is_keyframe and packet.pts > entry.pts):
            return


def can_seek(container, stream, entry: Entry) -> bool:
    """Whether seeking finds the entry's key frame, in a container that was just opened."""
    import av

    try:
        return next(packets_from(container, stream, entry), None) is not None
    except av.FFmpegError:
        return False
