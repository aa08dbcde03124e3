#!/usr/bin/env python3
"""Make the tiny VID set: synthetic videos and stills in ImageNet VID's layout.

Examples:
    python datasets/prepare_tiny_vid.py
    python datasets/prepare_tiny_vid.py --output datasets/tiny_vid --splits test --videos 8
"""

import argparse
from pathlib import Path

from d2_plugtrack.commands.arguments import (
    CommandParser,
    non_negative_int,
    output_folder,
    positive_int,
)
from d2_plugtrack.data.tiny_vid import SPLITS, write_tiny_vid
from d2_plugtrack.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    write_tiny_vid(args.output, args.seed, args.splits, args.videos)
    print(f"{args.output}: the tiny VID set, seed {args.seed}, splits {' '.join(args.splits)}")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument(
        "--output",
        type=output_folder,
        default=Path("datasets/tiny_vid"),
        metavar="DIR",
        help="(default: %(default)s)",
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=list(SPLITS),
        default=list(SPLITS),
        metavar="SPLIT",
        help=f"of {' '.join(SPLITS)}; all where not given",
    )
    parser.add_argument(
        "--videos", type=positive_int, metavar="N", help="only the first N videos of each split"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
