"""What became of a measuring command: printed, and in the files of ``arguments.add_reports``."""

import argparse

from ..outputs import write_json, write_text


def give_report(args: argparse.Namespace, report: str, figures: object) -> None:
    """Print a report; it goes where ``--markdown`` says too, and its figures where ``--json`` does.

    Args:
        figures: as of ``outputs.write_json``.

    Raises:
        UserError: a file that cannot be written; what is printed is printed.
    """
    print(report)
    if args.markdown:
        write_text(args.markdown, report + "\n")
    if args.json:
        write_json(args.json, figures)
