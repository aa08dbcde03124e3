"""ByteTrack's tracks of scripted videos, and the class that they get by vote."""

import numpy as np
import pytest

from d2_plugtrack.identity.bytetrack import BYTETRACK_FLOOR, ByteTracks, ClassVotes
from tests.identity.scripted import MOVING, result_of, track

pytest.importorskip("trackers")


def test_the_class_of_a_track_is_what_was_surest_so_far():
    """Track 7: 0.5 of class 1; then 0.25 of class 0; then 0.5 of both, the lower; then 0.75 of 1.

    Track 3 has votes of its own.
    """
    votes = ClassVotes()
    detections = [(1, 0.5, 1), (0, 0.25, 1), (0, 0.25, 0), (1, 0.25, 1)]
    for label, confidence, expected in detections:
        given = (np.array([7, 3]), np.array([label, 2]), np.array([confidence, 0.1], np.float32))
        assert votes.vote(*given) == [expected, 2]
    assert votes.vote(*(np.array([], int) for _ in range(3))) == []
    assert ClassVotes().vote(np.array([7]), np.array([0]), np.array([0.1])) == [0]


def test_bytetracks_class_is_a_vote_of_the_past():
    """Class 1 at 0.7 beside 0 at 0.6, then 1.2; the first detection (0.9) has no vote."""
    flicker = [result_of([0], [scores]) for scores in ([0.1, 0.9], [0, 0.7], [0.6, 0], [0.6, 0])]
    tracks = ByteTracks(0.5, 0.45)
    classes = [[label for _, label, _ in frame] for frame in track(tracks, flicker)]
    assert classes == [[], [1], [1], [0]]
    # a new video has a vote of its own: class 1 would be behind, at 0.7 + 0.45 beside 1.2
    other = [flicker[0], result_of([0], [[0, 0.45]])]
    assert [[line[1] for line in frame] for frame in track(tracks, other)] == [[], [1]]


def test_bytetrack_numbers_boxes_of_all_classes():
    """A track is given from its second frame on, as the package has it."""
    tracks = ByteTracks(0.5, 0.45)
    first, *later = track(tracks, MOVING)
    assert first == []
    assert [[line[:2] for line in frame] for frame in later] == [[(2, 1)], [(4, 1)]]
    assert len({frame[0][2] for frame in later}) == 1
    assert track(tracks, MOVING) == [first, *later]  # numbers begin anew in every video


def test_bytetrack_gives_its_tracks_weaker_detections_but_not_the_weakest():
    for score, expected in ((BYTETRACK_FLOOR, 1), (BYTETRACK_FLOOR - 0.01, 0)):
        weak = result_of([6], [[0.0, score]])
        assert len(track(ByteTracks(0.5, 0.45), [*MOVING, weak])[-1]) == expected
    alone = [result_of([50], [[0.0, 0.4]])] * 4
    assert track(ByteTracks(0.5, 0.45), alone) == [[]] * 4  # weak ones begin no track
    assert [len(frame) for frame in track(ByteTracks(0.2, 0.45), alone)] == [0, 1, 1, 1]


def test_bytetrack_gets_one_box_of_several_that_overlap_whatever_their_class():
    double = [result_of([0, 1], [[0.9, 0.0], [0.0, 0.8]])] * 3
    assert [[line[:2] for line in f] for f in track(ByteTracks(0.5, 0.45), double)][1:] == [
        [(0, 0)]
    ] * 2
    assert [len(f) for f in track(ByteTracks(0.5, 0.9), double)] == [0, 2, 2]


def test_bytetrack_of_frames_without_boxes():
    nothing = result_of([], [])
    assert track(ByteTracks(0.5, 0.45), [nothing] * 3) == [[]] * 3
    assert [len(f) for f in track(ByteTracks(0.5, 0.45), [*MOVING, nothing])] == [0, 1, 1, 0]
