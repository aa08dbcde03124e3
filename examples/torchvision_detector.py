#!/usr/bin/env python3
"""From a frozen torchvision detector to an annotated video, without detectron2.

A tracker is trained on video frames with track ids, on top of a detector that stays as it is; the
two then go through a clip. The detector here is the tiny one of the tiny VID set, and the videos
are generated on the spot; with a detector and videos of your own, change ``build_detector`` and
``load_videos``.

Examples:
    python examples/torchvision_detector.py --output output/example
    python examples/torchvision_detector.py --steps 5 --videos 2
"""

from pathlib import Path

import torch
from tqdm import tqdm

from d2_plugtrack.build import build_region_sampling, build_tracker
from d2_plugtrack.commands.arguments import CommandParser, output_folder, positive_int
from d2_plugtrack.core.detector import check
from d2_plugtrack.data.imagenet.records import group_by_video, load_sampled_videos
from d2_plugtrack.data.labeled_frames import PairDrawing, RandomPairs
from d2_plugtrack.data.tiny_vid import TINY_CLASSES, write_tiny_vid
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.host import Host, load_torchvision_config
from d2_plugtrack.hosts.tiny_fasterrcnn import build_tiny_fasterrcnn
from d2_plugtrack.hosts.torchvision import TorchvisionDetector
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.tracker_training import load_batches, optimize, tracker_losses
from d2_plugtrack.video_io import VideoWriter, open_frames
from d2_plugtrack.visualization import draw_tracks
from d2_plugtrack.weights import read_weights, without_tracker

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "configs/TinyVID/torchvision_tiny.yaml")  # settings of tracker and inference
WEIGHTS = ROOT / "demo/torchvision_tiny.pth"


def build_detector() -> TorchvisionDetector:
    """Any trained FasterRCNN or MaskRCNN will do, such as torchvision's own

    ``torchvision.models.detection.fasterrcnn_resnet50_fpn(weights="DEFAULT")``.
    """
    model = build_tiny_fasterrcnn(len(TINY_CLASSES) + 1, min_size=128, max_size=160)
    model.load_state_dict(without_tracker(read_weights(WEIGHTS)))
    return TorchvisionDetector(model)


def load_videos(folder: Path, num_videos: int) -> list[dict]:
    """Videos as ``{"video_id", "frames"}``, a frame with its image file, boxes and track ids."""
    write_tiny_vid(folder, seed=0, splits=["train", "test"], num_videos=num_videos)
    frame_list = folder / "ImageSets/VID_train_15frames.txt"
    return group_by_video(load_sampled_videos(folder, frame_list, TINY_CLASSES))


def train_tracker(cfg, detector: TorchvisionDetector, videos: list[dict], steps: int):
    """Train a new tracker; the detector stays as it is."""
    tracker = build_tracker(cfg, detector.map_shapes).to(detector.device)
    sampling = build_region_sampling(cfg)
    pairs = RandomPairs(videos, PairDrawing(min_gap=1, max_gap=9, reverse_prob=0.5), seed=0)
    for _ in optimize(
        lambda batch: tracker_losses(detector, tracker, batch, sampling),
        tracker,
        load_batches(pairs, batch_size=8),
        max_iter=steps,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        warmup_iters=steps // 10,
        description="training the tracker",
    ):
        pass  # the losses of every step, to plot or to log
    return tracker.eval()


def annotate(predictor: VideoPredictor, clip: Path, output: Path) -> None:
    """Detect and track in a folder of frames or a video file, and draw what was found."""
    source = open_frames(clip, 10)
    read = tqdm(source, "detecting", source.num_frames, unit="frame", disable=None)
    with VideoWriter(output, source.frame_rate) as writer:
        for frame, objects in zip(source, predictor(read), strict=True):
            sure = objects.scores >= 0.3
            boxes, scores, classes, ids = (t[sure].cpu().numpy() for t in objects[:4])
            names = [predictor.class_names[label] for label in classes]
            labels = [f"{i} {n} {s:.2f}" for i, n, s in zip(ids, names, scores, strict=True)]
            writer.write(draw_tracks(frame, boxes, labels, ids))


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(__doc__)
    parser.add_argument("--output", type=output_folder, default=Path("output/example"))
    parser.add_argument("--steps", type=positive_int, default=300, help="of training; 1,200: best")
    parser.add_argument("--videos", type=positive_int, default=40, help="to train on")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    args.output.mkdir(parents=True, exist_ok=True)
    cfg = load_torchvision_config(CONFIG)
    detector = build_detector()
    videos = load_videos(args.output / "tiny_vid", args.videos)
    clip = args.output / "tiny_vid/Data/VID/test/tiny_test_00000"
    for problem in check(detector, list(open_frames(clip, 10))[:4]):
        print(f"the detector: {problem}")
    tracker = train_tracker(cfg, detector, videos, args.steps)
    host = Host(cfg, detector, tracker, class_names=list(TINY_CLASSES.values()))
    annotate(VideoPredictor.from_host(host), clip, args.output / "clip.mp4")
    print(f"{args.output / 'clip.mp4'}: {clip.name} with its objects")


if __name__ == "__main__":
    main()
