"""Text files: what is read, and that what is wrong has a line."""

import pytest

from d2_plugtrack.data.text_file import read_text
from d2_plugtrack.errors import UserError


def read(path) -> str:
    return read_text(path, "a list file", "text")


def test_marks_and_ends_of_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read(path) == "a\nb\nc\n"
    path.write_bytes(b"")
    assert read(path) == ""


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_is_not_utf_8_has_a_line(tmp_path, mark):
    path = tmp_path / "list.txt"
    path.write_bytes(mark + b"a\nb\nc \xe9 d\n")
    with pytest.raises(UserError) as error:
        read(path)
    expected = f"{path}, line 3: expected text in UTF-8, found invalid continuation byte"
    assert str(error.value) == expected


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="expected a list file, found Is a directory"):
        read(tmp_path)
    with pytest.raises(UserError, match="no: expected a list file, found No such file"):
        read(tmp_path / "no")
