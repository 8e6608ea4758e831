"""Whatever is wrong with the input, a tool says so in one line and exits with 1 (2 for the command line)."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairseq_cli._console import run_command

ROOT = Path(__file__).resolve().parents[2]
Tool = Callable[..., tuple[int, str]]
WORDS = [f"w{number}" for number in range(12)]
TINY = ["--encoder-embed-dim", "8", "--encoder-hidden-size", "8", "--decoder-embed-dim", "8"]
TINY += ["--decoder-hidden-size", "8", "--decoder-out-embed-dim", "8", "--share-decoder-input-output-embed"]
TRAIN = ["--arch", "lstm", *TINY, "--optimizer", "adam", "--lr", "0.01", "--max-tokens", "200", "--max-update", "2"]
TRAIN += ["--cpu", "--num-workers", "0", "--log-format", "none"]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    monkeypatch.delenv("FAIRSEQ_TRACEBACK", raising=False)
    # pytest configures the root logger; what the tools log is not looked at here.
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])

    def call(name: str, *words: object) -> tuple[int, str]:
        module = __import__(f"fairseq_cli.{name}", fromlist=["cli_main"])
        monkeypatch.setattr(sys, "argv", [f"fairseq-{name}", *map(str, words)])
        capsys.readouterr()
        try:
            run_command(module.cli_main)
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        return code, capsys.readouterr().err

    return call


def write_corpus(folder: Path, lines: int = 30) -> None:
    rng = random.Random(1)
    for part in ("train", "valid", "test"):
        for language in ("de", "en"):
            text = "".join(" ".join(rng.choices(WORDS, k=rng.randint(1, 6))) + "\n" for _ in range(lines))
            (folder / f"{part}.{language}").write_text(text)


def preprocess_words(folder: Path, target: Path) -> list[object]:
    prefixes = [word for part in ("train", "valid", "test") for word in (f"--{part}pref", folder / part)]
    return ["-s", "de", "-t", "en", *prefixes, "--destdir", target]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A binarised corpus and a checkpoint trained on it."""
    from fairseq import options
    from fairseq_cli import preprocess, train

    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    data = folder / "data-bin"
    words = [str(word) for word in preprocess_words(folder, data)]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    before, sys.argv = sys.argv, ["train", str(data), *TRAIN, "--save-dir", str(folder / "ck")]
    try:
        train.cli_main()
    finally:
        sys.argv = before
    yield data, folder / "ck" / "checkpoint_last.pt"


@pytest.fixture
def data(prepared: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the data that a test may spoil."""
    return Path(shutil.copytree(prepared[0], tmp_path / "data"))


def one_line(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    return lines[0]


def test_a_missing_data_folder(tool: Tool, tmp_path: Path) -> None:
    code, said = tool("train", tmp_path / "nowhere", "-s", "de", "-t", "en", *TRAIN)
    assert code == 1 and "nowhere" in one_line(said)


def test_a_missing_dictionary(tool: Tool, data: Path) -> None:
    (data / "dict.en.txt").unlink()
    code, said = tool("train", data, *TRAIN)
    assert code == 1 and "dict.en.txt" in one_line(said)


def test_a_wrong_language(tool: Tool, data: Path) -> None:
    code, said = tool("train", data, "-s", "de", "-t", "fr", *TRAIN)
    assert code == 1 and "fr" in one_line(said)


def test_an_empty_training_file(tool: Tool, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "train.en").write_text("")
    code, said = tool("preprocess", *preprocess_words(tmp_path, tmp_path / "bin"))
    assert code == 1 and "train.en" in one_line(said)


def test_unequal_numbers_of_lines(tool: Tool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_corpus(tmp_path)
    with (tmp_path / "train.en").open("a") as file:
        file.write("one more\n")
    with caplog.at_level(logging.WARNING):
        code, _ = tool("preprocess", *preprocess_words(tmp_path, tmp_path / "bin"))
    # Both files are binarised (each may be wanted by itself); what is not parallel cannot be trained on.
    assert code == 0 and "30 lines" in caplog.text and "has 31" in caplog.text
    code, said = tool("train", tmp_path / "bin", *TRAIN)
    assert code == 1 and "30" in one_line(said) and "31" in said


@pytest.mark.parametrize("suffix", ["idx", "bin"])
@pytest.mark.parametrize("keep", [0, 20, -1])
def test_truncated_data(tool: Tool, data: Path, suffix: str, keep: int) -> None:
    path = data / f"train.de-en.de.{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    code, said = tool("train", data, *TRAIN)
    assert code == 1 and "train.de-en.de" in one_line(said)


def test_garbage_in_place_of_an_index(tool: Tool, data: Path) -> None:
    (data / "train.de-en.de.idx").write_bytes(b"garbage!" * 40)
    code, _ = tool("train", data, *TRAIN)
    assert code == 1


def test_a_sentence_that_is_too_long(tool: Tool, data: Path) -> None:
    code, said = tool("train", data, *TRAIN, "--max-source-positions", "3")
    assert code == 1 and "skip" in one_line(said)


def test_an_unknown_architecture(tool: Tool, data: Path) -> None:
    code, said = tool("train", data, "--arch", "lstn")
    assert code == 2 and "lstm" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("import nothing_like_this_module\n", "nothing_like_this_module"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_broken_plugin(tool: Tool, data: Path, tmp_path: Path, text: str, part: str) -> None:
    plugin = tmp_path / f"broken_plugin_{abs(hash(text))}"
    plugin.mkdir()
    (plugin / "__init__.py").write_text("\n" + text)
    code, said = tool("train", data, "--user-dir", plugin, *TRAIN)
    line = one_line(said)
    assert code == 1 and plugin.name in line and "__init__.py:2" in line and part in line


def test_a_missing_plugin(tool: Tool, data: Path) -> None:
    code, said = tool("train", data, "--user-dir", "no/such/folder", *TRAIN)
    assert code == 1 and "no/such/folder" in one_line(said)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_checkpoint(tool: Tool, prepared: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    data, checkpoint = prepared
    content = checkpoint.read_bytes()
    broken = tmp_path / "broken.pt"
    broken.write_bytes(content[: int(share * len(content))])
    code, said = tool("generate", data, "--path", broken, "--batch-size", 8, "--num-workers", 0)
    assert code == 1 and "broken.pt" in one_line(said)


def test_a_folder_that_cannot_be_written(tool: Tool, data: Path) -> None:
    code, said = tool("train", data, *TRAIN, "--save-dir", "/proc/no-checkpoints-here")
    assert code == 1 and "/proc/no-checkpoints-here" in said and "Traceback" not in said


def test_a_disk_that_is_full_while_data_are_written(
    tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "bin"))

    monkeypatch.setattr("os.replace", full)
    code, said = tool("preprocess", *preprocess_words(tmp_path, tmp_path / "bin"))
    assert code == 1 and "No space left" in one_line(said)
    assert not list((tmp_path / "bin").glob("*.idx"))


def test_a_good_run_is_quiet(tool: Tool, prepared: tuple[Path, Path]) -> None:
    data, checkpoint = prepared
    code, said = tool("generate", data, "--path", checkpoint, "--batch-size", 8, "--num-workers", 0, "--quiet")
    assert code == 0, said


NUMBERS = [
    *[
        ("--lr", "-1"),
        ("--lr", "nan"),
        ("--lr", ""),
        ("--update-freq", "0"),
        ("--batch-size", "0"),
        ("--clip-norm", "nan"),
    ],
    *[("--adam-betas", "(0.9)"), ("--adam-betas", "(1.5, 0.9)"), ("--save-interval", "0"), ("--log-interval", "0")],
    *[("--max-update", "-1"), ("--ema-decay", "2"), ("--model-parallel-size", "2"), ("--num-workers", "-1")],
]


@pytest.mark.parametrize(("option", "value"), NUMBERS)
def test_a_number_that_no_training_can_use(tool: Tool, data: Path, tmp_path: Path, option: str, value: str) -> None:
    code, said = tool("train", data, *TRAIN, "--save-dir", tmp_path / "ck", f"{option}={value}")
    assert code in (1, 2) and option in said and "Traceback" not in said
    assert not list((tmp_path / "ck").glob("*.pt"))


@pytest.mark.parametrize(
    ("option", "value"), [("--beam", "0"), ("--max-len-a", "nan"), ("--lenpen", "nan"), ("--batch-size", "0")]
)
def test_a_number_that_no_generation_can_use(tool: Tool, prepared: tuple[Path, Path], option: str, value: str) -> None:
    data, checkpoint = prepared
    code, said = tool("generate", data, "--path", checkpoint, "--num-workers", 0, option, value)
    assert code == 1 and option in one_line(said)


def test_data_of_another_dictionary(tool: Tool, data: Path) -> None:
    (data / "dict.de.txt").write_text("w1 3\nw2 2\n")
    code, said = tool("train", data, *TRAIN)
    assert code == 1 and "dictionary has 6 entries" in one_line(said)


def test_training_without_translations(tool: Tool, data: Path) -> None:
    for suffix in ("bin", "idx"):
        (data / f"train.de-en.en.{suffix}").unlink()
    code, said = tool("train", data, *TRAIN)
    assert code == 1 and "train has no target side" in one_line(said)


def test_references_are_asked_for_where_there_are_none(tool: Tool, prepared: tuple[Path, Path], data: Path) -> None:
    for suffix in ("bin", "idx"):
        (data / f"test.de-en.en.{suffix}").unlink()
    for name in ("generate", "interactive"):
        code, said = tool(name, data, "--path", prepared[1], "--score-reference", "--num-workers", 0)
        assert code == 1 and "--score-reference" in one_line(said)


def test_a_translation_model_for_language_modelling(tool: Tool, data: Path) -> None:
    (data / "dict.txt").write_text("w1 3\n")
    code, said = tool("train", data, "--task", "language_modeling", *TRAIN)
    assert code == 1 and "is no language model" in one_line(said)


def test_a_checkpoint_folder_in_place_of_a_file(tool: Tool, data: Path, tmp_path: Path) -> None:
    code, said = tool("train", data, *TRAIN, "--restore-file", tmp_path)
    assert code == 1 and "is a folder" in one_line(said)


def test_a_subword_encoder_without_its_file(tool: Tool, prepared: tuple[Path, Path]) -> None:
    pytest.importorskip("subword_nmt")
    data, checkpoint = prepared
    code, said = tool("generate", data, "--path", checkpoint, "--bpe", "subword_nmt", "--batch-size", 4)
    assert code == 1 and "--bpe subword_nmt needs --bpe-codes" in one_line(said)


def test_a_model_whose_plugin_is_not_there(tool: Tool, prepared: tuple[Path, Path], tmp_path: Path) -> None:
    import torch

    data, checkpoint = prepared
    state = torch.load(checkpoint, weights_only=False)
    state["cfg"]["model"].arch = state["cfg"]["model"]._name = "gone_model"
    torch.save(state, tmp_path / "gone.pt")
    code, said = tool("generate", data, "--path", tmp_path / "gone.pt", "--batch-size", 4, "--num-workers", 0)
    line = one_line(said)
    assert code == 1 and "gone_model" in line and "--user-dir" in line and len(line) < 600


def shell(words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which ``TOOL`` stands for ``python -m fairseq_cli``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    line = words.replace("TOOL.", f"{sys.executable} -m fairseq_cli.")
    return subprocess.run(
        ["bash", "-c", "set -o pipefail; " + line], capture_output=True, text=True, cwd=cwd, env=environment
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_streams_that_go_away(prepared: tuple[Path, Path], tmp_path: Path) -> None:
    data, checkpoint = prepared
    generate = f"TOOL.generate {data} --path {checkpoint} --batch-size 8 --cpu --num-workers 0"
    done = shell(f"{generate} | head -1", tmp_path)
    assert done.returncode == 141 and done.stderr == "" and done.stdout.count("\n") == 1
    done = shell(f"TOOL.interactive {data} --path {checkpoint} --cpu 0<&-", tmp_path)
    assert done.returncode == 1 and "standard input is closed" in one_line(done.stderr)
    if Path("/dev/full").exists():
        done = shell(f"{generate} > /dev/full", tmp_path)
        assert done.returncode == 1 and "No space left" in one_line(done.stderr)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_training_outlives_the_reader_of_its_log(prepared: tuple[Path, Path], tmp_path: Path) -> None:
    words = " ".join(TRAIN).replace("--log-format none", "--log-format simple")
    done = shell(f"TOOL.train {prepared[0]} {words} --save-dir {tmp_path}/ck | head -1", tmp_path)
    assert done.returncode == 0 and "the run goes on" in one_line(done.stderr)
    assert (tmp_path / "ck" / "checkpoint_last.pt").exists()
