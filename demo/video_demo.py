#!/usr/bin/env python3
"""Steady, labelled, numbered boxes on videos, and masks where the detector has them.

Without arguments it makes a sample clip and annotates that, with a tiny detector that knows the
shapes in it and nothing else. A recorded video is re-scored over the whole of it (offline), which
is best; a camera or a stream is annotated as it comes (online), and ends with Ctrl-C.

What is made: an mp4 or images with --output, files of objects with --save-json (COCO-VID),
--save-mot (MOTChallenge) and --save-csv. With none of these options it is an mp4 in
output/video_demo; with --save-... alone no video is made. Exit status: 0 all done; 1 something was
lost, or an input or an output failed, and the rest was made; 2 nothing was begun, for the reason
said; 130, 143 or 129 interrupted: what had been written is whole and kept.

Examples:
    python demo/video_demo.py
    python demo/video_demo.py --output annotated --save-json --overwrite
    python demo/video_demo.py --input output/video_demo/tiny_test_00000.mp4 --save-csv objects.csv
    python demo/video_demo.py --mode online --show-fps --zoom 6 --classes dotted_disk striped_disk
    python demo/video_demo.py --config-file configs/TinyVID/torchvision_tiny.yaml --device cpu \\
        --opts MODEL.WEIGHTS demo/torchvision_tiny.pth TEST.SEQ_NMS.MIN_SCORE 0.02
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the imports take seconds: no traceback of them

import argparse
import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from d2_plugtrack.build import check_tracking
from d2_plugtrack.commands.arguments import CommandParser
from d2_plugtrack.commands.sample import SAMPLE_FRAME_RATE, sample_detector, write_sample_clip
from d2_plugtrack.commands.video_arguments import (
    add_detector,
    add_inputs,
    add_outputs,
    check_arguments,
    detector_opts,
    named_files,
    output_folder,
    output_paths,
)
from d2_plugtrack.commands.video_inputs import expand_inputs, places_of
from d2_plugtrack.errors import UserError, exit_on_user_error
from d2_plugtrack.host import Host, open_host
from d2_plugtrack.predictor import VideoPredictor
from d2_plugtrack.video_io import FrameSource, is_live, open_frames, shown_address
from d2_plugtrack.video_jobs.interrupts import Interrupted, Interrupts
from d2_plugtrack.video_jobs.job import VideoReport, run_video
from d2_plugtrack.video_jobs.output_paths import OutputPaths, check_outputs, refuse_shared
from d2_plugtrack.video_jobs.window import NoScreen, Window

FOLDER = Path("output/video_demo")
NOTICE = "interrupted: finishing what was written; once more ends it at once and keeps nothing"

Show = Callable[[np.ndarray], bool]


class Job(NamedTuple):
    """An input as the user named it, without a password, what it is, and what is made of it."""

    name: str
    source: FrameSource
    paths: OutputPaths


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    if hasattr(sys.stdout, "reconfigure"):  # a file's name need not be text; nor is it on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    args = parse_args(argv)
    with Interrupts(NOTICE) as interrupts:
        try:
            code = run(args, interrupts)
        except Interrupted:
            if interrupts.again:
                say("stopped at once: of what was not complete nothing is left")
                sys.stdout.flush()
                os._exit(interrupts.exit_code)  # a thread may wait for a camera that is gone
            say("interrupted: nothing was written")
            code = interrupts.exit_code
    if code:
        sys.exit(code)


def run(args: argparse.Namespace, interrupts: Interrupts) -> int:
    """Everything behind the arguments; the exit status."""
    is_sample = args.input is None
    if is_sample:
        args = with_sample(args)
    jobs, failed = open_jobs(args)
    places = [place for name in args.input for place in places_of(name)]
    for job in jobs:
        # what an earlier sample gave may be replaced, but nothing that the user named
        replaceable = set(job.paths.given) if is_sample and args.output is None else set()
        check_outputs(job.paths, places, args.overwrite, replaceable - set(named_files(args)))
    with ExitStack() as stack:
        show = open_window(stack) if args.show else None
        host = open_detector(args)
        predictor = cache(partial(predictor_of, host, args))
        weights = host.cfg.MODEL.WEIGHTS
        print(f"detector: {shown(args.config_file)}, {shown(weights)}, on {predictor(None).device}")
        with interrupts.held():
            for number, job in enumerate(jobs):
                mode = args.mode or ("online" if job.source.is_live else None)
                failed += run_job(job, predictor(mode), args, show, interrupts)
                if interrupts.received:
                    not_begun = len(jobs) - number - 1
                    say(f"inputs that were not begun: {not_begun}" if not_begun else "")
                    return interrupts.exit_code
    if failed and len(args.input) > 1:
        say(f"{len(failed)} of {len(args.input)} inputs failed or lost frames: {', '.join(failed)}")
    return int(bool(failed))


def run_job(
    job: Job,
    predictor: VideoPredictor,
    args: argparse.Namespace,
    show: Show | None,
    interrupts: Interrupts,
) -> list[str]:
    """One input, and what is said of it; what was lost of it."""
    how = {"batch_size": args.batch_size, "zoom": args.zoom, "show_fps": args.show_fps}
    try:
        report = run_video(
            predictor, job.source, job.paths, **how, show=show, interrupts=interrupts
        )
    except (UserError, FloatingPointError) as error:
        say(f"error: {error}" if job.name in str(error) else f"error: {job.name}: {error}")
        return [job.name]
    except Interrupted:
        if interrupts.again:
            raise
        say(f"interrupted: nothing of {job.name} was written")
        return []
    print(describe(job, report, args.show_fps))
    for failure in report.failures.values():
        say(f"error: {failure}")
    if report.error is not None:
        say(f"error: {job.name} ended after {report.frames} frames: {report.error}")
    return [job.name] if report.error or report.failures or report.losses else []


def describe(job: Job, report: VideoReport, with_rate: bool) -> str:
    made = ", ".join(str(path) for path in job.paths.given if path not in report.failures)
    first = "" if report.is_complete else "the first "
    rate = f", {report.frames / report.seconds:.1f} frames/s in all" if with_rate else ""
    return f"{made}: {first}{report.frames} frames, {report.tracks} tracks{rate}"


def say(line: str) -> None:
    if line:
        print(line, file=sys.stderr)


def shown(path: str) -> str:
    """A path as short as it can be said from here."""
    return min(path, os.path.relpath(path), key=len)


# ---- inputs and outputs --------------------------------------------------------------------------


def with_sample(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments with a sample clip as input, made anew."""
    clip = str(write_sample_clip(output_folder(args, FOLDER) / "tiny_sample"))
    print(f"no --input: a sample clip of the tiny VID set, {clip}")
    rate = args.frame_rate or SAMPLE_FRAME_RATE
    return argparse.Namespace(**{**vars(args), "input": [clip], "frame_rate": rate})


def open_jobs(args: argparse.Namespace) -> tuple[list[Job], list[str]]:
    """What can be opened with its outputs, and the names of what cannot, which is said."""
    jobs, errors = [], {}
    rate = {} if args.frame_rate is None else {"default_frame_rate": args.frame_rate}
    for given in args.input:
        name = shown_address(given)
        if args.mode == "offline" and is_live(given):
            raise UserError(
                f"--mode offline: expected online for {name}, a camera or a stream without an end"
            )
        try:
            source = open_frames(given, **rate, start=args.start, end=args.end, stride=args.stride)
        except UserError as error:
            errors[name] = error
            continue
        jobs.append(Job(name, source, output_paths(args, FOLDER, source.name)))
    if not jobs:
        raise UserError("; ".join(map(str, errors.values())))
    refuse_shared([(job.name, job.paths) for job in jobs])
    for error in errors.values():
        say(f"error: {error}")
    return jobs, list(errors)


def open_window(stack: ExitStack) -> Show | None:
    """What shows a frame; None, and a warning, where there is no screen."""
    try:
        return stack.enter_context(Window("video_demo: q ends the video")).show
    except NoScreen as error:
        say(f"warning: --show: no window can be opened ({error}); going on without")
        return None


# ---- detector ------------------------------------------------------------------------------------


def open_detector(args: argparse.Namespace) -> Host:
    opts = detector_opts(args)
    if args.config_file is None:
        args.config_file, weights = sample_detector()
        opts = [*weights, *opts]
        print("no --config-file: the tiny detector of demo/ knows the tiny VID set's shapes alone")
    modes = {args.mode or ("online" if is_live(name) else None) for name in args.input}
    return open_host(args.config_file, opts, check=partial(check_tracking_in, modes))


def check_tracking_in(modes: Collection[str | None], cfg) -> None:
    for mode in modes:
        check_tracking(cfg, mode)


def predictor_of(host: Host, args: argparse.Namespace, mode: str | None) -> VideoPredictor:
    return VideoPredictor.from_host(host, mode, args.confidence_threshold, args.classes)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    add_inputs(parser)
    add_outputs(parser, FOLDER)
    add_detector(parser, "the tiny detector of demo/")
    args = parser.parse_args(argv)
    if args.input is not None:
        args.input = expand_inputs(args.input)
    check_arguments(parser, args)
    return args


if __name__ == "__main__":
    main()
