#!/usr/bin/env python3
"""Make the list files of ImageNet VID and DET from the folders as unpacked.

Lists are made of whatever is there: VID's training and validation videos, DET's training images.

Examples:
    python datasets/prepare_imagenet_vid.py --root datasets
    python datasets/prepare_imagenet_vid.py --root datasets/ILSVRC2015 --output lists --overwrite
"""

import argparse

from d2_plugtrack.commands.arguments import (
    CommandParser,
    existing_folder,
    non_negative_int,
    output_folder,
)
from d2_plugtrack.data.imagenet.roots import data_root
from d2_plugtrack.data.imagenet.sampling import make_lists
from d2_plugtrack.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    written, problems = make_lists(args.root, args.output, args.seed, overwrite=args.overwrite)
    for path, count in written.items():
        print(f"{path}: {count} rows")
    if problems.counts:
        print(problems.summary())


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--root",
        type=existing_folder,
        default=data_root(),
        metavar="DIR",
        help="ILSVRC2015, ILSVRC2017 or what holds them (default: DETECTRON2_DATASETS)",
    )
    parser.add_argument(
        "--output",
        type=output_folder,
        metavar="DIR",
        help="for the lists (default: ImageSets of the data)",
    )
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="of the draw of DET's images"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace lists that are there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
