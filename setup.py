"""Packaging of d2_plugtrack; the exact versions that ``make`` installs are in requirements.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    """The package's ``__version__``, read as text: importing would need what is not installed."""
    text = (HERE / "d2_plugtrack" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


setup(
    name="d2_plugtrack",
    version=read_version(),
    description="PlugTrack: video object detection with a tracker plugged into detectron2",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["d2_plugtrack", "d2_plugtrack.*"]),
    package_data={"d2_plugtrack.visualization": ["page_parts/*"]},
    # detectron2 is missing on purpose: it is not on PyPI, where nobody owns its name and anyone
    # could register it. d2_plugtrack/prerequisites.py has the command that installs it. iopath and
    # yacs come with fvcore.
    install_requires=[
        "Pillow>=10.0",
        "av>=14.4,<19",
        "fvcore>=0.1.5.post20221221",
        "ijson>=3.2",
        "numba>=0.60",
        "numpy>=1.26",
        "opencv-python>=4.8",
        "pycocotools>=2.0.7",
        "scipy>=1.11",
        "supervision>=0.25",
        "torch>=2.4",
        "torchvision>=0.19",
        "tqdm>=4.66",
    ],
    extras_require={
        "dev": [
            *("hypothesis>=6.100", "matplotlib>=3.8", "pytest>=8.0", "ruff>=0.6"),
            *("trackers>=2.6", "trackeval>=1.3"),
        ],
        "hrnet": ["timm>=1.0.9"],
        "identity": ["trackers>=2.6", "trackeval>=1.3"],
        "train": ["tensorboard>=2.15"],
    },
)
