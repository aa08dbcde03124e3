"""Whole videos for each process, balanced, every frame exactly once and in order."""

import numpy as np
import pytest

from d2_plugtrack.data.samplers import VideoSampler, assign_videos


def random_lengths() -> list[list[int]]:
    """Lengths of the videos of twenty datasets."""
    rng = np.random.default_rng(0)
    return [rng.integers(1, 60, size=rng.integers(1, 40)).tolist() for _ in range(20)]


def ids_of(lengths: list[int]) -> list[str]:
    return [f"video{v}" for v, length in enumerate(lengths) for _ in range(length)]


def test_longest_first_by_hand():
    # 9 | 8, then 7 to the 8, then 2 and 1 to the 9
    assert assign_videos([2, 9, 7, 8, 1], 2) == [[0, 1, 4], [2, 3]]
    assert assign_videos([5, 5, 5, 5], 2) == [[0, 2], [1, 3]]
    assert assign_videos([1, 10, 2], 2) == [[1], [0, 2]]


@pytest.mark.parametrize("num_processes", [1, 2, 3, 8, 50])
def test_every_video_goes_to_one_process_and_loads_are_even(num_processes):
    for lengths in random_lengths():
        assigned = assign_videos(lengths, num_processes)
        assert len(assigned) == num_processes
        assert sorted(v for videos in assigned for v in videos) == list(range(len(lengths)))
        assert all(videos == sorted(videos) for videos in assigned)
        loads = [sum(lengths[v] for v in videos) for videos in assigned]
        for videos, load in zip(assigned, loads, strict=True):
            # its last and shortest video came when it was the least loaded
            assert load - min([lengths[v] for v in videos], default=0) <= min(loads)


def test_more_processes_than_videos():
    assert assign_videos([3, 4], 4) == [[1], [0], [], []]
    samplers = [VideoSampler(ids_of([3, 4]), rank, 4) for rank in range(4)]
    assert [list(s) for s in samplers] == [[3, 4, 5, 6], [0, 1, 2], [], []]
    assert [len(s) for s in samplers] == [4, 3, 0, 0]


@pytest.mark.parametrize("num_processes", [1, 2, 5])
def test_finished_videos_are_left_out_and_the_others_shared_as_if_they_were_all(num_processes):
    for number, lengths in enumerate(random_lengths()):
        ids = ids_of(lengths)
        names = [f"video{v}" for v in range(len(lengths))]
        finished = set(names[number % 3 :: 3])
        left = [v for v, name in enumerate(names) if name not in finished]
        expected = assign_videos([lengths[v] for v in left], num_processes)
        for rank in range(num_processes):
            sampler = VideoSampler(ids, rank, num_processes, finished)
            seen = [ids[i] for i in sampler]
            assert seen == [names[left[n]] for n in expected[rank] for _ in range(lengths[left[n]])]
    assert list(VideoSampler(ids, 0, num_processes, set(names))) == []


def test_no_videos():
    assert assign_videos([], 2) == [[], []]
    assert list(VideoSampler([], 0, 1)) == []


@pytest.mark.parametrize("num_processes", [1, 2, 5])
def test_every_frame_once_in_order_and_videos_whole(num_processes):
    for lengths in random_lengths():
        ids = ids_of(lengths)
        per_process = [list(VideoSampler(ids, r, num_processes)) for r in range(num_processes)]
        assert sorted(i for indices in per_process for i in indices) == list(range(len(ids)))
        videos = [{ids[i] for i in indices} for indices in per_process]
        assert sum(map(len, videos)) == len(set(ids))  # no video in two processes
        assert all(indices == sorted(indices) for indices in per_process)


def test_a_sampler_can_be_used_again():
    sampler = VideoSampler(ids_of([2, 3]), 0, 1)
    assert list(sampler) == list(sampler) == [0, 1, 2, 3, 4]
    assert len(sampler) == 5
