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


class Half:
    """Leaves a method out, as a plug-in may."""

    def size(self) -> int:
        raise NotImplementedError


def silent() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (lambda: Half().size(), "NotImplementedError: the class Half does not define size, which is needed here ("),
        (silent, "AssertionError: "),
        (fails_with(NotImplementedError()), "NotImplementedError: command cannot do what is asked of it here ("),
        (fails_with(ValueError()), "ValueError: raised without a message by command ("),
    ],
)
def test_an_error_without_a_message_says_which_function_raised_it(
    command: Callable[[], None], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAIRSEQ_TRACEBACK", raising=False)
    with pytest.raises(SystemExit):
        run_command(command)
    line = capsys.readouterr().err
    assert line.startswith(said) and "test_console.py" in line and len(line.splitlines()) == 1


TOOLS = ["train", "preprocess", "generate", "interactive", "score", "validate", "eval_lm", "hydra_train", "checkpoint"]
TOOLS += ["prepare", "recipes"]


def tool(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"fairseq_cli.{name}", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=100)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_without_arguments_shows_its_usage(name: str) -> None:
    done = tool(name)
    assert done.returncode == 2 and done.stderr.startswith("usage: ") and len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_tells_its_version(name: str) -> None:
    from fairseq.version import __version__

    done = tool(name, "--version")
    assert (done.returncode, done.stdout) == (0, f"fairseq {__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "data", "--arch", "lstm", "--max-token", "5"], "Did you mean --max-tokens or"),
        (["train", "data", "--arch", "lstm", "--max_tokens", "5"], "Did you mean --max-tokens by --max_tokens?"),
        (["train", "data", "--arch", "lstm", "--encoder-embd-dim=5"], "Did you mean --encoder-embed-dim"),
        (["train", "data", "--archh", "lstm"], "Did you mean --arch by --archh?"),
        (["preprocess", "--trainperf", "x"], "Did you mean --trainpref by --trainperf?"),
        (["generate", "data", "--beams", "5"], "Did you mean --beam or"),
        (["interactive", "data", "--buffer-sise", "5"], "Did you mean --buffer-size or"),
        (["validate", "data", "--pth", "x"], "Did you mean --path by --pth?"),
        (["eval_lm", "data", "--context-windw", "5"], "Did you mean --context-window"),
        (["score", "--reff", "x"], "Did you mean --ref by --reff?"),
        (["checkpoint", "average", "--inptus", "x", "--output", "y"], "Did you mean --inputs by --inptus?"),
        (["checkpoint", "inspect", "x", "--jsn"], "Did you mean --json by --jsn?"),
        (["prepare", "numbers", "--dest-dir", "x"], "Did you mean --destdir by --dest-dir?"),
        (["recipes", "rm_pt", "x", "--save-lst", "5"], "Did you mean --save-last by --save-lst?"),
    ],
)
def test_a_mistyped_option_gets_its_near_name(words: list[str], said: str) -> None:
    done = tool(*words)
    assert done.returncode == 2 and said in done.stderr


def test_an_option_like_no_other_is_only_refused() -> None:
    done = tool("train", "data", "--arch", "lstm", "--qqq-www", "5")
    assert done.returncode == 2 and done.stderr.splitlines()[-1].endswith("unrecognized arguments: --qqq-www 5")
