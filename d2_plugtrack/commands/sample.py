"""What a command works with where it is told nothing: the tiny set's detector, and a clip of it.

The clip is the first test video of the tiny VID set (``data/tiny_vid.py``), which is made when it
is asked for; config and weights lie beside the package in the project's folder.
"""

from pathlib import Path
from typing import NamedTuple

from ..data.tiny_vid import write_tiny_vid
from ..errors import UserError
from ..prerequisites import require_detectron2

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_FRAME_RATE = 10  # frames per second of the clip, which states none


class SampleDetector(NamedTuple):
    """Arguments of ``host.open_host`` and ``VideoPredictor.from_config_file``."""

    config_file: str
    opts: list[str]  # KEY VALUE pairs that name the weights


def sample_detector() -> SampleDetector:
    """The tiny set's detector with its tracker: detectron2's, or torchvision's without detectron2.

    Raises:
        UserError: config or weights are not there, as where the package was installed alone.
    """
    try:
        require_detectron2()
        name = "plugtrack_tiny"
    except ImportError:
        name = "torchvision_tiny"
    config_file, weights = ROOT / f"configs/TinyVID/{name}.yaml", ROOT / f"demo/{name}.pth"
    for path in (config_file, weights):
        if not path.is_file():
            raise UserError(
                f"--config-file: expected, as {path} is not there: the sample detector comes with "
                "the project's folder"
            )
    return SampleDetector(str(config_file), ["MODEL.WEIGHTS", str(weights)])


def write_sample_clip(folder: Path) -> Path:
    """Make the sample clip under ``folder``, 30 frames of 160x128; the folder of its frames.

    Raises:
        UserError: ``folder`` cannot be written.
    """
    write_tiny_vid(folder, seed=0, splits=["test"], num_videos=1)
    return folder / "Data/VID/test/tiny_test_00000"
