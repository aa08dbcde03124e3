"""Synthetic scenes: textured objects moving over textured moving backgrounds.

A video is a background under a panning camera and one to three objects, each a
:class:`Track`: its centre, size, angle, squash and the state of its difficulties in every frame.
The difficulties are the paper's: motion blur, defocus, partial occlusion, fading, rare poses
(squashing and fast turning), bursts of fast motion, entering and leaving. Everything follows from
the :class:`numpy.random.Generator` that is passed in. Images are BGR uint8 ``(H, W, 3)``; boxes
are xyxy pixels, clipped to the image. Files and splits are in ``tiny_vid.py``.
"""

import colorsys
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT = 160, 128
SHAPES = ("disk", "square", "triangle", "star")
TEXTURES = ("striped", "dotted")
SIZES = (28.0, 50.0)  # pixels, of the circle around an object before it is squashed
DIFFICULTY_LENGTHS, DIFFICULTY_REST = (3, 6), 8  # frames of fading, defocus and so on
BURST_LENGTHS, BURST_REST = (1, 2), 36  # frames of fast motion
CONTRAST = 0.35  # of the background, beside objects of full contrast
HUE_SPREAD = 0.12  # of an object's hue around its class's, of a circle of 1; eight classes share it
MIN_VISIBLE = 0.3  # share of a box inside the image under which the object counts as gone
_SPRITE = 64  # pixels; side of the canvas an object is drawn on before it is warped


class SceneObject(NamedTuple):
    """One visible object of a rendered frame."""

    box: tuple[int, int, int, int]
    label: int  # index into SHAPES x TEXTURES
    track_id: int
    occluded: bool


@dataclass
class Track:
    """The life of one object over F frames; all arrays have F rows."""

    label: int
    sprite: np.ndarray  # (S, S, 4) float BGR and opacity in [0, 1]
    outline: np.ndarray  # (P, 2) points of the shape in [-1, 1]
    centers: np.ndarray  # (F, 2)
    sizes: np.ndarray  # (F,)
    angles: np.ndarray  # (F,) radians
    squash: np.ndarray  # (F,) height over width
    opacity: np.ndarray  # (F,)
    defocus: np.ndarray  # (F,) pixels
    smear: np.ndarray  # (F,) share of the frame's displacement that is blurred over
    occlusion: np.ndarray  # (F,) share of the object's box that is covered
    occluder_side: np.ndarray  # (F,) radians, from where it is covered


def label_names() -> list[str]:
    """The classes in label order, e.g. ``striped_disk``."""
    return [f"{texture}_{shape}" for shape in SHAPES for texture in TEXTURES]


def make_background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random texture with clutter in it: noise at several scales and shapes of no class."""
    image = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 0.5), (10, 0.3), (28, 0.2)):
        noise = rng.random((cells, cells, 3)).astype(np.float32)
        image += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(height * width / 2500)):
        center = rng.random(2) * (width, height)
        points = center + rng.normal(size=(rng.integers(3, 7), 2)) * rng.uniform(4, 14)
        patch = image.copy()
        cv2.fillPoly(patch, [points.astype(np.int32)], rng.random(3).tolist())
        image = cv2.addWeighted(patch, 0.7, image, 0.3, 0)
    return np.clip(0.5 + CONTRAST * (image - 0.5), 0, 1)


def _outline(shape: str) -> np.ndarray:
    if shape == "square":
        angles, radii = np.arange(4) * np.pi / 2 + np.pi / 4, np.ones(4)
    elif shape == "triangle":
        angles, radii = np.arange(3) * 2 * np.pi / 3 - np.pi / 2, np.ones(3)
    elif shape == "star":
        angles, radii = np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.45, 1.0)
    else:
        angles, radii = np.arange(24) * np.pi / 12, np.full(24, 0.9)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]


def _draw_sprite(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The (S, S, 4) picture of one object and its outline; its colour is a hint of the class."""
    outline = _outline(SHAPES[label // len(TEXTURES)])
    hue = (label / len(label_names()) + rng.normal(0, HUE_SPREAD)) % 1.0
    first = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0)))
    second = first + np.where(first > 0.5, -1, 1) * rng.uniform(0.3, 0.5, 3)
    y, x = np.mgrid[0:_SPRITE, 0:_SPRITE] / _SPRITE
    if TEXTURES[label % len(TEXTURES)] == "striped":
        pattern = np.sin(2 * np.pi * 4 * x) > 0
    else:
        pattern = (np.sin(2 * np.pi * 3.5 * x) * np.sin(2 * np.pi * 3.5 * y)) > 0.25
    color = np.where(pattern[..., None], first, second)
    mask = np.zeros((_SPRITE, _SPRITE), np.uint8)
    half = _SPRITE / 2
    cv2.fillPoly(mask, [np.round(outline * (half - 2) + half).astype(np.int32)], 255)
    sprite = np.dstack([color, mask / 255.0]).astype(np.float32)
    return sprite, outline * (half - 2) / half


def _episodes(
    rng: np.random.Generator, num_frames: int, kinds: int, lengths: tuple[int, int], rest: int
) -> np.ndarray:
    """(kinds, F) levels in [0, 1]: episodes one after another, each of one random kind.

    An episode rises, stays at 1 for a while and falls again; between two there are up to ``rest``
    frames of nothing.
    """
    levels = np.zeros((kinds, num_frames))
    start = int(rng.integers(0, rest, endpoint=True))
    while start < num_frames:
        length = int(rng.integers(*lengths, endpoint=True))
        ramp = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)) / 2.0
        stop = min(start + length, num_frames)
        levels[rng.integers(kinds), start:stop] = np.minimum(ramp, 1.0)[: stop - start]
        start += length + int(rng.integers(2, rest, endpoint=True))
    return levels


def _walk(rng: np.random.Generator, num_frames: int, size: float, crossing: bool) -> np.ndarray:
    """(F, 2) centres: slow drifting with bursts of 0.38 to 0.65 sizes a frame."""
    limits = np.array([WIDTH, HEIGHT], float)
    position = rng.uniform(0.15, 0.85, 2) * limits
    direction = rng.uniform(0, 2 * np.pi)
    if crossing:  # starts outside, heads inside, and may leave again
        edge = rng.integers(4)
        position[edge % 2] = -0.3 * size if edge < 2 else limits[edge % 2] + 0.3 * size
        direction = np.arctan2(*(limits * rng.uniform(0.3, 0.7, 2) - position)[::-1])
    slow = rng.uniform(0.05, 0.09) if crossing else rng.uniform(0.01, 0.05)
    burst = _episodes(rng, num_frames, 1, BURST_LENGTHS, rest=BURST_REST)[0] > 0
    fast = rng.uniform(0.38, 0.65)
    path = np.empty((num_frames, 2))
    for t in range(num_frames):
        path[t] = position
        step = size * (fast if burst[t] else slow)
        direction += rng.normal(0, 0.08)
        heading = np.array([np.cos(direction), np.sin(direction)])
        for axis in range(2) if not crossing or t > 4 else ():
            ahead = position[axis] + step * heading[axis]
            outside = not 0.1 * limits[axis] < ahead < 0.9 * limits[axis]
            if outside and (ahead - limits[axis] / 2) * heading[axis] > 0 and not crossing:
                heading[axis] *= -1
        direction = np.arctan2(heading[1], heading[0])
        position = position + step * heading
    return path


def make_track(rng: np.random.Generator, num_frames: int) -> Track:
    """Draw one object and its life of ``num_frames`` frames."""
    label = int(rng.integers(len(SHAPES) * len(TEXTURES)))
    sprite, outline = _draw_sprite(rng, label)
    size = rng.uniform(*SIZES)
    frames = np.arange(num_frames)
    breath = 1 + 0.1 * np.sin(frames * rng.uniform(0.05, 0.15) + rng.uniform(0, 6))
    fading, defocus, covering, squashing, turning = _episodes(
        rng, num_frames, 5, DIFFICULTY_LENGTHS, rest=DIFFICULTY_REST
    )
    turn = rng.normal(0, 0.01) + rng.uniform(0.15, 0.3) * rng.choice([-1, 1]) * turning
    return Track(
        label=label,
        sprite=sprite,
        outline=outline,
        centers=_walk(rng, num_frames, size, crossing=rng.random() < 0.2),
        sizes=size * breath,
        angles=rng.uniform(-0.4, 0.4) + np.cumsum(turn),
        squash=1 - rng.uniform(0.35, 0.55) * squashing,
        opacity=1 - rng.uniform(0.9, 0.98) * fading,
        defocus=rng.uniform(4.0, 7.0) * defocus,
        smear=np.full(num_frames, rng.uniform(0.3, 0.7)),
        occlusion=rng.uniform(0.7, 0.95) * covering,
        occluder_side=np.full(num_frames, rng.uniform(0, 2 * np.pi)),
    )


def _transform(track: Track, t: int) -> np.ndarray:
    """(2, 2) matrix from the outline's unit square to pixels."""
    cos, sin = np.cos(track.angles[t]), np.sin(track.angles[t])
    squash = np.diag([1.0, track.squash[t]])
    return np.array([[cos, -sin], [sin, cos]]) @ squash * track.sizes[t] / 2


def full_box(track: Track, t: int) -> np.ndarray:
    """(4,) xyxy extent of the object in frame ``t``, also where it is out of the image."""
    points = track.outline @ _transform(track, t).T + track.centers[t]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _motion_kernel(shift: np.ndarray) -> np.ndarray:
    """A line of the given (dx, dy) pixels to blur along; a single pixel for hardly any."""
    radius = int(np.ceil(np.abs(shift).max() / 2))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    ends = [tuple(np.round(radius + s * shift / 2).astype(int).tolist()) for s in (-1, 1)]
    cv2.line(kernel, *ends, 1.0)
    return kernel / kernel.sum()


def _object_layer(track: Track, t: int) -> np.ndarray:
    """(H, W, 4) float layer of the object: colour times opacity, opacity; blurred as it must."""
    half = _SPRITE / 2
    matrix = _transform(track, t) / half
    offset = track.centers[t] - matrix @ [half, half]
    premultiplied = track.sprite.copy()
    premultiplied[..., :3] *= premultiplied[..., 3:]
    layer = cv2.warpAffine(
        premultiplied, np.column_stack([matrix, offset]), (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR
    )
    displacement = track.centers[min(t + 1, len(track.centers) - 1)] - track.centers[t]
    shift = track.smear[t] * displacement
    if np.abs(shift).max() >= 1.5:
        layer = cv2.filter2D(layer, -1, _motion_kernel(shift), borderType=cv2.BORDER_CONSTANT)
    if track.defocus[t] > 0.3:
        layer = cv2.GaussianBlur(layer, (0, 0), track.defocus[t])
    return layer * track.opacity[t]


def _cover(layer: np.ndarray, track: Track, t: int) -> np.ndarray:
    """Cut off the share of the object that something of the background's look stands before."""
    if track.occlusion[t] <= 0:
        return layer
    x1, y1, x2, y2 = full_box(track, t)
    side = np.array([np.cos(track.occluder_side[t]), np.sin(track.occluder_side[t])])
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    extent = np.abs(side) @ [(x2 - x1) / 2, (y2 - y1) / 2]
    depth = (x - track.centers[t, 0]) * side[0] + (y - track.centers[t, 1]) * side[1]
    return layer * (depth < extent * (1 - 2 * track.occlusion[t]))[..., None]


def render_frame(
    background: np.ndarray, tracks: list[Track], t: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[SceneObject]]:
    """Draw frame ``t``: (H, W, 3) uint8 and the objects to be found in it."""
    image = background.copy()
    objects = []
    for track_id, track in enumerate(tracks):
        layer = _cover(_object_layer(track, t), track, t)
        image = layer[..., :3] + image * (1 - layer[..., 3:])
        full = full_box(track, t)
        box = np.round(np.clip(full, 0, [WIDTH - 1, HEIGHT - 1] * 2)).astype(int)
        area = np.prod(full[2:] - full[:2])
        if np.prod(np.maximum(box[2:] - box[:2], 0)) >= MIN_VISIBLE * area:
            occluded = bool(track.occlusion[t] > 0.2)
            objects.append(SceneObject(tuple(box.tolist()), track.label, track_id, occluded))
    noise = rng.normal(0, 0.015, image.shape)
    return (np.clip(image + noise, 0, 1) * 255).astype(np.uint8), objects


def _keep_apart(track: Track, other: Track) -> bool:
    """Whether two objects hardly ever overlap: nobody could say which is in front."""
    gaps = np.abs(track.centers - other.centers).max(axis=1)
    return bool(np.mean(gaps < 0.45 * (track.sizes + other.sizes)) <= 0.1)


def render_video(
    rng: np.random.Generator, num_frames: int
) -> list[tuple[np.ndarray, list[SceneObject]]]:
    """A whole video, a frame at a time: images and their objects."""
    margin = 40
    wide = make_background(rng, HEIGHT + 2 * margin, WIDTH + 2 * margin)
    phase, speed = rng.uniform(0, 6, 2), rng.uniform(0.02, 0.12, 2)
    tracks: list[Track] = []
    for _ in range(rng.integers(1, 4)):
        for _ in range(10):  # lives to try
            track = make_track(rng, num_frames)
            if all(_keep_apart(track, other) for other in tracks):
                tracks.append(track)
                break
    frames = []
    for t in range(num_frames):
        x, y = np.round(margin + margin * np.sin(phase + speed * t)).astype(int)
        frames.append(render_frame(wide[y : y + HEIGHT, x : x + WIDTH], tracks, t, rng))
    return frames


def render_still(rng: np.random.Generator) -> tuple[np.ndarray, list[SceneObject]]:
    """One image of up to eight objects that hardly overlap, each in a moment of its own life."""
    tracks: list[Track] = []
    for _ in range(rng.integers(4, 9)):
        track, middle = make_track(rng, 12), 6
        for _ in range(10):  # places to try
            center = rng.uniform(0.1, 0.9, 2) * (WIDTH, HEIGHT)
            apart = [np.abs(center - t.centers[middle]).max() for t in tracks]
            near = [0.45 * (track.sizes[middle] + t.sizes[middle]) for t in tracks]
            if all(a >= n for a, n in zip(apart, near, strict=True)):
                track.centers += center - track.centers[middle]
                tracks.append(track)
                break
    return render_frame(make_background(rng, HEIGHT, WIDTH), tracks, middle, rng)
