"""What is appended comes back bit for bit; what is not finished is not there; damage is noticed."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_plugtrack.core.tfd import FrameResult
from d2_plugtrack.errors import UserError
from d2_plugtrack.results import video_file
from d2_plugtrack.results.video_file import VideoWriter, read_run, read_video
from tests.core.video_results import frame_result
from tests.results.saved_runs import bits_of, tracked_video, write_video

SOME = 70  # frames: more than a block, and no whole number of blocks


def save(path: Path, video: list[FrameResult], indices=None) -> Path:
    write_video(VideoWriter(path), video, range(len(video)) if indices is None else indices)
    return path


@pytest.mark.parametrize("num_frames", [1, 63, 64, 65, 200])
def test_what_is_read_is_what_was_appended(tmp_path, num_frames):
    for seed in range(3):
        video = tracked_video(seed, num_frames)
        indices = np.cumsum(np.random.default_rng(seed).integers(1, 4, num_frames)).tolist()
        found = list(read_video(save(tmp_path / "a.npz", video, indices)))
        assert [index for index, _ in found] == indices
        assert [bits_of(result) for _, result in found] == [bits_of(r) for r in video]


def test_values_of_every_kind(tmp_path):
    odd = torch.tensor([[0.0, -0.0, 1e-45, 3.4e38]])
    # a NaN with a payload, as anything may come back from a network
    nan = torch.from_numpy(np.array([0x7FC00001], np.uint32).view(np.float32))
    one = FrameResult(odd, odd[:, :2], nan, odd, torch.tensor([2**40]), (1, 2**20))
    (_, found), *rest = read_video(save(tmp_path / "a.npz", [one]))
    assert bits_of(found) == bits_of(one) and not rest


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_scores_of_every_precision(tmp_path, dtype):
    """float64 stays; half precision becomes float32, which loses nothing."""
    video = [r._replace(scores=r.scores.to(dtype)) for r in tracked_video(0, SOME)]
    for (_, found), given in zip(read_video(save(tmp_path / "a", video)), video, strict=True):
        assert found.scores.dtype == (dtype if dtype is torch.float64 else torch.float32)
        assert torch.equal(found.scores, given.scores.to(found.scores.dtype))


def test_masks_are_not_kept(tmp_path):
    masked = tracked_video(0, 5, masks=True)
    assert all(r.masks is None for _, r in read_video(save(tmp_path / "a.npz", masked)))


def test_no_boxes_and_no_frames(tmp_path):
    empty = [frame_result([], []), frame_result([], [])]
    found = [r for _, r in read_video(save(tmp_path / "a.npz", empty))]
    assert [bits_of(r) for r in found] == [bits_of(r) for r in empty]
    assert list(read_video(save(tmp_path / "b.npz", []))) == []


def test_the_same_results_are_the_same_bytes(tmp_path):
    first, second = (save(tmp_path / name, tracked_video(1, SOME)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    other = tracked_video(1, SOME)
    other[-1] = other[-1]._replace(image_size=(100, 201))
    assert save(second, other).read_bytes() != first.read_bytes()


def test_a_file_says_of_which_run_it_is(tmp_path):
    for run in ("", "abc", "ü" * 100):
        write_video(VideoWriter(tmp_path / "a.npz", run), tracked_video(0, 1), [0])
        assert read_run(tmp_path / "a.npz") == run
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(UserError, match="a.npz: expected results of a video, found damage"):
        read_run(tmp_path / "a.npz")


def test_numpy_opens_it(tmp_path):
    video = tracked_video(0, SOME)
    arrays = np.load(save(tmp_path / "a.npz", video))
    boxes = np.concatenate([arrays["000000/boxes"], arrays["000001/boxes"]])
    np.testing.assert_array_equal(boxes, torch.cat([r.boxes for r in video]))
    assert arrays["num_frames"] == SOME


def test_memory_is_that_of_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, "FRAMES_OF_BLOCK", 4)
    boxes = np.random.default_rng(0).random((200, 4), np.float32)
    result = frame_result(boxes.tolist(), np.full((200, 50), 0.5).tolist(), (), 50)

    def peak_of(num_frames: int) -> int:
        tracemalloc.start()
        for _ in read_video(save(tmp_path / "a.npz", [result] * num_frames)):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak_of(4)
    short, long = peak_of(8), peak_of(400)  # of 17 MB
    assert long < short + 1_000_000


# ---- not finished -------------------------------------------------------------------------------


@pytest.mark.parametrize("num_frames", [0, 3, SOME])
def test_what_is_not_finished_is_not_there(tmp_path, num_frames):
    with VideoWriter(tmp_path / "a.npz") as writer:
        for index, result in enumerate(tracked_video(0, num_frames)):
            writer.append(result, index)
        assert len(list(tmp_path.iterdir())) == 1  # under another name
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_nothing_and_is_the_one_that_is_raised(tmp_path):
    with pytest.raises(KeyError, match="mine"), VideoWriter(tmp_path / "a.npz") as writer:
        for index, result in enumerate(tracked_video(0, SOME)):
            writer.append(result, index)
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []


def test_the_file_before_stays_until_the_new_one_is_finished(tmp_path):
    path = save(tmp_path / "a.npz", tracked_video(0, 3))
    before = path.read_bytes()
    with VideoWriter(path) as writer:
        writer.append(tracked_video(1, 1)[0], 0)
    assert path.read_bytes() == before
    save(path, tracked_video(1, 1))
    assert len(list(read_video(path))) == 1 and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="a/b.npz: cannot be written: No such file"):
        VideoWriter(tmp_path / "a" / "b.npz")


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    writer = VideoWriter(tmp_path / "a.npz")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    said = "a.npz: cannot be written: No space left on device"
    with pytest.raises(UserError, match=said), writer:
        for index, result in enumerate(tracked_video(0, SOME)):
            writer.append(result, index)
    assert list(tmp_path.iterdir()) == []


# ---- mistakes and damage ------------------------------------------------------------------------


@pytest.mark.parametrize("index", [3, 4])
def test_frames_come_in_order(tmp_path, index):
    result = tracked_video(0, 1)[0]
    with VideoWriter(tmp_path / "a.npz") as writer:
        writer.append(result, 4)
        with pytest.raises(ValueError, match=f"expected a frame after 4, got frame {index}"):
            writer.append(result, index)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("boxes", (2, 5), r"\(2, 4\)"),
        ("scores", (3, 2), r"\(2, 2\)"),
        ("scores", (2, 3), r"\(2, 2\)"),
        ("track_scores", (3,), r"\(2,\)"),
        ("source", (2, 1), r"\(2,\)"),
        ("mapped_boxes", (7, 3), r"\(7, 4\)"),
    ],
)
def test_shapes_are_checked(tmp_path, name, shape, expected):
    good = frame_result([[0, 0, 9, 9]] * 2, [[0.5, 0.1]] * 2)
    with VideoWriter(tmp_path / "a.npz") as writer:
        writer.append(good, 0)
        with pytest.raises(ValueError, match=f"frame 1: expected {name} of shape {expected}"):
            writer.append(good._replace(**{name: torch.zeros(shape)}), 1)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="a.npz: results of a video cannot be read: No such file"):
        list(read_video(tmp_path / "a.npz"))


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    np.savez(tmp_path / "b.npz", boxes=np.zeros(3))
    for name in "ab":
        with pytest.raises(UserError, match=f"{name}.npz: expected results of a video, found dam"):
            list(read_video(tmp_path / f"{name}.npz"))


@pytest.mark.parametrize("step", [101, pytest.param(1, marks=pytest.mark.slow)])
def test_a_file_that_was_cut_is_noticed(tmp_path, step):
    path = save(tmp_path / "a.npz", tracked_video(0, SOME))
    data = path.read_bytes()
    for length in range(0, len(data), step):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=f"{path}: expected results of a video, found damage"):
            list(read_video(path))


@pytest.mark.parametrize("step", [173, pytest.param(7, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path, step):
    """Some bytes of a zip mean nothing to us: times, and a second copy of the sizes."""
    video = tracked_video(0, SOME)
    path = save(tmp_path / "a.npz", video)
    data, given = path.read_bytes(), [bits_of(r) for r in video]
    noticed = 0
    for place in range(0, 8 * len(data), step):
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = [bits_of(r) for _, r in read_video(path)]
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
            noticed += 1
        else:
            assert found == given
    assert noticed > 0.8 * 8 * len(data) / step


def rewrite(path: Path, change) -> None:
    """The same file with its arrays, name to value, changed: whole, and wrong."""
    arrays = dict(np.load(path))
    change(arrays)
    np.savez(path.with_suffix(""), **arrays)


def test_a_block_that_is_not_there_is_noticed(tmp_path):
    def drop(arrays):
        for name in [n for n in arrays if n.startswith("000001/")]:
            del arrays[name]

    rewrite(path := save(tmp_path / "a.npz", tracked_video(0, SOME)), drop)
    with pytest.raises(UserError, match="a.npz: .* damage: 64 of 70 frames"):
        list(read_video(path))


def test_a_frame_that_comes_twice_is_named(tmp_path):
    def repeat(arrays):
        arrays["000000/frame_index"][5] = 4

    rewrite(path := save(tmp_path / "a.npz", tracked_video(0, SOME)), repeat)
    with pytest.raises(UserError, match="a.npz: frame 4 comes twice"):
        list(read_video(path))


def test_rows_that_do_not_add_up_are_noticed(tmp_path):
    def lose(arrays):
        arrays["000000/scores"] = arrays["000000/scores"][1:]

    rewrite(path := save(tmp_path / "a.npz", tracked_video(0, SOME)), lose)
    with pytest.raises(UserError, match="a.npz: .* damage: .* rows of"):
        list(read_video(path))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_results_of_a_gpu(tmp_path):
    video = tracked_video(0, SOME)
    on_gpu = [r._replace(scores=r.scores.cuda()) for r in video]
    found = [r for _, r in read_video(save(tmp_path / "a.npz", on_gpu))]
    assert [bits_of(r) for r in found] == [bits_of(r) for r in video]
