"""What the set-up promises: where detectron2 comes from, and what imports without it."""

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools

import d2_plugtrack
from d2_plugtrack.prerequisites import DETECTRON2_ADDRESS, DETECTRON2_INSTALL

ROOT = Path(__file__).resolve().parent.parent
LAZY_NAMES = ["PlugTrackRCNN", "VIDEvaluator", "VideoPredictor", "add_plugtrack_config"]


def without(*packages: str) -> str:
    """Code after which importing one of the packages fails as if it were not installed."""
    return f"import importlib, sys; sys.modules.update(dict.fromkeys({packages}))\n"


def run_python(code: str, *arguments: str) -> str:
    """Run ``code`` in a fresh interpreter at the repository's root and return what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def module_names(folder: str) -> list[str]:
    """Every module under a folder of the repository, by its dotted name."""
    files = sorted((ROOT / folder).rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


@pytest.fixture
def setup_arguments(monkeypatch):
    """What setup.py hands to setuptools."""
    arguments = {}
    monkeypatch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def test_setup_does_not_require_detectron2(setup_arguments):
    lists = [setup_arguments["install_requires"], *setup_arguments["extras_require"].values()]
    requirements = [line for lines in lists for line in lines]
    assert {"torch", "fvcore"} <= {re.match(r"[\w-]+", line)[0].lower() for line in requirements}
    assert not [line for line in requirements if "detectron2" in line.lower()]
    assert "\ndetectron2" not in (ROOT / "requirements.txt").read_text(encoding="utf-8").lower()


def test_setup_reads_version_and_packages(setup_arguments):
    assert setup_arguments["version"] == d2_plugtrack.__version__
    assert "d2_plugtrack.core" in setup_arguments["packages"]
    assert not [name for name in setup_arguments["packages"] if name.startswith("tests")]


def test_files_that_are_no_modules_are_packaged(setup_arguments):
    package = ROOT / "d2_plugtrack"
    packaged = {
        path
        for name, patterns in setup_arguments["package_data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*name.split(".")).glob(pattern)
    }
    others = {p for p in package.rglob("*") if p.is_file() and p.suffix != ".py"}
    others = {p for p in others if "__pycache__" not in p.parts}
    assert others == {path for path in packaged if path.is_file()}
    assert package / "visualization/page_parts/page.html" in others


def test_makefile_and_error_message_name_the_same_detectron2():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^DETECTRON2 \?= (.*)$", makefile, re.MULTILINE) == [DETECTRON2_ADDRESS]
    assert DETECTRON2_INSTALL in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, d2_plugtrack; print({'torch', 'numpy', 'detectron2'} & set(sys.modules))"
    assert run_python(code).strip() == "set()"


def test_core_imports_without_detectron2_and_what_comes_with_it():
    names = module_names("d2_plugtrack/core")
    assert "d2_plugtrack.core" in names
    code = without("detectron2", "fvcore", "iopath", "yacs")
    run_python(code + "for name in sys.argv[1:]: importlib.import_module(name)", *names)


def test_every_module_imports_without_detectron2_or_says_how_to_get_it():
    code = f"""{without("detectron2")}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, "" if {DETECTRON2_INSTALL!r} in str(error) else error)
"""
    needing = run_python(code, *module_names("d2_plugtrack")).split("\n")
    modeling = [n for n in module_names("d2_plugtrack/modeling") if n != "d2_plugtrack.modeling"]
    others = ("data.image_mapper", "data.loaders", "data.pair_mapper", "evaluation", "plugin")
    others += ("benchmarks.training", "replay", "train_step", "training")
    expected = [*modeling, *(f"d2_plugtrack.{name}" for name in others)]
    assert sorted(line.rstrip() for line in needing if line) == sorted(expected)


def test_missing_detectron2_error_has_the_command():
    code = f"""{without("detectron2")}
from d2_plugtrack.prerequisites import require_detectron2
try:
    require_detectron2()
except ImportError as error:
    print(error.name, error)
"""
    message = run_python(code)
    assert message.startswith("detectron2 detectron2 is not installed")
    assert DETECTRON2_INSTALL in message


def test_lazy_names_are_listed_and_others_are_attribute_errors():
    assert set(LAZY_NAMES) <= set(dir(d2_plugtrack))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = d2_plugtrack.no_such_name


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(n, marks=pytest.mark.detectron2) for n in ("PlugTrackRCNN", "VIDEvaluator")),
        *("VideoPredictor", "add_plugtrack_config"),
    ],
)
def test_lazy_names_resolve(name):
    value = getattr(d2_plugtrack, name)
    assert value.__name__ == name
    assert getattr(importlib.import_module(value.__module__), name) is value
