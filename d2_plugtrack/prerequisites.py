"""The one prerequisite that pip cannot resolve by name: where detectron2 comes from.

detectron2 is not on PyPI, and nobody owns its name there, so that setup.py must not list it. A
module that needs it calls :func:`require_detectron2` above its imports from detectron2: who lacks
it then reads the command that installs it, and who has it no warning of torch's about it. This
module itself imports neither.
"""

import logging
import warnings
from importlib.util import find_spec

# The Makefile's DETECTRON2 is the same address; a test compares them.
DETECTRON2_ADDRESS = (
    "git+https://github.com/facebookresearch/detectron2.git"
    "@02b5c4e295e990042a714712c21dc79b731e8833"
)

# --no-build-isolation: its build compiles against the torch that is installed. setuptools: its
# model_zoo imports pkg_resources, which setuptools 81 removed.
DETECTRON2_INSTALL = (
    'pip install "setuptools<81" wheel ninja && '
    f'pip install --no-build-isolation "detectron2 @ {DETECTRON2_ADDRESS}"'
)


def require_detectron2() -> None:
    """Raise an ImportError that says how to get detectron2 where it is not installed."""
    spec = find_spec("detectron2")
    # A folder of that name without __init__.py, such as a checkout, is found too, without origin.
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"detectron2 is not installed; get it, after torch, with: {DETECTRON2_INSTALL}",
            name="detectron2",
        )
    _quiet_torch()


def _quiet_torch() -> None:
    """Leave out what torch says of detectron2's own calls: who reads it can do nothing about it."""
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    warnings.filterwarnings("ignore", "torch.meshgrid: in an upcoming release", UserWarning)
    logging.getLogger("torch.fx._symbolic_trace").addFilter(_is_for_users)


def _is_for_users(record: logging.LogRecord) -> bool:
    return "is_fx_tracing will return true" not in str(record.msg)
