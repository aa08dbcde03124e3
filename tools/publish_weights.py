#!/usr/bin/env python3
"""Keep a checkpoint's weights and leave out the rest (optimizer, schedule).

Examples:
    python tools/publish_weights.py output/tracker/model_final.pth plugtrack_tiny.pth
"""

import argparse
from functools import partial

from d2_plugtrack.commands.arguments import CommandParser, existing_file, output_file
from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.weights import read_weights, write_weights


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    write_weights(args.weights, read_weights(args.checkpoint))
    print(f"{args.weights}: {args.weights.stat().st_size / 1e6:.1f} MB")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument("checkpoint", type=existing_file, help="file to read")
    weights = partial(output_file, suffix=".pth")
    parser.add_argument("weights", type=weights, help="file to write, .pth")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
