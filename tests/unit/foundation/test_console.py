"""What a person sees: one line, the right exit code, nothing swallowed that shows a fault of ours."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable

import pytest

from fairseq_cli._console import run_command, setup_logging


def fails_with(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (FileNotFoundError("x.txt: no such file"), 1, "FileNotFoundError: x.txt: no such file"),
        (Exception("two\nlines"), 1, "Exception: two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError(), 1, "ValueError: no further explanation; set FAIRSEQ_TRACEBACK=1 to see where"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAIRSEQ_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stop:
        run_command(fails_with(error))
    assert (stop.value.code, capsys.readouterr().err) == (code, line + "\n")


@pytest.mark.parametrize("error", [TypeError("ours"), ValueError("asked for")])
def test_the_place_is_shown_for_our_own_faults_and_on_request(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRSEQ_TRACEBACK", "1" if isinstance(error, ValueError) else "0")
    with pytest.raises(SystemExit):
        run_command(fails_with(error))
    said = capsys.readouterr().err
    assert "Traceback" in said and said.rstrip().endswith(str(error))


def test_success_returns(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(lambda: None)
    assert capsys.readouterr().err == ""


def test_log_lines_have_the_form_that_scripts_parse() -> None:
    program = (
        "import logging; from fairseq_cli._console import setup_logging; setup_logging();"
        "logging.getLogger('fairseq.x').info('hello')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    date, level, name, message = done.stdout.strip().split(" | ")
    assert (level, name, message) == ("INFO", "fairseq.x", "hello") and len(date) == len("2026-01-31 12:00:00")


def test_a_training_loop_that_configured_no_logging_sees_its_lines() -> None:
    program = (
        "from fairseq.logging import progress_bar; bar = progress_bar.progress_bar([1], log_format='simple', epoch=1);"
        "bar.print({'loss': 2.5}, tag='train', step=1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().split(" | ", 1)[1] == "INFO | train | epoch 001 | loss 2.5"


def test_a_configured_program_keeps_its_logging() -> None:
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    before = list(logging.root.handlers)
    try:
        setup_logging()
        assert logging.root.handlers == before
    finally:
        logging.root.removeHandler(handler)
