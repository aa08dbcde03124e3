"""The rows of the ablation, what each of them runs, and the table."""

import math

import pytest
from yacs.config import CfgNode

from d2_plugtrack.ablation import (
    ABLATION_ROWS,
    build_ablation_runs,
    format_class_table,
    format_table,
)
from d2_plugtrack.config import add_plugtrack_config

NAMES = [
    "per frame",
    "Seq-NMS",
    "TFD(0.3) + Seq-NMS",
    "TFD(0.7) + Seq-NMS",
    "TFD(0.7) + Seq-Track-NMS",
    "TFD(0.7), online",
    "control: denser boxes",
    "control: no tracking",
]


@pytest.fixture
def cfg():
    cfg = CfgNode({name: CfgNode() for name in ("MODEL", "INPUT", "DATASETS", "SOLVER", "TEST")})
    cfg.OUTPUT_DIR = "output"
    add_plugtrack_config(cfg)
    return cfg


@pytest.fixture
def tracker():
    """Anything: it is only handed on."""
    return object()


def test_rows_and_their_order():
    assert [row.name for row in ABLATION_ROWS] == NAMES


def test_figures_of_the_paper():
    assert {row.name: (row.paper_light, row.paper_heavy) for row in ABLATION_ROWS} == {
        "per frame": (73.2, 76.2),
        "Seq-NMS": (75.5, None),
        "TFD(0.3) + Seq-NMS": (77.8, None),
        "TFD(0.7) + Seq-NMS": (78.6, 80.4),
        "TFD(0.7) + Seq-Track-NMS": (None, 81.1),
        "TFD(0.7), online": (None, None),
        "control: denser boxes": (None, None),
        "control: no tracking": (None, None),
    }


def summary(run):
    """(per frame, tracks, merge IoU, score above, NMS), (re-scored, from tracked boxes, online)."""
    p, r = run.pipeline, run.rescorer.rescoring
    how = (p.per_frame, p.tracker is not None, p.merge_threshold)
    return (*how, p.score_threshold, p.nms_threshold), (r.enabled, r.track_links, r.online)


def test_runs_have_the_settings_of_their_rows(cfg, tracker):
    runs = build_ablation_runs(cfg, tracker)
    assert {name: summary(run) for name, run in runs.items()} == {
        "per frame": ((True, False, 0.7, 1e-3, 0.45), (False, False, False)),
        "Seq-NMS": ((True, False, 0.7, 1e-3, 0.45), (True, False, False)),
        "TFD(0.3) + Seq-NMS": ((False, True, 0.3, 0.03, 0.45), (True, False, False)),
        "TFD(0.7) + Seq-NMS": ((False, True, 0.7, 0.03, 0.45), (True, False, False)),
        "TFD(0.7) + Seq-Track-NMS": ((False, True, 0.7, 0.03, 0.45), (True, True, False)),
        "TFD(0.7), online": ((False, True, 0.7, 0.03, 0.45), (True, False, True)),
        "control: denser boxes": ((True, False, 0.7, 1e-3, 0.7), (True, False, False)),
        "control: no tracking": ((False, False, 0.7, 0.03, 0.45), (True, False, False)),
    }
    assert list(runs) == NAMES
    assert len({id(run.pipeline) for run in runs.values()}) == len(NAMES)  # no state is shared
    for run in runs.values():
        assert run.pipeline.max_boxes == 300 and run.limits == (1e-3, 300)


def test_rows_do_not_depend_on_what_they_set(cfg, tracker):
    expected = {name: summary(run) for name, run in build_ablation_runs(cfg, tracker).items()}
    cfg.TEST.TFD.ENABLED, cfg.TEST.TFD.TRACK, cfg.TEST.TFD.MERGE_THRESH = False, False, 0.7
    cfg.TEST.SEQ_NMS.ENABLED, cfg.TEST.SEQ_NMS.TRACK_LINKS = False, False
    cfg.TEST.VID.MODE = "online"
    cfg.freeze()
    runs = build_ablation_runs(cfg, tracker)
    assert {name: summary(run) for name, run in runs.items()} == expected
    assert cfg.is_frozen() and cfg.TEST.TFD.ENABLED is False  # the config is only read


def test_other_keys_stay(cfg, tracker):
    cfg.TEST.TFD.IOU_SCORE_THRESH, cfg.TEST.SEQ_NMS.LINK_IOU, cfg.TEST.VID.SCORE_FLOOR = (
        0.7,
        0.6,
        0.1,
    )
    for run in build_ablation_runs(cfg, tracker).values():
        assert run.pipeline.iou_score_threshold == 0.7
        assert run.rescorer.rescoring.link_iou == 0.6 and run.limits.score_floor == 0.1


def results_of(values: dict[str, float]) -> dict[str, dict]:
    return {name: {"mAP": value, "AP": {}} for name, value in values.items()}


def test_table():
    values = {name: 40.0 + 1.25 * i for i, name in enumerate(NAMES)}
    values["control: denser boxes"] = 39.94
    values["control: no tracking"] = math.nan
    assert format_table(results_of(dict(reversed(values.items())))).splitlines() == [
        "| setting | paper, light | paper, heavy | mAP % | over per frame |",
        "|---|---:|---:|---:|---:|",
        "| per frame | 73.2 | 76.2 | 40.0 | +0.0 |",
        "| Seq-NMS | 75.5 |  | 41.2 | +1.2 |",
        "| TFD(0.3) + Seq-NMS | 77.8 |  | 42.5 | +2.5 |",
        "| TFD(0.7) + Seq-NMS | 78.6 | 80.4 | 43.8 | +3.8 |",
        "| TFD(0.7) + Seq-Track-NMS |  | 81.1 | 45.0 | +5.0 |",
        "| TFD(0.7), online |  |  | 46.2 | +6.2 |",
        "| control: denser boxes |  |  | 39.9 | -0.1 |",
        "| control: no tracking |  |  | no objects |  |",
    ]


def test_table_says_what_was_not_run():
    lines = format_table(results_of({"Seq-NMS": 50.0})).splitlines()
    assert lines[2:5] == [
        "| per frame | 73.2 | 76.2 | not run |  |",
        "| Seq-NMS | 75.5 |  | 50.0 |  |",
        "| TFD(0.3) + Seq-NMS | 77.8 |  | not run |  |",
    ]
    assert sum("not run" in line for line in format_table({}).splitlines()) == len(NAMES)


def test_class_table():
    results = {
        "per frame": {"mAP": 40.0, "AP": {"cat": 30.04, "dog": math.nan}},
        "control: no tracking": {"mAP": 50.0, "AP": {"cat": 60.0, "dog": math.nan}},
    }
    others = " | ".join(["not run"] * 6)
    assert format_class_table(results, ["cat", "dog"]).splitlines() == [
        f"| class | {' | '.join(NAMES)} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        f"| cat | 30.0 | {others} | 60.0 |",
        f"| dog | no objects | {others} | no objects |",
    ]
    assert len(format_class_table({}, []).splitlines()) == 2


def test_short_names_and_which_settings_need_a_tracker():
    assert {row.short_name: row.tracks for row in ABLATION_ROWS} == {
        "per-frame": False,
        "seq-nms": False,
        "tfd0.3": True,
        "tfd0.7": True,
        "tfd0.7-track": True,
        "tfd0.7-online": True,
        "denser-boxes": False,
        "no-tracking": False,
    }


def test_rows_share_the_memory_of_one(cfg):
    cfg.TEST.SEQ_NMS.MEMORY_MB = 70
    for rows in (ABLATION_ROWS, ABLATION_ROWS[:2]):
        runs = build_ablation_runs(cfg, object(), rows).values()
        offline = [run.rescorer for run in runs if not run.rescorer.rescoring.online]
        assert {r.spooling.memory_limit for r in offline} == {70_000_000 // len(rows)}


def test_some_rows_only(cfg):
    rows = [row for row in ABLATION_ROWS if not row.tracks]
    assert list(build_ablation_runs(cfg, None, rows)) == [row.name for row in rows]
