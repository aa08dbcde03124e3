"""Signals: raised at once, noted while held, and twice wherever it is."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from d2_plugtrack.video_jobs.interrupts import Interrupted, Interrupts

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(autouse=True)
def handlers():
    """As in a terminal, whatever runs the tests; and as before, afterwards."""
    before = {number: signal.getsignal(number) for number, _ in SIGNALS}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_is_raised_at_once(number, code):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert interrupts.received is None and interrupts.exit_code == 0
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), number)
        assert interrupts.received == number and interrupts.exit_code == code
        assert not interrupts.again
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_held_signal_is_raised_where_it_is_let_in(number, code):
    done = []
    with Interrupts() as interrupts, interrupts.held():
        with interrupts.released():
            done.append("before")
        os.kill(os.getpid(), number)
        done.append("went on")
        with pytest.raises(Interrupted), interrupts.released():
            done.append("never")
        done.append("held again")
        assert interrupts.exit_code == code
    assert done == ["before", "went on", "held again"]


def test_inside_released_it_is_raised_at_once_and_the_second_everywhere():
    with Interrupts() as interrupts, interrupts.held():
        with pytest.raises(Interrupted), interrupts.released():
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("went on")
        assert not interrupts.again
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.again and interrupts.exit_code == 143  # that of the first


def test_a_swallowed_signal_is_raised_again_when_asked():
    with Interrupts() as interrupts:
        interrupts.check()
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interrupts.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])  # a shell's & and nohup
def test_an_ignored_signal_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.received is None
    assert signal.getsignal(number) is signal.SIG_IGN


def test_another_thread_gets_none_and_without_with_nothing_happens():
    failures = []

    def work():
        try:
            with Interrupts() as interrupts, interrupts.held(), interrupts.released():
                interrupts.check()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failures
    interrupts = Interrupts()
    with interrupts.held(), interrupts.released():
        interrupts.check()


def test_the_notice_is_one_line_and_the_third_ends_the_process():
    code = """
import os, signal
from d2_plugtrack.video_jobs.interrupts import Interrupted, Interrupts
with Interrupts("notice") as interrupts, interrupts.held():
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Interrupted:
        print("second", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("never")
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert (result.returncode, result.stdout, result.stderr) == (143, "second\n", "notice\n")


def test_a_closed_terminal_takes_no_words_and_no_work_with_it(tmp_path):
    code = """
import fcntl, os, sys, termios, time
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from d2_plugtrack.video_jobs.interrupts import Interrupts
with Interrupts("notice") as interrupts, interrupts.held():
    print("ready", flush=True)
    while not interrupts.received:
        time.sleep(0.01)
    print("said into the void", flush=True)
    print("and this", file=sys.stderr)
open(sys.argv[1], "w").write("whole")
sys.exit(interrupts.exit_code)
"""
    ours, terminal = os.openpty()
    command = [sys.executable, "-c", code, str(tmp_path / "done")]
    pipes = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    os.close(terminal)
    assert os.read(ours, 100).startswith(b"ready")
    os.close(ours)
    assert process.wait(100) == 129 and (tmp_path / "done").read_text() == "whole"
