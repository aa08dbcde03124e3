"""Tables of average precision in Markdown.

A result is what ``mean_average_precision`` gives: ``{"mAP": %, "AP": {class: %}}``, with the same
for every range under ``motion`` and ``area``. What has no ground truth is NaN and says so, what was
not measured is missing and says so too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

NOT_RUN = "not run"
NO_OBJECTS = "no objects"

RANGES = {"motion": ("slow", "medium", "fast"), "area": ("small", "medium", "large")}

Result = Mapping[str, Any]


def protocol_table(results: Mapping[str, Result]) -> str:
    """mAP by protocol: of everything, and of the objects of each speed and size."""
    ranges = [(kind, name) for kind, names in RANGES.items() for name in names]
    lines = [
        f"| protocol | mAP % | {' | '.join(f'{kind}: {name}' for kind, name in ranges)} |",
        "|---|" + "---:|" * (1 + len(ranges)),
    ]
    for protocol, result in results.items():
        parts = [result.get(kind, {}).get(name, {}).get("mAP") for kind, name in ranges]
        cells = map(figure, [result["mAP"], *parts])
        lines.append(f"| {protocol} | {' | '.join(cells)} |")
    return "\n".join(lines)


def class_table(
    results: Mapping[str, Result], names: Sequence[str], class_names: Sequence[str]
) -> str:
    """AP of every class, a column for each of the names; one without a result says so."""
    lines = [f"| class | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for class_name in class_names:
        found = [results[name]["AP"][class_name] if name in results else None for name in names]
        lines.append(f"| {class_name} | {' | '.join(map(figure, found))} |")
    return "\n".join(lines)


def figure(value: float | None) -> str:
    """A cell: a figure, None for what was not measured, NaN for what has no ground truth."""
    if value is None:
        return NOT_RUN
    return NO_OBJECTS if math.isnan(value) else f"{value:.1f}"
