"""A list in JSON item by item: the bytes of writing it at once; whole or not at all."""

import numpy as np
import pytest

from d2_plugtrack.errors import UserError
from d2_plugtrack.outputs import write_json, write_json_list


@pytest.mark.parametrize("items", [[], [1], [{"a": [1.5]}, [], "x]}"]])
@pytest.mark.parametrize("about", [{}, {"name": "ü", "sizes": np.arange(2)}])
def test_item_by_item_is_the_same_as_at_once(tmp_path, about, items):
    write_json(tmp_path / "once.json", {**about, "items": items})
    write_json_list(tmp_path / "list.json", about, "items", iter(items))
    assert (tmp_path / "list.json").read_bytes() == (tmp_path / "once.json").read_bytes()


def test_what_goes_wrong_leaves_the_older_file(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("older")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_list(path, {}, "items", [1, float("nan")])
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="existing folder"):
        write_json_list(tmp_path / "no/list.json", {}, "items", [])
