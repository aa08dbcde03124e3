"""The classes: their order is the labels', and VID's are among DET's."""

import re

from d2_plugtrack.data.imagenet.classes import DET_IDS, VID_CLASSES


def test_the_thirty_classes_are_in_alphabetical_order():
    names = list(VID_CLASSES.values())
    assert names == sorted(names) and len(names) == len(VID_CLASSES) == 30
    assert list(VID_CLASSES.items())[0] == ("n02691156", "airplane")
    assert list(VID_CLASSES.items())[12] == ("n02510455", "giant_panda")
    assert list(VID_CLASSES.items())[-1] == ("n02391049", "zebra")


def test_the_two_hundred_ids_of_det_hold_the_thirty_of_vid():
    assert len(DET_IDS) == 200 and VID_CLASSES.keys() < DET_IDS
    assert all(re.fullmatch(r"n\d{8}", wordnet_id) for wordnet_id in DET_IDS)
    assert "n00007846" in DET_IDS  # person, which VID does not have
