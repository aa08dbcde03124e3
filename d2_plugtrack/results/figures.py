"""The figures of an evaluation by name, and the file that says what they are of."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.video_evaluation import Scoring
from ..outputs import write_json


def figures_of(result: Mapping[str, Any]) -> dict[str, float]:
    """One level of names from a result of ``mean_average_precision``, in percent.

    ``mAP``, then ``mAP-motion-slow`` and the like for every range that there is, then the classes:
    ``AP-<class>``. NaN where there is no ground truth.
    """
    figures = {"mAP": result["mAP"]}
    for kind in ("motion", "area"):
        for name, of_range in result.get(kind, {}).items():
            figures[f"mAP-{kind}-{name}"] = of_range["mAP"]
    return {**figures, **{f"AP-{name}": value for name, value in result["AP"].items()}}


def write_figures(
    path: str | Path, dataset: str, scoring: Scoring, figures: Mapping[str, float]
) -> None:
    """Write ``{"vid": figures}`` with what they are of: dataset, protocol, re-scoring and limits.

    Raises:
        UserError: the file cannot be written.
    """
    about = {
        "dataset": dataset,
        "protocol": scoring.protocol,
        "rescoring": scoring.rescoring._asdict(),
        "limits": scoring.limits._asdict(),
    }
    write_json(path, {**about, "vid": without_nan(figures)})


def without_nan(value: Any) -> Any:
    """The same with None for NaN, the AP of a class without ground truth: JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
