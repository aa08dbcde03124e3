"""The frames that lie in a video's folder."""

from d2_plugtrack.data.imagenet.frame_files import frame_numbers


def test_only_names_of_frames_count(tmp_path):
    names = ["000000.JPEG", "000012.JPEG", "1234567.JPEG", "0000003.JPEG", "00004.JPEG"]
    names += ["000005.jpg", "000006.JPEG.part", "x00007.JPEG", "\u0660" * 5 + "\u0661.JPEG"]
    for name in names:
        (tmp_path / name).touch()
    assert sorted(frame_numbers(tmp_path)) == [0, 12, 1234567]


def test_no_folder_no_frames(tmp_path):
    (tmp_path / "file").touch()
    assert frame_numbers(tmp_path / "file") == frame_numbers(tmp_path / "no") == []
