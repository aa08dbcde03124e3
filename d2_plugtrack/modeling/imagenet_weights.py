"""Starting weights of stage one: an ImageNet classifier's, into a detector's backbone.

They come from timm by name (``timm://hrnet_w32.ms_in1k``), or from a local file of the plain state
of a timm or torchvision classifier, and go into the *body* of the detector: an HRNet, or a
ResNe(X)t of detectron2, under an FPN or not, with the ``res5`` of a C4 head. Every tensor of the
body has to be in them and of its shape, but offsets of deformable layers: these, the FPN, the RPN
and the heads start as built. Both sources expect RGB images and ImageNet's mean and deviation
(INPUT.FORMAT, MODEL.PIXEL_MEAN, MODEL.PIXEL_STD).

Checkpoints of a whole detector are loaded by ``checkpoint.py``.
"""

from ..prerequisites import require_detectron2

require_detectron2()

import os
import re
from collections.abc import Mapping

from detectron2.modeling.backbone import ResNet
from torch import Tensor, nn

from ..checkpoint_file import read_checkpoint
from ..errors import UserError
from .hrnet import HRNetBackbone, import_timm

TIMM = "timm://"

# From detectron2's names of a ResNet's layers to those of timm and torchvision, in this order.
_RESNET_NAMES = (
    (r"^stem\.", ""),
    (r"^res(\d)\.", lambda stage: f"layer{int(stage[1]) - 1}."),
    (r"\bconv(\d)\.norm\.", r"bn\1."),
    (r"\bshortcut\.norm\.", "downsample.1."),
    (r"\bshortcut\.", "downsample.0."),
)


def is_imagenet_weights(source: str) -> bool:
    """Whether MODEL.WEIGHTS names a classifier's weights, and not a checkpoint of a detector.

    That is ``timm://MODEL_NAME``, and a local file of named tensors, and nothing else, none of
    which is called ``backbone.*``: a detector's checkpoint has its tensors one level down, in
    ``model``, or names of that kind. A file that cannot be read as such is none.
    """
    if source.startswith(TIMM):
        return True
    if source.endswith(".pkl") or not os.path.isfile(source):  # .pkl: detectron2's model zoo
        return False
    try:
        state = _read_file(source)
    except UserError:
        return False
    return not any(name.startswith("backbone.") for name in state)


def load_imagenet_weights(model: nn.Module, source: str) -> None:
    """Load a classifier's weights into the body of ``model``; a refused source leaves it as it was.

    Args:
        model: a GeneralizedRCNN, also in a DistributedDataParallel.
        source: ``timm://MODEL_NAME``, or the path of a .pth or .safetensors file.

    Raises:
        UserError: a body that is no HRNet or ResNet, no timm, no network or an unknown name, a file
            that cannot be read, or one of another architecture; the first of the keys is named.
    """
    model = getattr(model, "module", model)
    where = f"MODEL.WEIGHTS {source}"
    wanted = _wanted(model, where)
    state = _read_timm(source) if source.startswith(TIMM) else _read_file(source)
    _refuse_other_architectures(state, wanted, model.state_dict(), where)
    model.load_state_dict({key: state[name] for key, name in wanted.items()}, strict=False)


def backbone_bodies(model: nn.Module) -> dict[str, nn.Module]:
    """What an ImageNet classifier has weights for in a detector, by prefix of its names.

    The backbone, below its FPN where there is one, and the last stage in the head of a C4 detector.
    """
    bottom_up = getattr(model.backbone, "bottom_up", None)
    bodies = (
        {"backbone.": model.backbone} if bottom_up is None else {"backbone.bottom_up.": bottom_up}
    )
    res5 = getattr(getattr(model, "roi_heads", None), "res5", None)
    return bodies if res5 is None else {**bodies, "roi_heads.res5.": res5}


def body_keys(model: nn.Module) -> list[str]:
    """Names of the tensors in ``model`` that must be loaded before it trains: those of its bodies.

    Not offsets of deformable layers, which begin at zero, nor batch norm's counters.
    """
    keys = [
        prefix + name
        for prefix, body in backbone_bodies(model).items()
        for name in body.state_dict()
    ]
    return [k for k in keys if ".conv2_offset." not in k and not k.endswith("num_batches_tracked")]


# ---- inside ----------------------------------------------------------------------------------


def _wanted(model: nn.Module, where: str) -> dict[str, str]:
    """The classifier's name of every tensor in ``body_keys``."""
    prefix, body = next(iter(backbone_bodies(model).items()))
    if isinstance(body, HRNetBackbone):
        return {key: key.removeprefix(prefix + "net.") for key in body_keys(model)}
    if not isinstance(body, ResNet):
        raise UserError(
            f"{where}: expected the body of the backbone to be a ResNet or an HRNet, found "
            f"{type(body).__name__}"
        )
    return {
        key: resnet_source_name(key.removeprefix(prefix).removeprefix("roi_heads."))
        for key in body_keys(model)
    }


def resnet_source_name(name: str) -> str:
    """timm's and torchvision's name of a tensor in detectron2's ResNet (``stem.*``, ``res2.*``)."""
    for pattern, replacement in _RESNET_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _read_timm(source: str) -> dict[str, Tensor]:
    name = source.removeprefix(TIMM)
    timm = import_timm(f"MODEL.WEIGHTS {source}")
    if not (timm.is_model(name) and timm.models.is_model_pretrained(name)):
        raise UserError(
            f"MODEL.WEIGHTS {source}: expected a name in timm.list_pretrained(), for example "
            "timm://hrnet_w32.ms_in1k or timm://resnext101_32x4d.gluon_in1k"
        )
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises what its libraries raise
        raise UserError(
            f"MODEL.WEIGHTS {source}: timm could not get these weights ({_reason(error)}); where "
            f"there is a network, save timm.create_model({name!r}, pretrained=True).state_dict() "
            "with torch.save, and name that file"
        ) from error


def _read_file(path: str) -> dict[str, Tensor]:
    """The named tensors of a local file.

    Raises:
        UserError: no such file, or one with anything else in it.
    """
    if not os.path.isfile(path):
        raise UserError(f"MODEL.WEIGHTS {path}: no such file")
    try:
        state = _load(path)
        if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
            raise TypeError("something in it is not a tensor with a name")
    except Exception as error:  # unpickling a stranger's bytes can raise anything
        raise UserError(
            f"MODEL.WEIGHTS {path}: expected the state of a timm or torchvision classifier, .pth "
            f"or .safetensors: {_reason(error)}"
        ) from error
    return state


def _load(path: str) -> Mapping[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    return read_checkpoint(path)


def _refuse_other_architectures(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, str],
    own: Mapping[str, Tensor],
    where: str,
) -> None:
    names = set(wanted.values())
    missing = [name for name in wanted.values() if name not in state]
    misshapen = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[key].shape)}"
        for key, name in wanted.items()
        if name in state and state[name].shape != own[key].shape
    ]
    # A deeper network has all that is wanted, and more blocks in the same stages. What stands
    # beside them (a classifier, a stage that the detector does without) is not needed.
    used = {name.split(".")[0] for name in names}
    unused = [
        name
        for name in state
        if name.split(".")[0] in used
        and name not in names
        and not name.endswith("num_batches_tracked")
    ]
    problems = [
        f"{len(keys)} keys {what}, the first is {keys[0]}"
        for keys, what in (
            (missing, "missing"),
            (misshapen, "of another shape"),
            (unused, "without a place"),
        )
        if keys
    ]
    if problems:
        raise UserError(f"{where}: not weights of this backbone: {'; '.join(problems)}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
