"""The paper's ablation (its Table 2) as configurations, and the tables of what came out.

Every row is a handful of config keys; all rows of a detector share its detections, so that one
pass over a dataset gives them all. detectron2 is not needed here.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .build import build_spooling, build_video_run
from .core.rescoring import Mode
from .core.tracker import TrackerHead
from .core.video_evaluation import VideoRun
from .results.report import class_table, figure

Results = Mapping[str, Mapping[str, Any]]  # row name: {"mAP": %, "AP": {class name: %}}


class AblationRow(NamedTuple):
    """One setting, and the paper's mAP (%) of it where it has one."""

    name: str
    short_name: str  # for the command line
    keys: Mapping[str, Any]
    paper_light: float | None = None  # HRNet-W32
    paper_heavy: float | None = None  # ResNeXt101-FPN-DCN

    @property
    def tracks(self) -> bool:
        """Whether the setting needs a trained tracker."""
        return self.keys["TEST.TFD.ENABLED"] and self.keys["TEST.TFD.TRACK"]


def _rescoring(enabled: bool, track_links: bool = False, mode: Mode = "offline") -> dict[str, Any]:
    return {
        "TEST.SEQ_NMS.ENABLED": enabled,
        "TEST.SEQ_NMS.TRACK_LINKS": track_links,
        "TEST.VID.MODE": mode,
    }


def _tfd(merge_threshold: float) -> dict[str, Any]:
    return {
        "TEST.TFD.ENABLED": True,
        "TEST.TFD.TRACK": True,
        "TEST.TFD.MERGE_THRESH": merge_threshold,
    }


_STOCK = {"TEST.TFD.ENABLED": False}

ABLATION_ROWS = (
    AblationRow("per frame", "per-frame", {**_STOCK, **_rescoring(False)}, 73.2, 76.2),
    AblationRow("Seq-NMS", "seq-nms", {**_STOCK, **_rescoring(True)}, 75.5),
    AblationRow("TFD(0.3) + Seq-NMS", "tfd0.3", {**_tfd(0.3), **_rescoring(True)}, 77.8),
    AblationRow("TFD(0.7) + Seq-NMS", "tfd0.7", {**_tfd(0.7), **_rescoring(True)}, 78.6, 80.4),
    AblationRow(
        "TFD(0.7) + Seq-Track-NMS",
        "tfd0.7-track",
        {**_tfd(0.7), **_rescoring(True, True)},
        paper_heavy=81.1,
    ),
    # what can be known of a frame when it comes
    AblationRow(
        "TFD(0.7), online", "tfd0.7-online", {**_tfd(0.7), **_rescoring(True, mode="online")}
    ),
    # what more boxes alone give, so that tracking is not credited with it
    AblationRow(
        "control: denser boxes",
        "denser-boxes",
        {**_STOCK, **_rescoring(True), "TEST.PER_FRAME.NMS_THRESH": 0.7},
    ),
    # what classifying the refined boxes again gives by itself
    AblationRow(
        "control: no tracking",
        "no-tracking",
        {"TEST.TFD.ENABLED": True, "TEST.TFD.TRACK": False, **_rescoring(True)},
    ),
)


def build_ablation_runs(
    cfg, tracker: TrackerHead | None, rows: Sequence[AblationRow] = ABLATION_ROWS
) -> dict[str, VideoRun]:
    """A run for every row, by its name; keys that a row does not name stay as in ``cfg``.

    The rows run side by side and share ``TEST.SEQ_NMS.MEMORY_MB``.

    Args:
        tracker: may be None where no row tracks.
    """
    build_spooling(cfg)  # refuses a limit by the name and value that were given
    runs = {}
    for row in rows:
        row_cfg = cfg.clone()
        row_cfg.defrost()
        row_cfg.merge_from_list([item for pair in row.keys.items() for item in pair])
        row_cfg.TEST.SEQ_NMS.MEMORY_MB = cfg.TEST.SEQ_NMS.MEMORY_MB / len(rows)
        runs[row.name] = build_video_run(row_cfg, tracker)
    return runs


def format_table(results: Results) -> str:
    """Every setting as Markdown, beside the paper's figures (its Table 2).

    A setting that is not in ``results`` says so; where the paper has no figure the cell is empty.
    """
    lines = [
        "| setting | paper, light | paper, heavy | mAP % | over per frame |",
        "|---|---:|---:|---:|---:|",
    ]
    base = results.get(ABLATION_ROWS[0].name, {"mAP": math.nan})["mAP"]
    for row in ABLATION_ROWS:
        paper = " | ".join("" if p is None else f"{p}" for p in (row.paper_light, row.paper_heavy))
        value = results[row.name]["mAP"] if row.name in results else None
        gain = "" if value is None or math.isnan(value - base) else f"{value - base:+.1f}"
        lines.append(f"| {row.name} | {paper} | {figure(value)} | {gain} |")
    return "\n".join(lines)


def format_class_table(results: Results, class_names: Sequence[str]) -> str:
    """AP of every class in every setting as Markdown (the settings of the paper's Table 6)."""
    return class_table(results, [row.name for row in ABLATION_ROWS], class_names)
