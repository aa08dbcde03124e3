#!/usr/bin/env python3
"""Make the tiny VID set: synthetic videos and stills in ImageNet VID's layout.

    prepare_tiny_vid.py --output datasets/tiny_vid
    prepare_tiny_vid.py --output datasets/tiny_vid --splits test --videos 8
"""

import argparse
from pathlib import Path

from d2_plugtrack.data.tiny_vid import SPLITS, write_tiny_vid
from d2_plugtrack.errors import exit_on_user_error


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("datasets/tiny_vid"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", nargs="+", default=list(SPLITS), metavar="SPLIT")
    parser.add_argument("--videos", type=int, help="only the first so many videos of each split")
    args = parser.parse_args()
    write_tiny_vid(args.output, args.seed, args.splits, args.videos)
    print(f"{args.output}: the tiny VID set, seed {args.seed}, splits {' '.join(args.splits)}")


if __name__ == "__main__":
    main()
