"""Figures by name, and a file that says what they are of."""

import json
import math

from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.video_evaluation import DetectionLimits, Scoring
from d2_plugtrack.results.figures import figures_of, without_nan, write_figures

NAN = float("nan")
RESULT = {"mAP": 50.0, "AP": {"cat": 50.0, "emu": NAN}}
RANGES = {
    "motion": {"slow": {"mAP": 70.0, "AP": {"cat": 70.0}}, "fast": {"mAP": NAN, "AP": {}}},
    "area": {"small": {"mAP": 30.0, "AP": {}}},
}
SCORING = Scoring(Rescoring(True, False, 0.5, 0.45, 0.01), DetectionLimits(1e-3, 300), None, "fgfa")


def test_figures_of_a_result_without_ranges():
    figures = figures_of(RESULT)
    assert list(figures) == ["mAP", "AP-cat", "AP-emu"]
    assert figures["mAP"] == figures["AP-cat"] == 50.0 and math.isnan(figures["AP-emu"])


def test_figures_of_every_range_that_there_is():
    figures = figures_of({**RESULT, **RANGES})
    ranges = ["mAP-motion-slow", "mAP-motion-fast", "mAP-area-small"]
    assert list(figures) == ["mAP", *ranges, "AP-cat", "AP-emu"]
    assert figures["mAP-motion-slow"] == 70.0 and figures["mAP-area-small"] == 30.0
    assert math.isnan(figures["mAP-motion-fast"])


def test_the_file_says_what_the_figures_are_of(tmp_path):
    write_figures(tmp_path / "results.json", "set", SCORING, figures_of(RESULT))
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "dataset": "set",
        "protocol": "fgfa",
        "rescoring": {
            **{"enabled": True, "track_links": False},
            **{"link_iou": 0.5, "nms_iou": 0.45, "min_score": 0.01, "online": False},
        },
        "limits": {"score_floor": 1e-3, "per_frame": 300},
        "vid": {"mAP": 50.0, "AP-cat": 50.0, "AP-emu": None},
    }


def test_nan_becomes_null_and_nothing_else_changes():
    assert without_nan({"a": NAN, "b": {"c": NAN, "d": 0.0}, "e": "nan", "f": None, "g": 3}) == {
        **{"a": None, "b": {"c": None, "d": 0.0}, "e": "nan", "f": None, "g": 3}
    }
