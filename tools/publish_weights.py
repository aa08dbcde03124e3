#!/usr/bin/env python3
"""Keep a checkpoint's weights and leave out the rest (optimizer, schedule).

    publish_weights.py output/tiny_vid/tracker/model_final.pth demo/plugtrack_tiny.pth
"""

import argparse
from pathlib import Path

from d2_plugtrack.errors import exit_on_user_error
from d2_plugtrack.outputs import ensure_writable
from d2_plugtrack.weights import read_weights, write_weights


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("weights", type=Path, help="file to write")
    args = parser.parse_args(argv)
    ensure_writable(args.weights, ".pth")
    write_weights(args.weights, read_weights(args.checkpoint))
    print(f"{args.weights}: {args.weights.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
