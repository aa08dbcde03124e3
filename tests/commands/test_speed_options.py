"""Options of the command line are keys of TEST.SPEED, and only those that are given."""

import argparse
import runpy
from pathlib import Path

import pytest
from yacs.config import CfgNode

from d2_plugtrack.commands.speed_options import add_speed_arguments, speed_opts
from d2_plugtrack.config import add_torchvision_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs/TinyVID/plugtrack_tiny.yaml")


def parse(*words):
    parser = argparse.ArgumentParser()
    add_speed_arguments(parser)
    parser.add_argument("opts", nargs=argparse.REMAINDER)
    args = parser.parse_args(words)
    return [*speed_opts(args), *args.opts]


def test_nothing_given_is_nothing():
    assert parse() == []
    assert parse("MODEL.DEVICE", "cpu") == ["MODEL.DEVICE", "cpu"]


@pytest.mark.parametrize(
    ("words", "speed"),
    [
        (["--amp", "bf16"], ("bf16", False, False)),
        (["--amp", "fp16"], ("fp16", False, False)),
        (["--channels-last"], ("float32", True, False)),
        (["--compile"], ("float32", False, True)),
        (["--compile", "--channels-last", "--amp", "bf16"], ("bf16", True, True)),
        (["--amp", "bf16", "TEST.SPEED.PRECISION", "fp16"], ("fp16", False, False)),
    ],
)
def test_options_reach_their_keys(words, speed):
    cfg = CfgNode()
    add_torchvision_config(cfg)
    cfg.merge_from_list(parse(*words))
    keys = cfg.TEST.SPEED
    found = (keys.PRECISION, keys.CHANNELS_LAST, keys.COMPILE)
    assert found == speed


def test_a_precision_that_there_is_not(capsys):
    with pytest.raises(SystemExit):
        parse("--amp", "half")
    assert "bf16" in capsys.readouterr().err


# ---- scripts ---------------------------------------------------------------------------------


class Opened(Exception):
    """The keys that a script hands on; the rest of it is not run."""


def show_keys(config_file, opts, **others):
    raise Opened(opts)


@pytest.mark.parametrize("name", ["tools/ablation.py", "tools/eval_tracker.py"])
def test_tools_hand_them_on_before_their_keys(name, monkeypatch):
    main = runpy.run_path(str(ROOT / name))["main"]
    monkeypatch.setitem(main.__wrapped__.__globals__, "open_host", show_keys)
    with pytest.raises(Opened) as opened:
        main(["--config-file", CONFIG, "--dataset", "tiny_vid_test", "--amp", "bf16", "SEED", "3"])
    assert opened.value.args == (["TEST.SPEED.PRECISION", "bf16", "SEED", "3"],)


def test_evaluation_hands_them_on_before_its_keys(monkeypatch):
    import train_net

    monkeypatch.setattr(train_net, "load_config", show_keys)
    with pytest.raises(Opened) as opened:
        train_net.run(["--config-file", CONFIG, "--eval-only", "--channels-last", "SEED", "3"])
    assert opened.value.args == (["TEST.SPEED.CHANNELS_LAST", "True", "SEED", "3"],)
