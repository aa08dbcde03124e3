"""How often video detection makes the host wait, beside the stock detector on the same frames."""

import warnings

import pytest
import torch

from d2_plugtrack.build import build_pipeline
from d2_plugtrack.core.detector import detect_frames
from tests.sync_counter import SyncCounter

MOST = 4  # waits of a frame beyond those of the stock detector


@pytest.fixture(scope="module")
def detectors(zoo):
    """(stock detector, PlugTrackRCNN of the same weights, pipeline that tracks everything on)."""
    zoo_cfg, build_random = zoo
    cfg = zoo_cfg("fpn")
    stock = build_random(zoo_cfg("fpn", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN"))
    model = build_random(cfg)
    model.load_state_dict(stock.state_dict(), strict=False)
    pipeline = build_pipeline(cfg, model.tracker)
    pipeline.iou_score_threshold = 0.0
    return stock, model, pipeline


def random_frames(count=4):
    return [{"image": torch.randint(0, 256, (3, 96, 128)).float()} for _ in range(count)]


@torch.no_grad()
def test_few_waits_beyond_those_of_the_stock_detector(detectors):
    stock, model, pipeline = detectors
    pipeline.reset()
    for number, frame in enumerate(random_frames()):
        with SyncCounter() as alone:
            (output,) = stock([frame])
        with SyncCounter() as video:
            (detected,) = detect_frames(model, model.tracker, [frame])
            result = pipeline.step(detected)
        assert len(output["instances"]) > 20 and len(result.boxes) > 20
        assert (len(result.mapped_boxes) > 20) == (number > 0)
        assert 0 < video.total <= alone.total + MOST, (video.calls, alone.calls)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.no_grad()
def test_few_waits_on_a_gpu(detectors):
    stock, model, pipeline = (d.cuda() if isinstance(d, torch.nn.Module) else d for d in detectors)
    pipeline.reset()
    for number, frame in enumerate(random_frames()):
        alone = gpu_waits(lambda frame=frame: stock([frame]))
        video = gpu_waits(
            lambda frame=frame: pipeline.step(detect_frames(model, model.tracker, [frame])[0])
        )
        if number >= 2:  # libraries may wait when they are used first
            assert video <= alone + MOST


def gpu_waits(call) -> int:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(w.message) for w in caught)
