"""What arguments may be, and what is said of those that may not."""

import functools
import re

import pytest
import torch

from d2_plugtrack.commands import arguments
from d2_plugtrack.commands.arguments import CommandParser

TEXT = """Count things, carefully.

More about it.

Examples:
    python count.py --number 3
"""


def parse(*words, **option):
    parser = CommandParser(TEXT)
    parser.add_argument("--option", **option)
    return parser.parse_args(["--option", *words]).option


def said(capsys, *words, **option):
    """The one line about the argument."""
    with pytest.raises(SystemExit) as stop:
        parse(*words, **option)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("error: ")


NUMBERS = {
    "positive_int": (["1", "30", " 7 "], ["0", "-1", "1.5", "many", "", "nan", "inf", "1e3"]),
    "non_negative_int": (["0", "30"], ["-1", "0.5", "x"]),
    "positive_number": (["1e-9", "2"], ["0", "-0.0", "-1", "nan", "inf", "x"]),
    "non_negative_number": (["0", "2.5"], ["-0.1", "nan", "inf", "1,5"]),
    "fraction": (["0", "0.3", "1"], ["-0.1", "1.01", "nan", "30%", ""]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name, capsys):
    kind = getattr(arguments, name)
    good, bad = NUMBERS[name]
    for text in good:
        assert parse(text, type=kind) == float(text)
    for text in bad:
        line = said(capsys, text, type=kind)
        assert re.fullmatch(rf"--option: expected .*\d.*, found {re.escape(repr(text))}", line)


def test_files_and_folders(tmp_path, capsys):
    file, folder, nothing = tmp_path / "file", tmp_path, tmp_path / "nothing"
    file.touch()
    assert parse(str(file), type=arguments.existing_file) == file
    assert parse(str(folder), type=arguments.existing_folder) == folder
    for kind, path, expected in [
        (arguments.existing_file, folder, "expected a file, found a folder"),
        (arguments.existing_file, nothing, "expected a file, found none"),
        (arguments.existing_folder, file, "expected a folder, found a file"),
        (arguments.existing_folder, nothing, "expected a folder, found none"),
    ]:
        assert said(capsys, str(path), type=kind) == f"--option: {path}: {expected}"


def test_outputs(tmp_path, capsys):
    kind = arguments.output_file
    assert parse(str(tmp_path / "a.json"), type=kind) == tmp_path / "a.json"
    png = functools.partial(kind, suffix=".png")
    assert parse(str(tmp_path / "a.png"), type=png) == tmp_path / "a.png"
    assert list(tmp_path.iterdir()) == []
    assert "expected a name ending in .png" in said(capsys, str(tmp_path / "a.jpg"), type=png)
    assert "found a folder" in said(capsys, str(tmp_path), type=kind)
    assert "expected an existing folder" in said(capsys, str(tmp_path / "no/a.json"), type=kind)


def test_an_output_folder_need_not_be_there_but_is_no_file(tmp_path, capsys):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "a/b"):
        assert parse(str(path), type=arguments.output_folder) == path
    for path in (tmp_path / "file", tmp_path / "file/a/b"):
        line = said(capsys, str(path), type=arguments.output_folder)
        assert line == f"--option: {path}: expected a folder, {tmp_path / 'file'} is a file"


def test_devices(capsys, monkeypatch):
    assert parse("cpu", type=arguments.device) == "cpu"
    for name in ("nonsense", "", "cpu:x", "meta"):
        assert said(capsys, name, type=arguments.device).startswith(f"--option: {name}: ")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert said(capsys, "cuda", type=arguments.device) == (
        "--option: cuda: there is no CUDA here; cpu would do"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parse("cuda", type=arguments.device) == "cuda"
    assert parse("cuda:1", type=arguments.device) == "cuda:1"
    assert said(capsys, "cuda:2", type=arguments.device) == (
        "--option: cuda:2: this machine has 2 CUDA devices, numbered from 0"
    )


def opts_parser():
    parser = CommandParser(TEXT)
    parser.add_argument("--flag", action="store_true")
    arguments.add_opts(parser)
    return parser


@pytest.mark.parametrize("words", [[], ["A.B", "1"], ["A", "-1", "B", "--x"], ["A", ""]])
def test_pairs(words):
    assert opts_parser().parse_args(["--flag", *words]).opts == words
    assert opts_parser().parse_args(words).opts == words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["A"], "A: expected a VALUE after this KEY"),
        (["A", "1", "B"], "B: expected a VALUE after this KEY"),
        (["A", "1", "--flag"], "--flag: expected before the KEY VALUE pairs"),
        (["A=1", "B=2"], "A=1: expected a KEY and a VALUE as two words"),
        (["--nonsense"], "unrecognized arguments: --nonsense (see --help)"),
    ],
)
def test_words_that_are_no_pairs(words, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        opts_parser().parse_args(words)
    assert capsys.readouterr().err.startswith(f"error: {expected}")


def test_pairs_of_an_option():
    option = {"nargs": "+", "action": arguments.KeyValuePairs}
    assert parse("A", "1", "B", "2", **option) == ["A", "1", "B", "2"]


def test_help_begins_with_what_it_does_and_ends_with_examples():
    parser = CommandParser(TEXT)
    parser.add_argument("--number")
    text = parser.format_help()
    assert text.startswith("Count things, carefully.\n\nMore about it.\n\nusage: ")
    assert text.endswith("\n\nExamples:\n    python count.py --number 3\n")
    commands = parser.add_subparsers()
    text = commands.add_parser("sub", text="Count them under water.").format_help()
    assert text.startswith("Count them under water.\n\nusage: ")
    assert CommandParser().format_help().startswith("usage: ")


def test_a_missing_option_is_one_line(capsys):
    parser = CommandParser(TEXT)
    arguments.add_config_file(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args([])
    assert capsys.readouterr().err == (
        "error: the following arguments are required: --config-file (see --help)\n"
    )


def test_shared_options(tmp_path):
    parser = CommandParser(TEXT)
    for add in ("config_file", "dataset", "batch_size", "reports", "opts"):
        getattr(arguments, f"add_{add}")(parser)
    config = tmp_path / "a.yaml"
    config.touch()
    given = ["--config-file", str(config), "--dataset", "d", "--json", str(tmp_path / "a.json")]
    args = parser.parse_args([*given, "--batch-size", "2", "SEED", "1"])
    assert vars(args) == {
        "config_file": str(config),
        "dataset": "d",
        "batch_size": 2,
        "json": tmp_path / "a.json",
        "markdown": None,
        "opts": ["SEED", "1"],
    }
    assert parser.parse_args(given).batch_size == 4
