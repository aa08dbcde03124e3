"""Tables of figures in Markdown."""

import math

from d2_plugtrack.results.report import class_table, figure, protocol_table

PART = {"AP": {"cat": 1.0, "dog": 2.0}}
RESULTS = {
    "fgfa": {
        "mAP": 75.04,
        "AP": {"cat": 50.0, "dog": 100.0},
        "motion": {name: {"mAP": 10.0 * i, **PART} for i, name in enumerate(("slow", "medium"))},
        "area": {"small": {"mAP": math.nan, **PART}, "large": {"mAP": 7.26, **PART}},
    },
    "coco": {"mAP": math.nan, "AP": {"cat": math.nan, "dog": 33.333}},
}


def test_protocol_table():
    assert protocol_table(RESULTS).splitlines() == [
        "| protocol | mAP % | motion: slow | motion: medium | motion: fast "
        "| area: small | area: medium | area: large |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| fgfa | 75.0 | 0.0 | 10.0 | not run | no objects | not run | 7.3 |",
        "| coco | no objects |" + " not run |" * 6,
    ]


def test_class_table():
    assert class_table(RESULTS, ["coco", "mega", "fgfa"], ["dog", "cat"]).splitlines() == [
        "| class | coco | mega | fgfa |",
        "|---|---:|---:|---:|",
        "| dog | 33.3 | not run | 100.0 |",
        "| cat | no objects | not run | 50.0 |",
    ]


def test_nothing():
    assert len(protocol_table({}).splitlines()) == len(class_table({}, [], []).splitlines()) == 2
    assert [figure(None), figure(math.nan), figure(0.0)] == ["not run", "no objects", "0.0"]
