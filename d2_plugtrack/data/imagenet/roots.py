"""Where datasets lie: the data root, and ImageNet's folders in it.

``DETECTRON2_DATASETS`` is detectron2's own variable. For ImageNet it names a folder that holds
``ILSVRC2015``, ``ILSVRC2017`` or both (the archives of 2017 unpack to ``ILSVRC``), or one of these
itself. VID and DET may come from different years.
"""

import os
from pathlib import Path

from ...errors import UserError

IMAGENET_FOLDERS = ("ILSVRC2015", "ILSVRC2017", "ILSVRC")


def data_root() -> Path:
    """The folder that holds the datasets: detectron2's own variable, ``datasets`` where unset."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def imagenet_folders(root: Path) -> list[Path]:
    """Where ImageNet is looked for, in this order."""
    return [*(root / name for name in IMAGENET_FOLDERS), root]


def search_imagenet(root: Path, part: str) -> Path | None:
    """The first of :func:`imagenet_folders` with ``Data/<part>`` ("VID", "DET/train")."""
    folders = imagenet_folders(root)
    return next((folder for folder in folders if (folder / "Data" / part).is_dir()), None)


def find_imagenet(root: Path, part: str) -> Path:
    """As :func:`search_imagenet`.

    Raises:
        UserError: none has it; the places looked at are listed.
    """
    found = search_imagenet(root, part)
    if found is None:
        places = ", ".join(map(str, imagenet_folders(root)))
        raise UserError(
            f"{places}: expected Data/{part} in one of these folders, found none; "
            "DETECTRON2_DATASETS names where they are"
        )
    return found
