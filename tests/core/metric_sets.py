"""Random sets of frames that meet every edge of the metrics; for tests."""

import numpy as np

from tests.core.plain_metrics import Frame

NUM_CLASSES = 4  # the last of which never has an object
MOTIONS = [0.0, 0.3, 0.7, 0.8, 0.9, 0.95, 1.0]  # the ends of the ranges are among them


def grid_set(seed: int) -> list[Frame]:
    """Coordinates, scores and motion on grids: ties of all kinds and values on thresholds.

    Tiny boxes, duplicates, empty frames and classes; every third set has boxes whose areas lie
    around and on 50^2 and 150^2.
    """
    rng = np.random.default_rng(seed)
    side, step = ((30, 1), (6, 5), (4, 25))[seed % 3]

    def boxes(count):
        corners = np.sort(rng.integers(0, side, size=(count, 2, 2)) * step, axis=1)
        if step == 25:  # sides that give areas of 50^2 and 150^2, both borders counted
            corners[:, 1] = corners[:, 0] + rng.choice([25, 50, 100, 150, 225], (count, 2)) - 1
        return corners.reshape(count, 4).astype(np.float64)

    frames = []
    for _ in range(rng.integers(1, 7)):
        truth = boxes(rng.integers(0, 5))
        labels = rng.integers(0, NUM_CLASSES - 1, len(truth))
        if len(truth) and rng.random() < 0.2:
            truth, labels = np.repeat(truth, 2, axis=0), np.repeat(labels, 2)
        between = np.zeros((0, 4))
        if len(truth) and rng.random() < 0.3:  # as near to one object as to another, or on one
            shift = np.array([step, 0, step, 0])
            truth = np.concatenate([truth, truth[:1] + 2 * shift])
            labels = np.append(labels, labels[0])
            between = truth[:1] + shift * rng.integers(0, 3, (2, 1))
        # near the truth, on it (twice, too), and anywhere
        source = rng.integers(0, len(truth), rng.integers(0, 9)) if len(truth) else []
        near = truth[source] + rng.integers(-2, 3, (len(source), 4)) * rng.integers(0, 2) * step
        near = np.concatenate([np.sort(near[:, [0, 2]]), np.sort(near[:, [1, 3]])], 1)
        near = np.concatenate([near[:, [0, 2, 1, 3]].reshape(-1, 4), between])
        found = np.concatenate([near, boxes(rng.integers(0, 4))])
        found_labels = rng.integers(0, NUM_CLASSES, len(found))
        found_labels[: len(source)] = labels[source]
        found_labels[len(source) : len(near)] = labels[:1]
        motion = rng.choice(MOTIONS, len(truth))
        scores = rng.integers(1, 7, len(found)) / 8
        frames.append(
            Frame(
                list(zip(truth.tolist(), labels.tolist(), motion.tolist(), strict=True)),
                list(zip(found.tolist(), scores.tolist(), found_labels.tolist(), strict=True)),
            )
        )
    return frames


def scattered_set(seed: int) -> list[Frame]:
    """Boxes and scores of which no two are equal, nor two overlaps."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(5):
        start = rng.uniform(0, 200, (rng.integers(0, 7), 2))
        truth = np.concatenate([start, start + rng.uniform(5, 220, start.shape)], axis=1)
        labels = rng.integers(0, NUM_CLASSES - 1, len(truth))
        index = np.repeat(np.arange(len(truth)), 2)
        found = truth[index] + rng.normal(0, 6, (len(index), 4))
        objects = zip(truth.tolist(), labels.tolist(), rng.random(len(truth)).tolist(), strict=True)
        scores = rng.random(len(index)).tolist()
        detected = zip(found.tolist(), scores, labels[index].tolist(), strict=True)
        frames.append(Frame(list(objects), list(detected)))
    return frames


def as_arrays(frames: list[Frame]):
    """Ground truth, detections and motion as ``average_precision_per_class`` takes them."""
    ground_truth, detections, motion = [], [], []
    for objects, found in frames:
        boxes, labels, values = zip(*objects, strict=True) if objects else ((), (), ())
        ground_truth.append((_boxes(boxes), np.array(labels, dtype=np.int64)))
        motion.append(np.array(values, dtype=np.float64))
        boxes, scores, labels = zip(*found, strict=True) if found else ((), (), ())
        scores, labels = np.array(scores, dtype=np.float64), np.array(labels, dtype=np.int64)
        detections.append((_boxes(boxes), scores, labels))
    return ground_truth, detections, motion


def _boxes(boxes):
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)
