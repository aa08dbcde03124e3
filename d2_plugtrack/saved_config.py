"""The config with which something saved is evaluated: what needs no detector may change.

detectron2 is not needed: a config of either host will do.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .build import build_scoring, key_that_needs_tracking, needs_tracker
from .config import add_torchvision_config
from .config_file import merge_opts, merge_text
from .errors import UserError
from .results.run_folder import RUN_FILE, RunFolder

if TYPE_CHECKING:
    from yacs.config import CfgNode

# What may change once the detector has done its work; of a run's config no more is looked at,
# but for TEST.TFD, which says whether boxes were tracked.
FREE_KEYS = ("TEST.SEQ_NMS", "TEST.VID", "DATASETS.STRICT", "OUTPUT_DIR")
_KEYS_OF_RUN = (*FREE_KEYS, "TEST.TFD")


def config_of_run(run: RunFolder, opts: Sequence[str] = ()) -> "CfgNode":
    """What a run's config says of re-scoring and evaluation, then ``KEY VALUE`` pairs.

    Raises:
        UserError: a key that would need the detector, a mistake in the pairs, or links from tracked
            boxes of a run without.
    """
    cfg = _defaults()
    merge_text(cfg, run.config, f"{run.folder / RUN_FILE}, config", _KEYS_OF_RUN)
    return _finished(cfg, opts, str(run.folder))


def config_of_detections(path: str | Path, opts: Sequence[str] = ()) -> "CfgNode":
    """For a file of detections: no Seq-NMS unless a ``KEY VALUE`` pair asks for it.

    Raises as :func:`config_of_run` does.
    """
    cfg = _defaults()
    cfg.TEST.TFD.ENABLED = cfg.TEST.SEQ_NMS.ENABLED = cfg.TEST.SEQ_NMS.TRACK_LINKS = False
    return _finished(cfg, opts, str(path))


def _defaults() -> "CfgNode":
    from fvcore.common.config import CfgNode

    cfg = CfgNode()
    add_torchvision_config(cfg)  # the keys that are looked at are those of both hosts
    return cfg


def _finished(cfg: "CfgNode", opts: Sequence[str], source: str) -> "CfgNode":
    for key in opts[::2]:
        if not any(key == free or key.startswith(f"{free}.") for free in FREE_KEYS):
            raise UserError(
                f"{key}: expected a key of {', '.join(FREE_KEYS)}: what is saved stays as it "
                "is, and any other key needs the detector again"
            )
    merge_opts(cfg, opts)
    needing = key_that_needs_tracking(build_scoring(cfg).rescoring)
    if needing and not needs_tracker(cfg):
        key, value = needing
        found = "True" if value == "False" else cfg.TEST.VID.MODE
        raise UserError(f"{key} {found}: expected {value}, {source} has no tracked boxes")
    return cfg
