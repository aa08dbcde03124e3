"""Options of the command line are keys of TEST.SPEED, and only those that are given."""

import argparse

import pytest
from yacs.config import CfgNode

from d2_plugtrack.config import add_torchvision_config
from d2_plugtrack.speed_options import add_speed_arguments, speed_opts


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
