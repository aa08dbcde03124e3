"""The documents are true: links lead somewhere, commands parse, keys and files exist."""

import contextlib
import functools
import inspect
import io
import re
import runpy
import sys

import pytest
import yaml

import d2_plugtrack
from d2_plugtrack.commands.sample import write_sample_clip
from d2_plugtrack.config import add_torchvision_config
from d2_plugtrack.prerequisites import require_detectron2
from tests.documents import (
    FILES,
    ROOT,
    anchors,
    code_blocks,
    commands,
    links,
    name_of,
    prose,
)

SECTIONS = "MODEL|INPUT|DATASETS|DATALOADER|SOLVER|TEST"
ALL = {name_of(path): path.read_text(encoding="utf-8") for path in FILES}
COMMANDS = [command for path in FILES for command in commands(path)]
PYTHON = ("python", "python3")
SCRIPTS = [
    c._replace(words=words)
    for c in COMMANDS
    for words in [c.words[1:] if c.words[0] in PYTHON else c.words]
    if words and re.fullmatch(r"[\w/.]+\.py", words[0])
]


@pytest.fixture(scope="module")
def config_keys() -> set[str]:
    """Every dotted key, of sections too, of both hosts."""
    from fvcore.common.config import CfgNode

    nodes = [CfgNode()]
    add_torchvision_config(nodes[0])
    require_detectron2()
    from d2_plugtrack.plugin import add_plugtrack_config, get_cfg

    nodes.append(get_cfg())
    add_plugtrack_config(nodes[1])
    return {key for node in nodes for key in flat(node)}


def flat(node: dict, prefix: str = ""):
    """Every key of nested mappings with those above it."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")


@functools.cache
def help_of(script: str, subcommand: str | None = None) -> str:
    """What ``script [subcommand] --help`` prints."""
    module = _module_of(script)
    main = module.get("run") if script == "train_net.py" else module["main"]
    words = [*filter(None, [subcommand]), "--help"]
    before, sys.argv = sys.argv, [script, *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
            main(*([words] if inspect.signature(main).parameters else []))
    finally:
        sys.argv = before
    return printed.getvalue()


@functools.cache
def _module_of(script: str) -> dict:
    return runpy.run_path(str(ROOT / script))


def test_there_are_documents_to_look_at():
    assert {"README.md", "docs/INSTALL.md", "docs/TROUBLESHOOTING.md"} <= ALL.keys()
    assert len(SCRIPTS) > 20


@pytest.mark.parametrize("name", ALL)
def test_links_lead_somewhere(name):
    for target in links(ALL[name]):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), f"{name}: {target}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found.read_text(encoding="utf-8")), f"{name}: {target}"


@pytest.mark.parametrize("command", SCRIPTS, ids=lambda c: f"{c.file}: {' '.join(c.words)[:60]}")
def test_commands_have_the_options_that_documents_give_them(command):
    script, *words = command.words
    assert (ROOT / script).is_file(), f"{command.file}: {script}"
    if script == "train_net.py":
        require_detectron2()
    text = help_of(script)
    if "COMMAND ..." in text and words and not words[0].startswith("-"):
        text = help_of(script, words[0])
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))
    for word in words:
        if re.match(r"--?[a-zA-Z]", word):
            assert word.partition("=")[0] in known, f"{command.file}: {script} {word}"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z]\w*) [?:]?=", makefile, re.MULTILINE))
    calls = [c for c in COMMANDS if c.words[0] == "make"]
    calls += [
        type(calls[0])(name, call.split())
        for name, text in ALL.items()
        for span in re.findall(r"`(make [^`]+)`", prose(text))
        for call in span.split("&&")
        if call.split()[0] == "make"
    ]
    assert len(calls) > 10
    for file, (_, *words) in calls:
        for word in words:
            variable, is_variable, _ = word.partition("=")
            known = variable in variables if is_variable else word in targets
            assert known, f"{file}: make {word}"


@pytest.mark.parametrize("name", ALL)
def test_config_keys_exist(name, config_keys):
    text = re.sub(r"Non-existent (?:config )?key: \S+", "", ALL[name])  # of messages
    for key in re.findall(rf"\b(?:{SECTIONS})(?:\.[A-Z][A-Z0-9_]*)+\b", text):
        assert key in config_keys, f"{name}: {key}"
    for block in code_blocks(ALL[name], "yaml"):
        for key in flat(yaml.safe_load(block)):
            assert key in {*config_keys, "_BASE_"}, f"{name}: {key}"


@pytest.mark.parametrize("name", ALL)
def test_files_and_tests_that_are_named_exist(name):
    tops = {path.name for path in ROOT.iterdir()} - {"output", "datasets"}
    test_files = "\n".join(str(p) for p in (ROOT / "tests").rglob("*.py"))
    for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?)`", ALL[name]):
        if path.partition("/")[0] in tops:
            assert (ROOT / path).exists(), f"{name}: {path}"
    for path in re.findall(r"\b(?:\w+/)*test_\w+\.py\b", ALL[name]):
        assert f"/{path}" in test_files, f"{name}: {path}"
    for test in re.findall(r"`(test_\w+)`", ALL[name]):
        assert f"def {test}(" in _all_tests(), f"{name}: {test}"


@functools.cache
def _all_tests() -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.detectron2
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (example,) = code_blocks(ALL["README.md"], "python")
    assert len(example.splitlines()) <= 12
    for name in ("configs", "demo"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_sample_clip(tmp_path / "output/demo/tiny_vid")  # as make demo leaves it
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    frames = [line for line in lines if re.match(r"\[[\d, ]*\] \[", line)]
    assert len(frames) == 30
    assert sum("_" in line for line in frames) > 20  # names of classes: most frames have objects
    ids = [set(re.findall(r"\d+", line.partition("]")[0])) for line in frames]
    assert {"0", "1"} <= set.union(*ids)  # whole numbers from 0
    assert max(sum(i in found for found in ids) for i in ("0", "1")) > 10  # that stay


def test_the_citation():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cff.keys()
    assert cff["cff-version"] == "1.2.0" and cff["type"] == "software"
    assert cff["version"] == d2_plugtrack.__version__
    paper = cff["preferred-citation"]
    assert {"type", "title", "authors", "year"} <= paper.keys()
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Lyu", "Yang", "Vosselman", "Xia"]
    assert "2003.00981" in paper["url"] and "2003.00981" in ALL["README.md"]


def test_the_changelog_has_what_is_not_released_first():
    unreleased, *released = re.findall(r"^## \[(.*?)\](.*)$", ALL["CHANGELOG.md"], re.MULTILINE)
    assert unreleased == ("Unreleased", "")
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for _, date in released)
    names = [name for name, _ in released]
    first = d2_plugtrack.__version__ in ALL["CHANGELOG.md"].partition("### ")[0]
    assert names[0] == d2_plugtrack.__version__ if names else first
