"""Whole videos per process: the order in which frames are evaluated.

detectron2's InferenceSampler cuts a dataset into equal runs of frames and so splits videos. Here
every video goes to one process, longest first to the process with the fewest frames so far.
"""

from collections.abc import Collection, Iterator, Sequence

from torch.utils.data import Sampler

from .tables.frame_store import VideoId


def assign_videos(lengths: Sequence[int], num_processes: int) -> list[list[int]]:
    """Video numbers for each process, balanced by length; each list in rising order."""
    loads, assigned = [0] * num_processes, [[] for _ in range(num_processes)]
    for video in sorted(range(len(lengths)), key=lambda v: (-lengths[v], v)):
        process = loads.index(min(loads))
        loads[process] += lengths[video]
        assigned[process].append(video)
    return [sorted(videos) for videos in assigned]


class VideoSampler(Sampler[int]):
    """Indices of the frames of this process's videos, a video after the other.

    Args:
        video_ids: of every record of the dataset, frames of a video in a row.
        rank, num_processes: this process and how many there are.
        finished: videos that are left out; the others are shared as if there were no more.
    """

    def __init__(
        self,
        video_ids: Sequence[VideoId],
        rank: int,
        num_processes: int,
        finished: Collection[VideoId] = (),
    ):
        frames: dict[VideoId, list[int]] = {}
        for index, video_id in enumerate(video_ids):
            frames.setdefault(video_id, []).append(index)
        videos = [indices for video_id, indices in frames.items() if video_id not in finished]
        mine = assign_videos([len(v) for v in videos], num_processes)[rank]
        self._indices = [index for video in mine for index in videos[video]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)
