"""Random annotated videos for the tests of the JSON formats, and their oracle of equality."""

import random
from pathlib import Path

Entry = dict


def coco_vid(seed: int) -> Entry:
    """A valid COCO-VID object with every video and category in use or not, in any order."""
    rng = random.Random(seed)
    data = {"videos": [], "images": [], "annotations": [], "categories": categories(rng)}
    for video in rng.sample(range(100), rng.randint(1, 4)):
        data["videos"].append({"id": video, "name": f"clip{video}"})
        for frame in sorted(rng.sample(range(20), rng.randint(1, 5))):  # with gaps
            image = {
                "id": 1000 * video + frame,
                "video_id": video,
                "frame_id": frame,
                "file_name": f"clip{video}/{frame:06d}.jpg",
                "height": rng.randint(100, 200),
                "width": rng.randint(100, 200),
            }
            data["images"].append(image)
            for track in rng.sample(range(5), rng.randrange(4)):
                data["annotations"].append(
                    {
                        "id": len(data["annotations"]) + 7,
                        "image_id": image["id"],
                        "category_id": rng.choice(data["categories"])["id"],
                        "bbox": box(rng),
                        "instance_id": track,
                        "iscrowd": rng.randrange(2),
                        "area": rng.randint(1, 99),
                        "segmentation": rng.choice(SEGMENTATIONS),
                    }
                )
    for section in data.values():
        rng.shuffle(section)
    return data


def youtube_vis(seed: int) -> Entry:
    """A valid YouTube-VIS object; every track has a box, every video a frame."""
    rng = random.Random(seed)
    data = {"videos": [], "annotations": [], "categories": categories(rng)}
    for video in rng.sample(range(100), rng.randint(1, 4)):
        length, size = rng.randint(1, 5), {"height": rng.randint(100, 200), "width": 150}
        files = [f"clip{video}/{frame:05d}.jpg" for frame in range(0, 5 * length, 5)]
        data["videos"].append({"id": video, "file_names": files, "length": length, **size})
        for _ in range(rng.randrange(4)):
            boxes = [rng.choice([None, box(rng)]) for _ in files]
            boxes[rng.randrange(length)] = box(rng)
            data["annotations"].append(
                {
                    "id": 3 * len(data["annotations"]) + 2,
                    "video_id": video,
                    "category_id": rng.choice(data["categories"])["id"],
                    "iscrowd": rng.randrange(2),
                    **size,
                    "bboxes": boxes,
                    "areas": [b and rng.randint(1, 99) for b in boxes],
                    "segmentations": [b and SEGMENTATIONS[0] for b in boxes],
                }
            )
    for section in data.values():
        rng.shuffle(section)
    return data


SEGMENTATIONS = [[[1, 2, 30, 2, 30, 40]], {"counts": [3, 4, 5], "size": [3, 4]}]


def categories(rng: random.Random) -> list[Entry]:
    ids = rng.sample(range(1, 50), rng.randint(1, 4))
    return [{"id": i, "name": f"class {i}"} for i in ids]


def box(rng: random.Random) -> list[float]:
    """Inside 100 x 100 pixels, in quarters of a pixel, so that sums are exact."""
    x, y = (rng.randrange(0, 360) / 4 for _ in range(2))
    return [x, y, rng.randint(1, 40) / 4, rng.randint(1, 40) / 4]


def in_order(data: Entry) -> Entry:
    """Every section by id, what "equal up to order" means."""
    return {key: sorted(entries, key=lambda entry: entry["id"]) for key, entries in data.items()}


def write_images(folder: Path, data: Entry) -> None:
    """A tiny image for every frame that an object of either format names."""
    import cv2
    import numpy as np

    names = [image["file_name"] for image in data.get("images", [])]
    names += [name for video in data["videos"] for name in video.get("file_names", [])]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), np.zeros((4, 6, 3), np.uint8))
