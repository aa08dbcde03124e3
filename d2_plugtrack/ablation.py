"""The paper's ablation (its Table 2) as configurations, and the table of what came out.

Every row is a handful of config keys; all rows of a detector share its detections, so that one
pass over a dataset gives them all. detectron2 is not needed here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .build import build_video_run
from .core.tracker import TrackerHead
from .core.video_evaluation import VideoRun


class AblationRow(NamedTuple):
    """One setting, and the paper's mAP (%) of it where it has one."""

    name: str
    keys: Mapping[str, Any]
    paper_light: float | None = None  # HRNet-W32
    paper_heavy: float | None = None  # ResNeXt101-FPN-DCN


def _rescoring(enabled: bool, track_links: bool = False) -> dict[str, Any]:
    return {"TEST.SEQ_NMS.ENABLED": enabled, "TEST.SEQ_NMS.TRACK_LINKS": track_links}


def _tfd(merge_threshold: float) -> dict[str, Any]:
    return {
        "TEST.TFD.ENABLED": True,
        "TEST.TFD.TRACK": True,
        "TEST.TFD.MERGE_THRESH": merge_threshold,
    }


_STOCK = {"TEST.TFD.ENABLED": False}

ABLATION_ROWS = (
    AblationRow("per frame", {**_STOCK, **_rescoring(False)}, 73.2, 76.2),
    AblationRow("Seq-NMS", {**_STOCK, **_rescoring(True)}, 75.5),
    AblationRow("TFD(0.3) + Seq-NMS", {**_tfd(0.3), **_rescoring(True)}, 77.8),
    AblationRow("TFD(0.7) + Seq-NMS", {**_tfd(0.7), **_rescoring(True)}, 78.6, 80.4),
    AblationRow(
        "TFD(0.7) + Seq-Track-NMS", {**_tfd(0.7), **_rescoring(True, True)}, paper_heavy=81.1
    ),
    # what more boxes alone give, so that tracking is not credited with it
    AblationRow(
        "control: denser boxes",
        {**_STOCK, **_rescoring(True), "TEST.PER_FRAME.NMS_THRESH": 0.7},
    ),
    # what classifying the refined boxes again gives by itself
    AblationRow(
        "control: no tracking",
        {"TEST.TFD.ENABLED": True, "TEST.TFD.TRACK": False, **_rescoring(True)},
    ),
)


def build_ablation_runs(cfg, tracker: TrackerHead) -> dict[str, VideoRun]:
    """A run for every row, by its name; keys that a row does not name stay as in ``cfg``."""
    runs = {}
    for row in ABLATION_ROWS:
        row_cfg = cfg.clone()
        row_cfg.defrost()
        row_cfg.merge_from_list([item for pair in row.keys.items() for item in pair])
        runs[row.name] = build_video_run(row_cfg, tracker)
    return runs


def format_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Results by row name, ``{"mAP": ...}`` each, as Markdown beside the paper's figures."""
    lines = [
        "| setting | paper, light | paper, heavy | mAP % | over per frame |",
        "|---|---:|---:|---:|---:|",
    ]
    base = results[ABLATION_ROWS[0].name]["mAP"]
    for row in ABLATION_ROWS:
        value = results[row.name]["mAP"]
        paper = " | ".join("" if p is None else f"{p}" for p in (row.paper_light, row.paper_heavy))
        lines.append(f"| {row.name} | {paper} | {value:.1f} | {value - base:+.1f} |")
    return "\n".join(lines)
