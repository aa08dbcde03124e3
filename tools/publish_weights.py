#!/usr/bin/env python3
"""Keep a checkpoint's weights and leave out the rest (optimizer, schedule).

    publish_weights.py output/tiny_vid/tracker/model_final.pth demo/plugtrack_tiny.pth
"""

import argparse
from pathlib import Path

import torch

from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.outputs import atomic_output, ensure_writable


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("weights", type=Path, help="file to write")
    args = parser.parse_args(argv)
    ensure_writable(args.weights, ".pth")
    try:
        model = torch.load(args.checkpoint, map_location="cpu", weights_only=True)["model"]
    except (OSError, KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UserError(f"{args.checkpoint}: not a checkpoint of train_net.py: {error}") from error
    with atomic_output(args.weights) as temporary:
        torch.save({"model": model}, temporary)
    print(f"{args.weights}: {args.weights.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
