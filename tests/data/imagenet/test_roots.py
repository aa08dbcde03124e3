"""Where datasets are looked for."""

from pathlib import Path

import pytest

from d2_plugtrack.data.imagenet.roots import data_root, find_imagenet, search_imagenet
from d2_plugtrack.errors import UserError


def test_data_root_is_detectron2s_variable(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert data_root() == Path("datasets")


def test_the_first_folder_that_has_the_part(tmp_path):
    order = [*(tmp_path / name for name in ("ILSVRC2015", "ILSVRC2017", "ILSVRC")), tmp_path]
    for folder in reversed(order):
        (folder / "Data/VID/val").mkdir(parents=True)
        assert find_imagenet(tmp_path, "VID") == search_imagenet(tmp_path, "VID/val") == folder
    assert search_imagenet(tmp_path, "DET") is None
    assert find_imagenet(tmp_path / "ILSVRC2017", "VID") == tmp_path / "ILSVRC2017"


def test_none_has_it_and_the_places_are_listed(tmp_path):
    with pytest.raises(UserError) as error:
        find_imagenet(tmp_path, "DET")
    assert str(error.value) == (
        f"{tmp_path}/ILSVRC2015, {tmp_path}/ILSVRC2017, {tmp_path}/ILSVRC, {tmp_path}: "
        "expected Data/DET in one of these folders, found none; "
        "DETECTRON2_DATASETS names where they are"
    )
