"""What a COCO-style file calls the frames, the videos and the classes of a dataset.

The numbers are those of the COCO-VID file that ``tools/convert.py`` makes of the dataset, so that
a file of detections fits the dataset and what is converted from it alike: a JSON file's own ids;
where there are none, images count from 1 video after video, each in order, videos count from 1 in
order of appearance, and categories count from 1 in the order of labels. Names that are no numbers
(``val/ILSVRC2015_val_00000000/000000``) are understood as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .catalog import DatasetEntry
from .imagenet.records import Record, group_by_video
from .tables.frame_store import VideoId
from .video_json.datasets import JsonDataset
from .video_json.entries import Id
from .video_json.video_set import unique_ids

FrameKey = tuple[VideoId, int]  # video_id, frame_index


@dataclass(frozen=True)
class DatasetIds:
    """Ids as they are written, and whatever is understood as one.

    Args:
        dataset: its name, for messages.
        frames: of every frame its key and the id of its image, video after video, in order.
        videos: of every video its key and its id.
        video_names: of the videos that are called by a name and not by an id of their own.
        categories: id and name, in the order of labels.
        frames_by_id, videos_by_id: the key behind an id.
    """

    dataset: str
    frames: Mapping[FrameKey, Id]
    videos: Mapping[VideoId, Id]
    video_names: Mapping[VideoId, str]
    categories: Mapping[int, str]
    frames_by_id: Mapping[Id, FrameKey]
    videos_by_id: Mapping[Id, VideoId]


def dataset_ids(
    name: str, entry: DatasetEntry | JsonDataset, records: Sequence[Record]
) -> DatasetIds:
    """The ids of a dataset that ``catalog.find_videos`` gave for ``name``.

    Args:
        records: of all its frames, as from ``entry.load_records``.
    """
    images = {
        (frame["video_id"], frame["frame_index"]): frame["image_id"]
        for video in group_by_video(records)
        for frame in video["frames"]
    }
    videos = {video: str(video) for video, _ in images}
    if isinstance(entry, JsonDataset):
        videos = {video: text.removeprefix(f"{name}:") for video, text in videos.items()}
        categories = {int(number): label for number, label in entry.classes.items()}
        image_ids = _own_image_ids(images, videos)
        video_ids = [_number_or_text(text) for text in videos.values()]
    else:
        categories = dict(enumerate(entry.class_names, start=1))
        image_ids = unique_ids(images.values())
        video_ids = unique_ids(videos.values())
    return DatasetIds(
        dataset=name,
        frames=dict(zip(images, image_ids, strict=True)),
        videos=dict(zip(videos, video_ids, strict=True)),
        video_names={} if isinstance(entry, JsonDataset) else videos,
        categories=categories,
        frames_by_id=dict(zip([*images.values(), *image_ids], [*images, *images], strict=True)),
        videos_by_id=dict(zip([*videos.values(), *video_ids], [*videos, *videos], strict=True)),
    )


def _own_image_ids(images: Mapping[FrameKey, Id], videos: Mapping[VideoId, str]) -> list[Id]:
    """Those of a COCO-VID file; YouTube-VIS has none, and the reader makes names of its own."""
    made = all(name == f"{videos[video]}/{index:06d}" for (video, index), name in images.items())
    return unique_ids(images.values()) if made else list(images.values())


def _number_or_text(text: str) -> Id:
    """An id that was a number before it became part of a name."""
    return int(text) if text.removeprefix("-").isdecimal() and str(int(text)) == text else text
