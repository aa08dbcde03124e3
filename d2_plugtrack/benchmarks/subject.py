"""The two sides that a benchmark of inference compares, from one config and one weights file."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from ..host import Host, open_host
from .forced_boxes import ForcedBoxes
from .reference import Reference, find_parts, open_reference


class Subject(NamedTuple):
    """What is measured, as a fresh process can be told."""

    config_file: str
    opts: Sequence[str]
    boxes: int | None  # forced on every frame; None: whatever the detector finds


def open_subject(subject: Subject) -> tuple[Host, nn.Module]:
    """The host of a config, and its detector's model for benchmarks to reach into."""
    host = open_host(subject.config_file, subject.opts)
    model = getattr(host.detector, "model", host.detector)
    _force_boxes(model, subject)
    return host, model


def open_stock(subject: Subject) -> Reference:
    """The image detector of the same config."""
    reference = open_reference(subject.config_file, subject.opts)
    _force_boxes(reference.model, subject)
    return reference


def _force_boxes(model: nn.Module, subject: Subject) -> None:
    if subject.boxes is None:
        return
    parts = find_parts(model)
    forced = ForcedBoxes(subject.boxes, parts.proposals, parts.classes, parts.background)
    forced.install(parts.rpn, parts.heads)
