"""Tools that score end with an error, not with a figure, when nothing was scored."""

from __future__ import annotations

import importlib
import io
import random
import sys
from pathlib import Path

import pytest
import toy_training

LM = [  # a model of at most 12 positions
    *["--task", "language_modeling", "--arch", "transformer_lm", "--decoder-embed-dim", "8", "--decoder-layers", "1"],
    *["--decoder-ffn-embed-dim", "8", "--decoder-attention-heads", "2", "--tokens-per-sample", "12"],
    *["--sample-break-mode", "none", "--optimizer", "adam", "--lr", "0.01", "--max-update", "2", "--max-tokens", "60"],
    *["--cpu", "--num-workers", "0", "--seed", "1", "--log-format", "none", "--disable-validation"],
]


def in_process(tool: str, *argv: str) -> None:
    before = sys.argv
    sys.argv = [tool, *argv]
    try:
        importlib.import_module(f"fairseq_cli.{tool}").cli_main()
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a folder of text and a model over it."""
    folder = tmp_path_factory.mktemp("lm")
    draw = random.Random(1)
    for split, lines in (("train", 40), ("test", 12)):
        text = [" ".join(draw.choice("abcdefgh") for _ in range(draw.randint(2, 8))) + "\n" for _ in range(lines)]
        (folder / split).write_text("".join(text), encoding="utf-8")
    splits = [f"--trainpref={folder}/train", f"--testpref={folder}/test"]
    in_process("preprocess", "--only-source", "--destdir", f"{folder}/data", *splits)
    in_process("train", f"{folder}/data", *LM, "--save-dir", f"{folder}/model")
    return [f"{folder}/data", "--path", f"{folder}/model/checkpoint_last.pt", "--cpu", "--num-workers", "0"]


@pytest.fixture(scope="module")
def translation(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a folder of pairs and a model that translates them."""
    folder = tmp_path_factory.mktemp("translation")
    toy_training.run(toy_pairs, folder, "--max-update", "1", "--disable-validation")
    return [toy_pairs, "--path", f"{folder}/checkpoint_last.pt", "--cpu", "--num-workers", "0", "--log-format", "none"]


def test_text_in_blocks_that_are_all_too_long(language_model: list[str]) -> None:
    with pytest.raises(ValueError, match=r"limit of 12 tokens; --tokens-per-sample 99 "):
        in_process("eval_lm", *language_model, "--tokens-per-sample", "99", "--sample-break-mode", "none")


@pytest.mark.parametrize("window", ["12", "400"])
def test_a_context_that_leaves_nothing_to_score(language_model: list[str], window: str) -> None:
    with pytest.raises(ValueError, match=f"--context-window {window} leaves nothing of --tokens-per-sample 12"):
        in_process("eval_lm", *language_model, "--tokens-per-sample", "12", "--context-window", window)


def test_blocks_are_as_long_as_the_model_allows_unless_a_length_is_given(
    language_model: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def figures(*argv: str) -> list[str]:
        caplog.clear()
        with caplog.at_level("INFO"):
            in_process("eval_lm", *language_model, *argv)
        return [record.getMessage() for record in caplog.records]

    for window in ([], ["--context-window", "4"]):
        bare = figures("--sample-break-mode", "none", *window)
        assert "--tokens-per-sample is not given: blocks of 12 tokens, the model's limit" in bare
        given = figures("--sample-break-mode", "none", "--tokens-per-sample", "12", *window)
        assert bare[-1] == given[-1] and "Perplexity: " in bare[-1] and not bare[-1].endswith(" 1.00")
    with pytest.raises(ValueError, match="--context-window 12 leaves nothing of --tokens-per-sample 12"):
        figures("--context-window", "12")


def test_a_task_without_running_text(translation: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--task translation: .* fairseq-validate"):
        in_process("eval_lm", *translation, "--task", "translation", "--context-window", "3")


def test_a_subset_in_which_everything_is_skipped(translation: list[str]) -> None:
    skipping = ["--skip-invalid-size-inputs-valid-test", "--max-source-positions", "1"]
    with pytest.raises(ValueError, match=r"all 10 sentences are longer than the limit \(1, .*--max-source-positions"):
        in_process("generate", *translation, "--gen-subset", "valid", *skipping)
    with pytest.raises(ValueError, match=r"all 10 sentences are longer than the limit \(1, .*--max-source-positions"):
        words = [*translation, "--task", "translation", "--max-tokens", "60", "--valid-subset", "valid", *skipping]
        in_process("validate", *words)


def test_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ref").write_text("", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for scoring in ("bleu", "sacrebleu", "wer"):
        with pytest.raises(ValueError, match="are empty"):
            in_process("score", "--ref", str(tmp_path / "ref"), "--scoring", scoring)
