"""Config files and ``KEY VALUE`` pairs into a config, mistakes reported in one line.

For any yacs node: detectron2's, or that of a host without it (``config.py``). A file is data: tags
that ask for Python to be executed are refused.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING

import torch
import yaml

from .errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode


def merge_config(cfg: "CfgNode", config_file: str, opts: Sequence[str] = ()) -> None:
    """Merge a YAML file, then ``KEY VALUE`` pairs, into ``cfg``; choose its device.

    The device is CUDA where there is one and the CPU otherwise, unless the config names one.

    Raises:
        UserError: a file that is not there or not YAML, one with tags of Python in it or in what
            it is based on, a key that does not exist, a value of another type, or CUDA where there
            is none.
    """
    cfg.MODEL.DEVICE = ""
    with _mistakes_in(config_file or "--config-file"):
        cfg.merge_from_file(config_file, allow_unsafe=False)
    with _mistakes_in(" ".join(opts)):
        cfg.merge_from_list(list(opts))
    cfg.MODEL.DEVICE = cfg.MODEL.DEVICE or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        check_device(cfg.MODEL.DEVICE)
    except UserError as error:
        raise UserError(f"MODEL.DEVICE {error}") from error


def check_device(name: str) -> None:
    """Refuse, by its name, a device that torch does not know or this machine does not have.

    Raises:
        UserError: as said.
    """
    with _mistakes_in(name):
        device = torch.device(name)
    if device.type == "cuda":  # asked for without starting CUDA in this process
        if not torch.cuda.is_available():
            raise UserError(f"{name}: there is no CUDA here; cpu would do")
        count = torch.cuda.device_count()
        if device.index is not None and device.index >= count:
            raise UserError(f"{name}: this machine has {count} CUDA devices, numbered from 0")
    else:
        with _mistakes_in(name):
            torch.zeros(1, device=device).cpu()


def merge_opts(cfg: "CfgNode", opts: Sequence[str]) -> None:
    """Merge ``KEY VALUE`` pairs into ``cfg``, and nothing else; errors as of a config file."""
    with _mistakes_in(" ".join(opts)):
        cfg.merge_from_list(list(opts))


def merge_text(cfg: "CfgNode", text: str, source: str, keys: Sequence[str]) -> None:
    """Merge of a whole config, as ``cfg.dump()`` gave it, some keys with all that is below them.

    Args:
        source: what errors name.

    Raises:
        UserError: text that is no config, lacks a key, or has one that does not exist here.
    """
    with _mistakes_in(source):
        whole = yaml.safe_load(text)
        for key in keys:
            *nodes, name = key.split(".")
            try:
                value = reduce(getitem, [*nodes, name], whole)
            except KeyError:
                raise KeyError(f"expected the key {key}, found none") from None
            part = reduce(lambda inner, node: {node: inner}, reversed(nodes), {name: value})
            cfg.merge_from_other_cfg(type(cfg)(part))


def read_host(config_file: str) -> str:
    """The framework whose detector a config file describes: its own ``HOST``, or detectron2.

    Only this one key is looked at, and only in the file itself, not in its ``_BASE_``.

    Raises:
        UserError: a file that is not there or not YAML.
    """
    with _mistakes_in(config_file or "--config-file"), open(config_file, encoding="utf-8") as file:
        # All as text: detectron2 also takes files with tags that safe_load refuses.
        content = yaml.load(file, Loader=yaml.BaseLoader)
    return str(content.get("HOST", "detectron2")) if isinstance(content, dict) else "detectron2"


@contextmanager
def _mistakes_in(source: str) -> Iterator[None]:
    """What yacs, YAML and torch raise on a user's mistake, as a UserError about ``source``."""
    try:
        yield
    except (TypeError, AttributeError) as error:  # yacs on YAML that is a text, a list, a number
        raise UserError(f"{source}: expected config keys and their values: {error}") from error
    except (
        OSError,
        yaml.YAMLError,
        LookupError,
        ValueError,
        AssertionError,
        RuntimeError,
    ) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"{source}: {' '.join(str(reason).split())[:400]}") from error
