"""PlugTrack: video object detection with a tracker plugged into a frozen detectron2 detector.

Importing this package imports neither torch nor detectron2 and registers nothing. The names below
are imported on first use, from the module that defines them; those that need detectron2 raise an
ImportError that says how to get it. ``import d2_plugtrack.plugin`` registers the parts with
detectron2.
"""

from importlib import import_module

__version__ = "0.1.0"

# The public name and the module that defines it (PEP 562).
_MODULE_OF_NAME = {
    "PlugTrackRCNN": "d2_plugtrack.modeling.plugtrack_rcnn",
    "VIDEvaluator": "d2_plugtrack.evaluation",
    "VideoPredictor": "d2_plugtrack.predictor",
    "add_plugtrack_config": "d2_plugtrack.config",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF_NAME[name]), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF_NAME})
