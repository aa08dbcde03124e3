"""Reports of measuring commands: printed, and in the files that were asked for."""

import argparse
import json

from d2_plugtrack.commands.reports import give_report


def test_a_report_is_printed_and_written_where_asked(tmp_path, capsys):
    args = argparse.Namespace(markdown=tmp_path / "r.md", json=tmp_path / "r.json")
    give_report(args, "| mAP |", {"mAP": 1.5})
    assert capsys.readouterr().out == args.markdown.read_text() == "| mAP |\n"
    assert json.loads(args.json.read_text()) == {"mAP": 1.5}


def test_without_files_it_is_only_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    give_report(argparse.Namespace(markdown=None, json=None), "nothing", {})
    assert capsys.readouterr().out == "nothing\n" and not list(tmp_path.iterdir())
