"""Mistakes in config files and KEY VALUE pairs: one line that names file, key and cure."""

import pytest
import torch
from fvcore.common.config import CfgNode

from d2_plugtrack.config import add_torchvision_config
from d2_plugtrack.config_file import check_device, merge_config, merge_opts
from d2_plugtrack.errors import UserError


@pytest.fixture
def cfg():
    node = CfgNode()
    add_torchvision_config(node)
    return node


def refusal(function, *args) -> str:
    with pytest.raises(UserError) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_pairs_are_merged_in_order(cfg):
    merge_opts(cfg, ["SEED", "1", "OUTPUT_DIR", "a", "SEED", "2"])
    assert (cfg.SEED, cfg.OUTPUT_DIR) == (2, "a")
    merge_opts(cfg, [])
    assert cfg.SEED == 2


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            ["MODEL.WEIGHTS=w.pth"],
            "MODEL.WEIGHTS=w.pth: expected KEY VALUE, two words, as in MODEL.WEIGHTS w.pth",
        ),
        (["SEED", "1", "MODEL.WEIGHTS"], "MODEL.WEIGHTS: expected KEY VALUE pairs, found 3 words"),
        (
            ["SEED", "1", "MODEL.WEIGHT", "w"],
            "MODEL.WEIGHT w: Non-existent key: MODEL.WEIGHT; there is MODEL.WEIGHTS",
        ),
        (["NO.SUCH.THING", "1"], "NO.SUCH.THING 1: Non-existent key: NO.SUCH.THING"),
        (
            ["TEST.TFD.TRACK", "no"],
            "TEST.TFD.TRACK no: expected a value of type bool, such as True, found no (str)",
        ),
        (
            ["SEED", "0.5"],
            "SEED 0.5: expected a value of type int, such as 0, found 0.5 (float)",
        ),
    ],
)
def test_the_pair_that_is_wrong_is_named_alone(cfg, opts, message):
    assert refusal(merge_opts, cfg, opts) == message


@pytest.mark.parametrize(("value", "expected"), [("1", 1.0), ("-2", -2.0), ("0.25", 0.25)])
def test_a_whole_number_will_do_for_one_with_a_fraction(cfg, value, expected):
    merge_opts(cfg, ["TEST.SEQ_NMS.LINK_IOU", value, "SEED", "3"])
    found = cfg.TEST.SEQ_NMS.LINK_IOU
    assert found == expected and isinstance(found, float)
    assert isinstance(cfg.SEED, int)


def test_a_value_may_hold_an_equals_sign(cfg):
    merge_opts(cfg, ["OUTPUT_DIR", "runs/lr=1"])
    assert cfg.OUTPUT_DIR == "runs/lr=1"


def test_a_file_that_is_not_there_is_named_once(cfg, tmp_path):
    path = str(tmp_path / "a.yaml")
    assert refusal(merge_config, cfg, path) == f"{path}: No such file or directory"


def test_a_base_that_is_not_there_is_named_beside_the_file(cfg, tmp_path):
    (tmp_path / "a.yaml").write_text("_BASE_: b.yaml\n")
    path, base = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert refusal(merge_config, cfg, str(path)) == f"{path}: No such file or directory: {base}"


def test_a_file_with_an_unknown_key_names_one_like_it(cfg, tmp_path):
    (tmp_path / "a.yaml").write_text("MODEL: {PLUGTRACK: {IN_FEATURE: [p2]}}\n")
    message = refusal(merge_config, cfg, str(tmp_path / "a.yaml"))
    assert message.endswith("MODEL.PLUGTRACK.IN_FEATURE; there is MODEL.PLUGTRACK.IN_FEATURES")


def test_a_file_of_weights_is_no_config(cfg, tmp_path):
    (tmp_path / "a.pth").write_bytes(b"PK\x80\xff")
    message = refusal(merge_config, cfg, str(tmp_path / "a.pth"))
    assert "a.pth: expected a YAML file, found no text" in message


@pytest.mark.parametrize("name", ["meta", "mps", "xpu", "quantum", "0", "cuda:999"])
def test_a_device_that_cannot_be_used_is_refused(name):
    if name in ("mps", "xpu") and getattr(torch, name).is_available():
        pytest.skip(f"{name} is there")
    assert refusal(check_device, name).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["gpu", "0"])
def test_a_name_of_no_device_is_answered_with_names_of_devices(name):
    message = refusal(check_device, name)
    assert message == f"{name}: expected a device such as cpu, cuda or cuda:0"


def test_the_cpu_is_a_device():
    check_device("cpu")
