"""Where to begin decoding a video that is wanted from some time on.

Going through the packets without decoding them (100,000 in a second or two) tells the key frames
and the place of every frame. Decoding begins two key frames before the time: after one alone, a
picture may still refer to pictures before it ("open" groups of pictures, gradual refresh). Where
timestamps do not tell everything, decoding begins at the beginning.
"""

from collections.abc import Iterator
from itertools import dropwhile
from typing import NamedTuple

MARGIN = 0.5  # seconds that are sought too early: some formats seek by time of decoding


class Entry(NamedTuple):
    """Where decoding begins; without arguments at the beginning.

    Attributes:
        pts: timestamp of the key frame; None is the beginning.
        position: of the key frame in the file, in bytes; timestamps may come twice.
        first: timestamp from which frames are given.
        index: place of the first frame that is given.
        hidden: packets before the key frame that an edit list says not to show.
    """

    pts: int | None = None
    position: int | None = None
    first: int = 0
    index: int = 0
    hidden: int = 0

    def shown(self, frames: Iterator) -> Iterator:
        """The frames, without those before the first that is given; time may go back later."""
        if self.pts is None:
            return frames
        return dropwhile(lambda frame: frame.pts is not None and frame.pts < self.first, frames)


class _Header(NamedTuple):
    pts: int
    position: int | None
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
    if len(keys) < 2 or headers[keys[-2]].position is None:
        return Entry()
    index = sum(origin <= pts < first for pts in shown)
    hidden = sum(header.is_hidden for header in headers[: keys[-2]])
    key = headers[keys[-2]]
    return Entry(key.pts, key.position, first, index, hidden)


def _headers_up_to(container, stream, first: int) -> list[_Header] | None:
    """What packets say of themselves, up to the second key frame after ``first`` or the end.

    All frames that are shown before ``first`` are among them: some may come after a key frame that
    is shown later. None where a packet does not say it, or where time goes back.
    """
    import av

    headers, keys_after, last = [], 0, None
    try:
        for packet in container.demux(stream):
            if not packet.size:  # the flush at the end
                continue
            goes_back = None not in (last, packet.dts) and packet.dts < last
            if packet.pts is None or packet.is_corrupt or goes_back:
                return None
            last = packet.dts
            header = _Header(packet.pts, packet.pos, packet.is_keyframe, packet.is_discard)
            headers.append(header)
            keys_after += packet.is_keyframe and packet.pts > first
            if keys_after == 2:
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
        found = found or (packet.pts, packet.pos) == (entry.pts, entry.position)
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
