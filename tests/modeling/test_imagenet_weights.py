"""A classifier's weights in a detector: its own features, or a refusal that says why."""

import sys

import pytest
import timm
import torch
import torch.nn.functional as F
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_backbone
from safetensors.torch import save_file
from torch import nn

from d2_plugtrack.errors import UserError
from d2_plugtrack.modeling.imagenet_weights import (
    body_keys,
    is_imagenet_weights,
    load_imagenet_weights,
)
from d2_plugtrack.plugin import load_config

CONFIGS = "configs/ImageNetVID/faster_rcnn_"
SMALL = {
    "hrnet": ["MODEL.HRNET.NAME", "hrnet_w18_small"],
    "resnet": [
        *("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64),
        *("MODEL.RESNETS.NUM_GROUPS", 1, "MODEL.RESNETS.DEFORM_ON_PER_STAGE", [False] * 4),
        *("MODEL.FPN.OUT_CHANNELS", 8),
    ],
}
FILES = {"hrnet": "hrnet_w32", "resnet": "resnext101_fpn_dcn"}
CLASSIFIERS = {"hrnet": "hrnet_w18_small", "resnet": "resnet18"}


class Detector(nn.Module):
    """A backbone, and as much of a detector besides as matters here."""

    def __init__(self, cfg, res5: nn.Module | None = None):
        super().__init__()
        self.backbone = build_backbone(cfg)
        self.roi_heads = nn.Module()
        self.roi_heads.predictor = nn.Linear(3, 2)
        if res5 is not None:
            self.roi_heads.res5 = res5


@pytest.fixture
def build(request):
    """Makes a small detector, ``build(kind, KEY, VALUE, ...)``."""

    def build(kind: str, *opts, res5: nn.Module | None = None) -> Detector:
        path = request.config.rootpath / f"{CONFIGS}{FILES[kind]}.yaml"
        cfg = load_config(str(path), ["MODEL.DEVICE", "cpu"])
        cfg.merge_from_list([*SMALL[kind], *opts])
        return Detector(cfg, res5)

    return build


def randomized(classifier: nn.Module) -> nn.Module:
    """With statistics of batch norm as after training."""
    for name, value in classifier.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:  # norms' weights and all biases
            value.uniform_(0.4, 0.8)
    return classifier.eval()


@pytest.fixture(scope="module")
def classifiers():
    return {
        kind: randomized(timm.create_model(name, pretrained=False, num_classes=7))
        for kind, name in CLASSIFIERS.items()
    }


@pytest.fixture
def state(classifiers):
    return classifiers["resnet"].state_dict()


def saved(state, tmp_path, name="weights.pth") -> str:
    path = str(tmp_path / name)
    save = save_file if name.endswith(".safetensors") else torch.save
    save(dict(state), path)
    return path


def resnet_stages(classifier: nn.Module, images) -> dict:
    """Outputs of a timm or torchvision ResNet's stages, by detectron2's names."""
    c = classifier
    x = F.max_pool2d(F.relu(c.bn1(c.conv1(images))), 3, 2, 1)
    maps = {}
    for i in range(1, 5):
        maps[f"res{i + 1}"] = x = getattr(c, f"layer{i}")(x)
    return maps


def assert_same_stages(body, classifier):
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected, got = resnet_stages(classifier, images), body.eval()(images)
    assert len(got) >= 3
    for name, value in got.items():
        assert torch.allclose(value, expected[name], atol=1e-4 * expected[name].abs().max())


def refusal(model, source) -> str:
    """The message; the model must be as it was."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_imagenet_weights(model, source)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert "\n" not in str(error.value) and f"MODEL.WEIGHTS {source}" in str(error.value)
    return str(error.value)


# ---- the classifier's features ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_a_resnet_gives_the_classifiers_features(build, classifiers, tmp_path, name, norm):
    model = build("resnet", "MODEL.RESNETS.NORM", norm)
    others = {k: v.clone() for k, v in model.state_dict().items() if "bottom_up" not in k}
    assert "backbone.fpn_lateral3.weight" in others
    load_imagenet_weights(model, saved(classifiers["resnet"].state_dict(), tmp_path, name))
    assert_same_stages(model.backbone.bottom_up, classifiers["resnet"])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in others.items())


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_hrnet_gives_the_classifiers_features(build, classifiers, tmp_path, norm):
    model = build("hrnet", "MODEL.HRNET.NORM", norm)
    path = saved(classifiers["hrnet"].state_dict(), tmp_path)
    assert is_imagenet_weights(path)
    load_imagenet_weights(model, path)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        x = classifiers["hrnet"]
        x = x.stages(x.act2(x.bn2(x.conv2(x.act1(x.bn1(x.conv1(images)))))))
        got = model.backbone.eval()(images)["hrnet"]
    expected = [F.max_pool2d(x[0], 2), x[1]]
    expected += [F.interpolate(m, size=x[1].shape[-2:], mode="nearest") for m in x[2:]]
    assert torch.allclose(got, torch.cat(expected, 1), atol=1e-4)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_bottlenecks_in_groups_as_both_libraries_have_them(build, tmp_path, library):
    import torchvision

    make = {
        "timm": lambda: timm.create_model("resnext50_32x4d", pretrained=False, num_classes=2),
        "torchvision": lambda: torchvision.models.resnext50_32x4d(num_classes=2),
    }[library]
    classifier = randomized(make())
    groups = ["MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.RES2_OUT_CHANNELS", 256]
    model = build("resnet", *groups, "MODEL.RESNETS.NUM_GROUPS", 32)
    load_imagenet_weights(model, saved(classifier.state_dict(), tmp_path))
    assert_same_stages(model.backbone.bottom_up, classifier)


def test_the_last_stage_of_a_c4_detector_is_in_its_head(classifiers, state, tmp_path, build):
    from detectron2.modeling.backbone.resnet import BasicBlock, ResNet

    stage = ResNet.make_stage(
        BasicBlock, 2, stride_per_block=[2, 1], in_channels=256, out_channels=512, norm="FrozenBN"
    )
    model = build(
        "resnet",
        *("MODEL.BACKBONE.NAME", "build_resnet_backbone"),
        *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4"]),
        res5=nn.Sequential(*stage),
    )
    load_imagenet_weights(model, saved(state, tmp_path))
    assert_same_stages(model.backbone, classifiers["resnet"])
    with torch.no_grad():
        maps = resnet_stages(classifiers["resnet"], torch.randn(1, 3, 64, 64))
        got = model.roi_heads.res5(maps["res4"])
    assert torch.allclose(got, maps["res5"], atol=1e-4 * maps["res5"].abs().max())


@pytest.mark.parametrize(
    "config, name",
    [("hrnet_w32", "hrnet_w32"), ("resnext101_fpn_dcn", "resnext101_32x4d")],
)
def test_the_papers_backbones_are_covered(request, monkeypatch, config, name):
    """Names and shapes at full size, without a number: what the configs' addresses would load."""
    with torch.device("meta"):
        model = Detector(load_config(str(request.config.rootpath / f"{CONFIGS}{config}.yaml")))
        classifier = timm.create_model(name, pretrained=False)
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: asked.append((a, k)) or classifier)
    loaded = {}
    monkeypatch.setattr(model, "load_state_dict", lambda state, strict: loaded.update(state))
    source = f"timm://{name}.{'ms_in1k' if 'hrnet' in name else 'gluon_in1k'}"
    load_imagenet_weights(model, source)
    assert asked == [((source.removeprefix("timm://"),), {"pretrained": True})]
    assert sorted(loaded) == sorted(body_keys(model))
    left = set(model.state_dict()) - set(loaded)
    body = {k for k in left if k.startswith(("backbone.net.", "backbone.bottom_up."))}
    # what starts as built in the body: offsets; and batch norm's counters
    assert {k.split(".")[-2] for k in body if "batches_tracked" not in k} <= {"conv2_offset"}
    assert ("resnext" in name) == any("conv2_offset" in k for k in body)


def test_offsets_of_deformable_layers_start_as_built(build, tmp_path):
    keys = "MODEL.RESNETS"
    model = build(
        "resnet",
        *(f"{keys}.DEPTH", 50, f"{keys}.RES2_OUT_CHANNELS", 256, f"{keys}.NUM_GROUPS", 32),
        *(f"{keys}.DEFORM_ON_PER_STAGE", [False, False, False, True]),
    )
    classifier = timm.create_model("resnext50_32x4d", pretrained=False, num_classes=2)
    load_imagenet_weights(model, saved(classifier.state_dict(), tmp_path))
    block = model.backbone.bottom_up.res5[1]
    assert torch.equal(block.conv2.weight, classifier.layer4[1].conv2.weight)
    assert not block.conv2_offset.weight.any() and not block.conv2_offset.bias.any()


# ---- refusals ---------------------------------------------------------------------------------


def test_a_key_missing_or_misshapen_is_named(build, state, tmp_path):
    model = build("resnet")
    missing = {k: v for k, v in state.items() if k != "layer2.0.downsample.1.running_var"}
    message = refusal(model, saved(missing, tmp_path))
    assert "1 keys missing, the first is layer2.0.downsample.1.running_var" in message
    wide = {**state, "layer1.0.bn1.bias": torch.zeros(65)}
    message = refusal(model, saved(wide, tmp_path))
    assert "1 keys of another shape, the first is layer1.0.bn1.bias (65,) for (64,)" in message


def test_a_deeper_network_is_refused(build, state, tmp_path):
    deeper = {**state, "layer3.2.conv1.weight": state["layer3.1.conv1.weight"]}
    message = refusal(build("resnet"), saved(deeper, tmp_path))
    assert "1 keys without a place, the first is layer3.2.conv1.weight" in message


def test_counters_of_batch_norm_do_not_matter(build, state, tmp_path):
    without = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    load_imagenet_weights(build("resnet", "MODEL.RESNETS.NORM", "BN"), saved(without, tmp_path))


def test_another_architecture_is_refused(build, classifiers, tmp_path):
    hrnet = refusal(build("resnet"), saved(classifiers["hrnet"].state_dict(), tmp_path))
    assert "keys missing" in hrnet
    assert "of another shape, the first is conv1.weight (64, 3, 3, 3) for (64, 3, 7, 7)" in hrnet
    resnet = refusal(build("hrnet"), saved(classifiers["resnet"].state_dict(), tmp_path))
    assert "of another shape, the first is conv1.weight (64, 3, 7, 7) for (64, 3, 3, 3)" in resnet


def test_a_body_of_another_kind_is_refused(state, tmp_path, build):
    model = build("resnet")
    model.backbone = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert "to be a ResNet or an HRNet, found Sequential" in refusal(model, saved(state, tmp_path))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x80\x02]q\x00.", None])
def test_a_file_that_is_none_is_refused(build, tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    message = refusal(build("resnet"), str(path))
    assert ("no such file" if content is None else "expected the state of a timm") in message
    assert not is_imagenet_weights(str(path))


@pytest.mark.parametrize("name", ["resnet_18", "hrnet_w32.no_such_tag", "", "resnet18/../x"])
def test_an_unknown_name_is_refused(build, name):
    assert "expected a name in timm.list_pretrained()" in refusal(build("resnet"), f"timm://{name}")


def test_without_a_network(build, monkeypatch):
    def create_model(name, pretrained):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", create_model)
    message = refusal(build("resnet"), "timm://resnet18.a1_in1k")
    assert "timm could not get these weights (Name or service not known)" in message
    assert "save timm.create_model('resnet18.a1_in1k', pretrained=True).state_dict()" in message


def test_without_timm(build, monkeypatch):
    model = build("resnet")
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "needs timm: pip install" in refusal(model, "timm://resnet18.a1_in1k")


def test_names_in_the_configs_are_timms():
    known = timm.list_pretrained()
    assert {"hrnet_w32.ms_in1k", "resnext101_32x4d.gluon_in1k"} <= set(known)


# ---- which kind of file -----------------------------------------------------------------------


def test_a_classifiers_weights_are_told_from_a_detectors(build, state, tmp_path):
    model = build("resnet")
    assert is_imagenet_weights("timm://resnet18.a1_in1k")
    assert is_imagenet_weights(saved(state, tmp_path))
    assert is_imagenet_weights(saved(state, tmp_path, "weights.safetensors"))
    DetectionCheckpointer(model, str(tmp_path)).save("detector")
    for path in (
        str(tmp_path / "detector.pth"),
        saved(model.state_dict(), tmp_path, "plain.pth"),
        saved({"model": state}, tmp_path, "deeper.pth"),
        str(tmp_path / "absent.pth"),
        str(tmp_path),
        "detectron2://ImageNetPretrained/MSRA/R-50.pkl",
        "",
    ):
        assert not is_imagenet_weights(path), path
