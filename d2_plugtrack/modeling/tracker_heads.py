"""TRACKER_HEADS: tracker heads by name, built from a config and the backbone's output shapes.

A tracker head is a sibling of ROI_HEADS: another registry, another key of the config. The modules
themselves are in ``core/tracker.py`` and know nothing of configs.
"""

from ..prerequisites import require_detectron2

require_detectron2()

from functools import partial

from detectron2.layers import NaiveSyncBatchNorm
from fvcore.common.registry import Registry

from ..build import BATCH_NORMS, build_tracker
from ..core.tracker import TrackerHead
from ..errors import UserError

TRACKER_HEADS = Registry("TRACKER_HEADS")
TRACKER_HEADS.__doc__ = "Callables ``(cfg, input_shape) -> TrackerHead`` by name."

# torch's own runs on GPUs only. "N": processes count by their regions, which may be none.
NORMS = {**BATCH_NORMS, "SyncBN": partial(NaiveSyncBatchNorm, stats_mode="N")}


def build_tracker_head(cfg, input_shape) -> TrackerHead:
    """The head named by ``MODEL.PLUGTRACK.NAME`` on a backbone of ``input_shape``.

    Args:
        cfg: a detectron2 config with the keys of ``add_plugtrack_config``.
        input_shape: map name: ShapeSpec, as from ``backbone.output_shape()``.

    Raises:
        UserError: no head of that name, or maps that the backbone does not have.
    """
    name = cfg.MODEL.PLUGTRACK.NAME
    if name not in TRACKER_HEADS:
        known = ", ".join(sorted(known for known, _ in TRACKER_HEADS))
        raise UserError(f"MODEL.PLUGTRACK.NAME {name}: expected one of {known}")
    return TRACKER_HEADS.get(name)(cfg, input_shape)


@TRACKER_HEADS.register()
def build_regression_tracker(cfg, input_shape) -> TrackerHead:
    """The paper's tracker (Sec. 4) on ``MODEL.PLUGTRACK.IN_FEATURES``."""
    return build_tracker(cfg, input_shape, NORMS)
