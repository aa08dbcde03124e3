"""Config files and ``KEY VALUE`` pairs into a config, mistakes reported in one line.

For any yacs node: detectron2's, or that of a host without it (``config.py``). A file is data: tags
that ask for Python to be executed are refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
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
            it is based on, a key that does not exist, a value of another type, or a device that
            there is not.
    """
    cfg.MODEL.DEVICE = ""
    with _mistakes_in(config_file or "--config-file", cfg):
        cfg.merge_from_file(config_file, allow_unsafe=False)
    merge_opts(cfg, opts)
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
    try:
        device = torch.device(name)
    except RuntimeError as error:  # which lists every device that torch has heard of
        raise UserError(f"{name}: expected a device such as cpu, cuda or cuda:0") from error
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
    """Merge ``KEY VALUE`` pairs into ``cfg``, and nothing else; an error names its pair.

    A whole number will do where the key has one with a fraction, which yacs refuses.
    """
    for word in opts[::2]:
        key, is_joined, value = word.partition("=")
        if is_joined:
            raise UserError(f"{word}: expected KEY VALUE, two words, as in {key} {value}")
    if len(opts) % 2:
        raise UserError(f"{opts[-1]}: expected KEY VALUE pairs, found {len(opts)} words")
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        with _mistakes_in(f"{key} {value}", cfg):
            cfg.merge_from_list([key, _as_float(cfg, key, value)])


def _as_float(cfg: "CfgNode", key: str, value: str) -> str:
    is_whole = re.fullmatch(r"[+-]?\d+", value)
    try:
        present = reduce(getitem, key.split("."), cfg)
    except (KeyError, TypeError):  # merging says so
        return value
    return f"{value}.0" if is_whole and isinstance(present, float) else value


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
def _mistakes_in(source: str, cfg: "CfgNode | None" = None) -> Iterator[None]:
    """What yacs, YAML and torch raise on a user's mistake, as a UserError about ``source``.

    Where it is a key that ``cfg`` does not have, one of its keys that looks like it is named.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:  # yacs on YAML that is a text, a list, a number
        raise UserError(f"{source}: expected config keys and their values: {error}") from error
    except OSError as error:
        other = "" if error.filename in (None, source) else f": {error.filename}"
        raise UserError(f"{source}: {error.strerror or error}{other}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: expected a YAML file, found no text: {error.reason}") from error
    except (yaml.YAMLError, LookupError, ValueError, AssertionError, RuntimeError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error
        message = _plainly(" ".join(str(reason).split())[:400])
        message = message.removeprefix(f"{source.partition(' ')[0]}: ")  # a pair's key, once
        raise UserError(f"{source}: {message}{_like_it(message, cfg or {})}") from error


def _plainly(message: str) -> str:
    """yacs's words about a value of another type in ours, any other message as it is."""
    return re.sub(
        r"Type mismatch \(<class '(\w+)'> vs. <class '(\w+)'>\) with values \((.*) vs. (.*)\) "
        r"for config key: (\S+)",
        r"\5: expected a value of type \1, such as \3, found \4 (\2)",
        message,
    )


def _like_it(message: str, cfg: Mapping) -> str:
    unknown = re.search(r"Non-existent (?:config )?key: (\S+)", message)
    close = get_close_matches(unknown[1], _key_names(cfg), 1, 0.8) if unknown else []
    return f"; there is {close[0]}" if close else ""


def _key_names(cfg: Mapping, prefix: str = "") -> Iterator[str]:
    for name, value in cfg.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from _key_names(value, f"{prefix}{name}.")
