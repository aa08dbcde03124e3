"""One video into its outputs, with a detector of one box; what is left when it ends early."""

import csv
import json
import os
import resource
import signal
import threading
from fractions import Fraction

import numpy as np
import pytest
import torch

from d2_plugtrack.core.detector import FrameFeatures, Proposals
from d2_plugtrack.core.rescoring import Rescoring
from d2_plugtrack.core.tfd import VideoPipeline
from d2_plugtrack.errors import UserError
from d2_plugtrack.exports.coco_vid import CocoVidWriter
from d2_plugtrack.exports.mot import MotWriter
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.video_io import FrameSource, Losses, TimedFrame, open_frames, read_image
from d2_plugtrack.video_jobs.interrupts import Interrupted, Interrupts
from d2_plugtrack.video_jobs.job import run_video
from d2_plugtrack.video_jobs.output_paths import OutputPaths
from tests.tracked import make_objects

MODES = ["offline", "online"]
HEIGHT, WIDTH = 48, 64


class BoxDetector:
    """A box where the frame's first pixel says, none where that is 255; it notes batch sizes."""

    num_classes = 2

    def __init__(self):
        self.batches = []

    def extract(self, frames):
        self.batches.append(len(frames))
        sizes = [frame.shape[:2] for frame in frames]
        lefts = torch.tensor([float(frame[0, 0, 0]) for frame in frames]).reshape(-1, 1, 1, 1)
        return FrameFeatures({"map": lefts}, sizes, sizes)

    def detect(self, features):
        return [self._found(left) for left in features.maps["map"].flatten().tolist()]

    def _found(self, left):
        if left == 255:
            return Proposals(torch.zeros(0, 2, 4), torch.zeros(0, 2))
        box = torch.tensor([left, 5.0, left + 20, 25])
        return Proposals(box.expand(1, 2, 4).clone(), torch.tensor([[0.2, 0.7]]))

    def classify(self, features, boxes):
        return torch.tensor([[0.1, 0.8]]).expand(len(boxes), 2)


def new_predictor(mode) -> VideoPredictor:
    pipeline = VideoPipeline(
        None,
        per_frame=False,
        **{"score_threshold": 0.03, "nms_threshold": 0.45, "iou_score_threshold": 0.5},
        **{"track_nms_threshold": 0.7, "merge_threshold": 0.7, "max_boxes": 300},
        masks=False,
    )
    how = Rescoring(True, False, 0.5, 0.45, 0.01, online=mode == "online")
    return VideoPredictor(BoxDetector(), pipeline, how, ["x", "y"])


class Clip(FrameSource):
    """Frames with times that are not even; it counts what is read of it."""

    def __init__(self, lefts, is_live=False, error_at=None):
        self.name, self.frame_rate, self.num_frames = "clip", Fraction(10), len(lefts)
        self.is_live, self.lefts, self.error_at = is_live, lefts, error_at
        self.passes = self.read = self.closed = 0
        self.losses = Losses()

    def time(self, number) -> Fraction:
        return Fraction(3 * number + number % 2, 30)

    def timed(self):
        self.passes += 1
        try:
            for number, left in enumerate(self.lefts):
                if number == self.error_at:
                    raise UserError("clip: breaks off")
                image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                image[0, 0] = left
                self.read += 1
                yield TimedFrame(image, self.time(number), 2 * number)
            self.end_time = self.time(len(self.lefts))
        finally:
            self.closed += 1


LEFTS = [0, 2, 4, 255, 255, 6, 8, 10, 40]


def all_paths(folder) -> OutputPaths:
    names = ("clip.mp4", "images", "clip.json", "clip.txt", "clip.csv")
    return OutputPaths(*(folder / "new" / name for name in names))


def written_frames(paths) -> dict[str, int]:
    """How many frames each output has; the table's, and MOT's, by the last one with an object."""
    with paths.csv.open() as file:
        indices = [int(row["index"]) // 2 for row in csv.DictReader(file)]
    mot = [int(line.split(",")[0]) // 2 for line in paths.mot.read_text().splitlines()]
    return {
        "video": len(list(open_frames(paths.video))),
        "images": len(list(paths.images.iterdir())),
        "json": len(json.loads(paths.coco_vid.read_text())["images"]),
        "csv": max(indices) + 1,
        "mot": max(mot) + 1,
    }


@pytest.mark.parametrize("mode", MODES)
def test_every_output_has_every_frame_and_the_predictors_objects(tmp_path, mode):
    paths, source = all_paths(tmp_path), Clip(LEFTS)
    report = run_video(new_predictor(mode), source, paths)
    assert (report.frames, report.is_complete, report.losses) == (9, True, Losses())
    assert set(written_frames(paths).values()) == {9}
    expected = list(new_predictor(mode)(Clip(LEFTS)))
    assert report.tracks == 1 + max(o.track_ids.max().item() for o in expected if len(o.boxes))
    data = json.loads(paths.coco_vid.read_text())
    for image, objects in zip(data["images"], expected, strict=True):
        found = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        assert [a["bbox"] for a in found] == [
            [x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in objects.boxes.tolist()
        ]
        assert [a["score"] for a in found] == objects.scores.tolist()
        assert [a["instance_id"] for a in found] == objects.track_ids.tolist()
    assert [image["frame_id"] for image in data["images"]] == list(range(0, 18, 2))


@pytest.mark.parametrize("mode", MODES)
def test_the_mp4_has_the_times_of_its_input(tmp_path, mode):
    paths, source = OutputPaths(tmp_path / "a.mp4"), Clip(LEFTS)
    run_video(new_predictor(mode), source, paths)
    found = open_frames(paths.video)
    assert [frame.time for frame in found.timed()] == [source.time(t) for t in range(9)]
    assert found.end_time == source.time(9)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_predictor_was_given_before_is_forgotten(tmp_path, mode):
    predictor = new_predictor(mode)
    predictor.step(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    report = run_video(predictor, Clip(LEFTS), OutputPaths(csv=tmp_path / "a.csv"))
    assert report.frames == 9 and len(predictor.finish()) == 0


def test_a_video_is_read_again_only_to_be_drawn(tmp_path):
    passes = {}
    for name in ("a.mp4", "a.csv"):
        is_video = name.endswith("mp4")
        paths = OutputPaths(tmp_path / name) if is_video else OutputPaths(csv=tmp_path / name)
        for mode in MODES:
            source = Clip(LEFTS)
            run_video(new_predictor(mode), source, paths)
            passes[name, mode] = source.passes
            assert source.closed == source.passes
    assert [name for name, count in passes.items() if count == 2] == [("a.mp4", "offline")]
    assert set(passes.values()) == {1, 2}


def test_online_a_frame_is_written_before_the_source_is_read_on(tmp_path):
    source, ahead = Clip(LEFTS * 6), []

    def show(image):
        ahead.append(source.read - len(ahead))
        return True

    run_video(new_predictor("online"), source, OutputPaths(tmp_path / "a.mp4"), show=show)
    assert len(ahead) == 54 and 1 <= max(ahead) <= 5


@pytest.mark.parametrize(("is_live", "expected"), [(True, {1}), (False, {1, 4})])
def test_a_live_source_is_worked_on_frame_by_frame(tmp_path, is_live, expected):
    predictor = new_predictor("online")
    paths = OutputPaths(csv=tmp_path / "a.csv")
    run_video(predictor, Clip(LEFTS, is_live), paths, batch_size=4)
    assert set(predictor.detector.batches) == expected  # 9 frames: 4, 4, 1


@pytest.mark.parametrize("is_live", [True, False])
def test_only_a_live_sources_video_is_written_in_fragments(tmp_path, is_live):
    paths = OutputPaths(tmp_path / "a.mp4")
    run_video(new_predictor("online"), Clip(LEFTS, is_live), paths)
    assert (b"moof" in paths.video.read_bytes()) == is_live
    assert len(list(open_frames(paths.video))) == len(LEFTS)


def test_a_live_source_has_no_offline():
    with pytest.raises(UserError, match="clip: expected the online mode"):
        run_video(new_predictor("offline"), Clip(LEFTS, is_live=True), OutputPaths())


@pytest.mark.parametrize("mode", MODES)
def test_frames_without_objects_are_ordinary(tmp_path, mode):
    paths = all_paths(tmp_path)
    report = run_video(new_predictor(mode), Clip([255, 255]), paths)
    assert (report.frames, report.tracks) == (2, 0)
    assert len(list(open_frames(paths.video))) == 2 and paths.mot.read_text() == ""


# ---- ended early ---------------------------------------------------------------------------------


def kill_at(number, times=1):
    """Give what is shown every frame, and sends so many signals with the one of this number."""
    shown = []

    def show(image):
        shown.append(image)
        if len(shown) == number:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGTERM)
        return True

    return show


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_leaves_the_first_frames_in_every_output(tmp_path, mode):
    paths, source = all_paths(tmp_path), Clip(LEFTS)
    with Interrupts() as interrupts:
        report = run_video(
            new_predictor(mode), source, paths, show=kill_at(3), interrupts=interrupts
        )
    assert (report.frames, report.is_complete, report.error) == (3, False, None)
    assert set(written_frames(paths).values()) == {3}
    assert interrupts.exit_code == 143 and source.closed == source.passes


@pytest.mark.parametrize("mode", MODES)
def test_a_second_signal_leaves_nothing(tmp_path, mode):
    (tmp_path / "new").mkdir()
    with Interrupts() as interrupts, pytest.raises(Interrupted):
        show = kill_at(3, times=2)
        run_video(
            new_predictor(mode), Clip(LEFTS), all_paths(tmp_path), show=show, interrupts=interrupts
        )
    assert interrupts.again and list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("second", [False, True])
def test_a_signal_while_a_frame_is_waited_for(tmp_path, second):
    class Waiting:
        """A predictor that gets signals after a frame: in the next, and while that is given up."""

        mode, class_names = "online", ["x", "y"]

        def reset(self):
            pass

        def __call__(self, frames, batch_size):
            next(frames)
            yield make_objects([[1, 1, 9, 9]], [0])
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                pytest.fail("went on")
            finally:
                if second:
                    os.kill(os.getpid(), signal.SIGTERM)

    paths = all_paths(tmp_path)
    with Interrupts() as interrupts:
        if second:
            with pytest.raises(Interrupted):
                run_video(Waiting(), Clip(LEFTS), paths, interrupts=interrupts)
            assert list((tmp_path / "new").iterdir()) == []
        else:
            assert run_video(Waiting(), Clip(LEFTS), paths, interrupts=interrupts).frames == 1
            assert set(written_frames(paths).values()) == {1}


def test_a_signal_while_detecting_leaves_nothing_and_the_predictor_ready(tmp_path):
    predictor, source = new_predictor("offline"), Clip(LEFTS)
    classify = predictor.detector.classify

    def classify_and_kill(features, boxes):
        if source.read > 4:
            os.kill(os.getpid(), signal.SIGINT)
        return classify(features, boxes)

    predictor.detector.classify = classify_and_kill
    with Interrupts() as interrupts, pytest.raises(Interrupted):
        run_video(predictor, source, all_paths(tmp_path), interrupts=interrupts)
    assert list(tmp_path.iterdir()) == [] and source.closed == 1
    predictor.detector.classify = classify
    assert run_video(predictor, Clip(LEFTS), all_paths(tmp_path)).frames == 9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trials", [5, pytest.param(150, marks=pytest.mark.slow)])
def test_a_signal_at_any_time_leaves_whole_outputs_of_the_same_frames_or_none(
    tmp_path, mode, trials
):
    rng, predictor, endings = np.random.default_rng(trials), new_predictor(mode), set()
    for trial in range(trials):
        folder = tmp_path / str(trial)
        source = Clip(LEFTS * 4)
        timer = threading.Timer(rng.uniform(0, 0.4), os.kill, (os.getpid(), signal.SIGTERM))
        with Interrupts() as interrupts, interrupts.held():
            timer.start()
            try:
                report = run_video(predictor, source, all_paths(folder), interrupts=interrupts)
            except Interrupted:
                assert not interrupts.again and not any(folder.rglob("*.*"))
                endings.add("none")
            else:
                found = written_frames(all_paths(folder))
                assert {found[name] for name in ("video", "images", "json")} == {report.frames}
                assert max(found["csv"], found["mot"]) <= report.frames
                endings.add("whole" if report.is_complete else "first frames")
            timer.join()
        assert source.closed == source.passes
    assert trials < 100 or len(endings) > 1


@pytest.mark.parametrize("mode", MODES)
def test_the_window_ends_a_video_like_a_signal(tmp_path, mode):
    paths, shown = all_paths(tmp_path), []

    def show(image):
        shown.append(image)
        return len(shown) < 3

    report = run_video(new_predictor(mode), Clip(LEFTS), paths, show=show)
    assert (report.frames, report.is_complete) == (3, False)
    assert set(written_frames(paths).values()) == {3}


def test_an_error_keeps_what_was_written_online_and_leaves_nothing_offline(tmp_path):
    paths = all_paths(tmp_path)
    with pytest.raises(UserError, match="breaks off"):
        run_video(new_predictor("offline"), Clip(LEFTS, error_at=7), paths)
    with pytest.raises(UserError, match="breaks off"):
        run_video(new_predictor("online"), Clip(LEFTS, error_at=0), paths)
    assert list(tmp_path.iterdir()) == []
    report = run_video(new_predictor("online"), Clip(LEFTS, error_at=7), paths)
    assert str(report.error) == "clip: breaks off" and not report.is_complete
    assert set(written_frames(paths).values()) == {report.frames} == {7}


@pytest.mark.parametrize("change", [-1, 1])
def test_a_video_that_changes_between_two_readings_is_an_error(tmp_path, change):
    source = Clip(LEFTS)
    timed = source.timed

    def changing():
        if source.passes:
            source.lefts = LEFTS[:-1] if change < 0 else [*LEFTS, 0]
        return timed()

    source.timed = changing
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="expected the 9 frames that were read first"):
        run_video(new_predictor("offline"), source, all_paths(tmp_path))
    assert list((tmp_path / "new").iterdir()) == []


def test_older_outputs_are_replaced_whole(tmp_path):
    paths = all_paths(tmp_path)
    run_video(new_predictor("offline"), Clip(LEFTS), paths)
    run_video(new_predictor("offline"), Clip(LEFTS[:2]), paths)
    assert set(written_frames(paths).values()) == {2}


# ---- an output that fails ------------------------------------------------------------------------


@pytest.fixture
def full_after():
    """Files end at so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full_after(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield full_after
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Noisy(Clip):
    """Frames that no codec makes small."""

    def timed(self):
        rng = np.random.default_rng(0)
        for frame in super().timed():
            frame.image[1:] = rng.integers(0, 256, (HEIGHT - 1, WIDTH, 3))
            yield frame


def names_in(folder) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("lefts", [LEFTS, LEFTS * 40])  # full at the end, and in the middle
def test_online_a_video_that_does_not_fit_spares_the_others(tmp_path, full_after, lefts):
    paths = OutputPaths(tmp_path / "a.mp4", csv=tmp_path / "a.csv", mot=tmp_path / "a.txt")
    paths.video.write_bytes(b"older")
    full_after(16_000)
    report = run_video(new_predictor("online"), Noisy(lefts), paths, zoom=2)
    assert report.frames == len(lefts) and report.is_complete and report.error is None
    assert list(report.failures) == [paths.video]
    assert "a.mp4: cannot be written" in str(report.failures[paths.video])
    assert (
        names_in(tmp_path) == ["a.csv", "a.mp4", "a.txt"] and paths.video.read_bytes() == b"older"
    )
    assert len(paths.csv.read_text().splitlines()) == 1 + 7 * len(lefts) // 9


def failing_at(number):
    """A method of an export, that fails for the frame of this number."""
    calls = []

    def fail(self, *given):
        calls.append(given)
        if len(calls) > number:
            raise OSError(28, "No space left on device")

    return fail


def test_offline_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(MotWriter, "_write", failing_at(3))
    with pytest.raises(UserError, match="clip.txt: cannot be written: No space left"):
        run_video(new_predictor("offline"), Clip(LEFTS), all_paths(tmp_path))
    assert names_in(tmp_path / "new") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_at_the_end_spares_the_others(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(CocoVidWriter, "_end", failing_at(0))
    report = run_video(new_predictor(mode), Clip(LEFTS), all_paths(tmp_path))
    assert [path.name for path in report.failures] == ["clip.json"] and report.frames == 9
    assert names_in(tmp_path / "new") == ["clip.csv", "clip.mp4", "clip.txt", "images"]
    assert len(names_in(tmp_path / "new/images")) == 9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["_end", "_write"])
def test_where_the_last_output_fails_it_is_raised(tmp_path, monkeypatch, mode, method):
    monkeypatch.setattr(CocoVidWriter, method, failing_at(0))
    source = Clip(LEFTS)
    with pytest.raises(UserError, match="a.json: cannot be written: No space left"):
        run_video(new_predictor(mode), source, OutputPaths(coco_vid=tmp_path / "a.json"))
    assert names_in(tmp_path) == [] and source.closed == source.passes


def test_who_looks_on_goes_on_without_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(MotWriter, "_write", failing_at(2))
    shown, paths = [], OutputPaths(mot=tmp_path / "a.txt")
    show = lambda image: shown.append(image) or True  # noqa: E731
    report = run_video(new_predictor("online"), Clip(LEFTS), paths, show=show)
    assert len(shown) == report.frames == 9 and list(report.failures) == [paths.mot]


# ---- names of images and sizes -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("zoom", [None, 1, 2])
def test_json_names_written_images_that_boxes_are_meant_for(tmp_path, mode, zoom):
    paths = OutputPaths(images=tmp_path / "a/images", coco_vid=tmp_path / "b/a.json")
    run_video(new_predictor(mode), Clip(LEFTS), paths, zoom=zoom)
    images = json.loads(paths.coco_vid.read_text())["images"]
    if zoom == 2:  # the images have other pixels than the boxes
        assert [image["file_name"] for image in images] == [f"clip#{2 * t:06d}" for t in range(9)]
        return
    names = [(paths.coco_vid.parent / image["file_name"]).resolve() for image in images]
    assert names == sorted(paths.images.iterdir())
    for name, image in zip(names, images, strict=True):
        assert read_image(name).shape[:2] == (image["height"], image["width"]) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("mode", MODES)
def test_a_zoom_that_is_too_large_is_refused_before_detection(tmp_path, mode):
    predictor = new_predictor(mode)
    with pytest.raises(UserError, match="--zoom: expected at most 16384 .* found 300 times 64x48"):
        run_video(predictor, Clip(LEFTS), OutputPaths(tmp_path / "a.mp4"), zoom=300)
    assert predictor.detector.batches == [] and names_in(tmp_path) == []
    csv = OutputPaths(csv=tmp_path / "a.csv")
    assert run_video(predictor, Clip(LEFTS), csv, zoom=300).frames == 9  # nothing is drawn
