#!/usr/bin/env python3
"""Make the list files of ImageNet VID and DET from the folders as unpacked.

    prepare_imagenet_vid.py --root datasets
    prepare_imagenet_vid.py --root /data/ILSVRC2015 --output lists --overwrite

Lists are made of whatever is there: VID's training and validation videos, DET's training images.
"""

import argparse
from pathlib import Path

from d2_plugtrack.data.imagenet.roots import data_root
from d2_plugtrack.data.imagenet.sampling import make_lists
from d2_plugtrack.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=data_root(),
        metavar="DIR",
        help="ILSVRC2015, ILSVRC2017 or what holds them (default: DETECTRON2_DATASETS)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="for the lists (default: ImageSets of the data)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw of DET's images")
    parser.add_argument("--overwrite", action="store_true", help="replace lists that are there")
    args = parser.parse_args(argv)
    written, problems = make_lists(args.root, args.output, args.seed, overwrite=args.overwrite)
    for path, count in written.items():
        print(f"{path}: {count} rows")
    if problems.counts:
        print(problems.summary())


if __name__ == "__main__":
    main()
