"""A user's mistake is one line and exit code 2; a bug stays a bug."""

import os
import subprocess
import sys
import traceback

import pytest
import torch

from d2_plugtrack.errors import UserError, exit_on_user_error, mistake_of


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys):
    @exit_on_user_error
    def main():
        raise UserError("videos.txt, line 3: expected two columns, found 1")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: videos.txt, line 3: expected two columns, found 1\n"


def test_numbers_that_are_not_finite_are_one_line_and_exit_code_1(capsys):
    @exit_on_user_error
    def main():
        raise FloatingPointError("iteration 12: loss_track_box is nan")

    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "error: iteration 12: loss_track_box is nan\n"


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError, OSError])
def test_bugs_keep_their_traceback(error):
    @exit_on_user_error
    def main():
        raise error("a bug")

    with pytest.raises(error, match="a bug"):
        main()


def test_arguments_and_results_pass_through():
    @exit_on_user_error
    def main(*args, **kwargs):
        """What it does."""
        return args, kwargs

    assert main(1, b=2) == ((1,), {"b": 2})
    assert (main.__name__, main.__doc__) == ("main", "What it does.")


def test_a_users_mistake_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_missing_detectron2_is_one_line_and_other_modules_are_bugs(capsys):
    @exit_on_user_error
    def main(name):
        raise ModuleNotFoundError(f"{name} is not installed", name=name)

    with pytest.raises(SystemExit) as exit_:
        main("detectron2")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: detectron2 is not installed\n"
    with pytest.raises(ModuleNotFoundError):
        main("scipy")


def test_an_error_of_a_loaders_worker_is_one_line_too(capsys):
    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise UserError("a.jpg: expected a whole image, found half of one")

    @exit_on_user_error
    def main():
        next(iter(torch.utils.data.DataLoader(Broken(), num_workers=1)))

    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "error: a.jpg: expected a whole image, found half of one\n"


def trace_of(error: Exception) -> str:
    """As a process that ends by an error hands it to the one that started it."""
    try:
        raise error
    except Exception:
        return "\n\n-- Process 1 terminated with the following error:\n" + traceback.format_exc()


def test_the_mistake_at_the_end_of_another_processs_traceback():
    for kind in (UserError, FloatingPointError):
        found = mistake_of(trace_of(kind("a.yaml: no: such key")))
        assert type(found) is kind and str(found) == "a.yaml: no: such key"
    for error in (ValueError("UserError: said"), RuntimeError("d2_plugtrack.errors.UserError")):
        assert mistake_of(trace_of(error)) is None
    assert mistake_of("") is None


def test_ctrl_c_is_one_line_and_130(capsys):
    @exit_on_user_error
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        main()
    assert capsys.readouterr().err == "interrupted\n"


PRINTS = """
import sys
from d2_plugtrack.errors import exit_on_user_error

@exit_on_user_error
def main(count):
    print("first line", flush=True)
    sys.stdin.read()
    print("more\\n" * count)
    if count == 1:
        sys.exit(0)

main(int(sys.argv[1]))
"""


@pytest.mark.parametrize("count", [1, 2, 100_000])  # in the buffer to the end, or not
def test_a_reader_that_is_gone_ends_it_without_a_word(count):
    command = [sys.executable, "-c", PRINTS, str(count)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, env=buffered, **pipes) as process:
        assert process.stdout.readline() == b"first line\n"
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_broken_pipe_that_is_not_standard_output_is_a_bug():
    @exit_on_user_error
    def main():
        raise BrokenPipeError("of a worker")

    with pytest.raises(BrokenPipeError, match="of a worker"):
        main()
