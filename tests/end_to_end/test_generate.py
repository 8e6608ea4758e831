"""fairseq-generate, fairseq-interactive and fairseq-score on a model that was trained for two updates."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairseq.data.indexed_dataset import make_builder

SOURCES = ["one two three", "four", "five six one two", "seven two", "three three four", "six five"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with binarised data, ``model.pt`` and the plain text of the test set."""
    folder = tmp_path_factory.mktemp("generate")
    for split in ("train", "valid", "test"):
        (folder / f"{split}.src").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
        (folder / f"{split}.tgt").write_text("\n".join(s.upper() for s in SOURCES) + "\n", encoding="utf-8")
    prefixes = [f"--{split}pref={folder}/{split}" for split in ("train", "valid", "test")]
    data = str(folder / "data")
    in_process("preprocess", "-s", "src", "-t", "tgt", "--destdir", data, *prefixes)
    for language in ("src", "tgt"):
        prefix = f"{data}/none.src-tgt.{language}"
        make_builder(prefix + ".bin", "mmap", vocab_size=16).finalize(prefix + ".idx")
    in_process(
        *["train", data, "-s", "src", "-t", "tgt", "--arch", "transformer_tiny", "--optimizer", "adam", "--cpu"],
        *["--max-update", "2", "--batch-size", "6", "--save-dir", data, "--num-workers", "0", "--seed", "1"],
        *["--max-source-positions", "12", "--max-target-positions", "12", "--log-format", "none"],
    )
    (folder / "data" / "checkpoint_last.pt").rename(folder / "data" / "model.pt")
    return folder


def in_process(tool: str, *argv: str) -> None:
    """Run a tool without the cost of a new Python."""
    import importlib

    before = sys.argv
    sys.argv = [tool, *argv]
    try:
        importlib.import_module(f"fairseq_cli.{tool}").cli_main()
    finally:
        sys.argv = before


@pytest.fixture
def run(trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Run a tool on the trained model; gives the lines it printed."""

    def call(tool: str, *argv: str, stdin: str = "", model: bool = True) -> list[str]:
        common = [
            str(trained / "data"),
            "-s",
            "src",
            "-t",
            "tgt",
            "--cpu",
            "--path",
            str(trained / "data" / "model.pt"),
        ]
        if tool == "generate":
            common += ["--num-workers", "0", "--log-format", "none"]
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        in_process(tool, *(common if model else []), "--beam=2", *argv) if model else in_process(tool, *argv)
        return capsys.readouterr().out.splitlines()

    return call


def tags(lines: list[str]) -> list[str]:
    return [line.split("\t")[0] for line in lines if re.match(r"[A-Z]-\d+", line)]


def test_every_sentence_is_translated_in_the_known_lines(run: Callable[..., list[str]]) -> None:
    lines = run("generate", "--nbest", "2")
    assert sorted(t for t in tags(lines) if t[0] == "S") == [f"S-{i}" for i in range(6)]
    first = lines.index(next(line for line in lines if line.startswith("S-")))
    assert [line[0] for line in lines[first : first + 8]] == ["S", "T", "H", "D", "P", "H", "D", "P"]
    hypothesis = lines[first + 2].split("\t")
    single = lines[first + 4].split("\t")[1].split()
    assert float(hypothesis[1]) == pytest.approx(sum(map(float, single)) / len(single), abs=1e-3)
    assert lines[-1].startswith("Generate test with beam=2: BLEU4 = ")


def test_results_go_to_a_file_when_asked_for(run: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run("generate", "--results-path", str(tmp_path / "results")) == []
    text = (tmp_path / "results" / "generate-test.txt").read_text(encoding="utf-8")
    assert "H-0\t" in text and "Generate test with beam=2" in text


def test_programs_give_the_file_that_the_output_goes_to(trained: Path) -> None:
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq_cli.generate import _main

    words = ["-s", "src", "-t", "tgt", "--cpu", "--path", str(trained / "data" / "model.pt"), "--num-workers", "0"]
    args = options.parse_args_and_arch(options.get_generation_parser(), [str(trained / "data"), *words])
    out = io.StringIO()
    scorer = _main(convert_namespace_to_omegaconf(args), out)
    assert "H-0\t" in out.getvalue() and f"beam=5: {scorer.result_string()}" in out.getvalue()


def test_quiet_prints_the_score_only(run: Callable[..., list[str]]) -> None:
    lines = run("generate", "--quiet", "--scoring", "sacrebleu")
    assert tags(lines) == [] and lines[-1].startswith("Generate test with beam=2: BLEU = ")


def test_references_can_be_scored(run: Callable[..., list[str]]) -> None:
    lines = run("generate", "--score-reference")
    targets = {t.split("\t")[0][2:]: t.split("\t")[1] for t in lines if t.startswith("T-")}
    scored = {t.split("\t")[0][2:]: t.split("\t")[2] for t in lines if t.startswith("H-")}
    assert targets == scored


def test_a_prefix_of_the_reference_is_kept(run: Callable[..., list[str]]) -> None:
    lines = run("generate", "--prefix-size", "1")
    targets = {t.split("\t")[0][2:]: t.split("\t")[1].split()[0] for t in lines if t.startswith("T-")}
    for line in lines:
        if line.startswith("H-"):
            number, _, text = line[2:].split("\t")
            assert text.split()[0] == targets[number]


def test_alignments_are_pairs_or_distributions(run: Callable[..., list[str]]) -> None:
    hard = next(line for line in run("generate", "--print-alignment") if line.startswith("A-"))
    assert re.fullmatch(r"A-\d+\t(\d+-\d+ ?)+", hard)
    soft = next(line for line in run("generate", "--print-alignment", "soft") if line.startswith("A-"))
    row = soft.split("\t")[1].split()[0].split(",")
    assert sum(map(float, row)) == pytest.approx(1.0, abs=1e-4) and len(row[0]) == 8


def test_eight_bit_weights_translate_too(run: Callable[..., list[str]]) -> None:
    assert len([t for t in tags(run("generate", "--quantize", "int8")) if t[0] == "H"]) == 6


def test_compiling_changes_nothing_where_there_is_no_gpu(
    run: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    for tool, stdin in (("generate", ""), ("interactive", "a b\nc\n")):
        plain, compiled = run(tool, stdin=stdin), run(tool, "--compile", stdin=stdin)
        assert [line for line in compiled if line[:2] in ("H-", "P-")] == [
            line for line in plain if line[:2] in ("H-", "P-")
        ]
        assert "--compile: decoding steps are recorded on a GPU only" in caplog.text
        caplog.clear()


def test_bfloat16_translates_too(run: Callable[..., list[str]]) -> None:
    assert len([t for t in tags(run("generate", "--bf16")) if t[0] == "H"]) == 6


def test_an_empty_subset_is_no_error(run: Callable[..., list[str]]) -> None:
    assert tags(run("generate", "--gen-subset", "none")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sampling", "--nbest", "1"], "--sampling requires --nbest to be equal to --beam"),
        (["--replace-unk"], "--replace-unk requires a raw text dataset"),
        (["--sampling-topk", "3"], "--sampling-topk requires --sampling"),
        (["--print-step"], "word by word"),
        (["--constraints"], "fairseq-interactive reads them behind TABs"),
    ],
)
def test_contradicting_options_are_refused(run: Callable[..., list[str]], options: list[str], message: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=message):
        run("generate", *options)


def test_options_without_effect_are_named(run: Callable[..., list[str]], caplog: pytest.LogCaptureFixture) -> None:
    run("generate", "--patience", "3", "--iter-decode-max-iter", "2")
    told = [record.getMessage() for record in caplog.records if "has no effect" in record.getMessage()]
    assert [sentence.split()[0] for sentence in told] == ["--patience", "--iter-decode-max-iter"]
    caplog.clear()
    run("interactive", "--results-path", "x", stdin="one\n")
    assert "--results-path has no effect: the results go to standard output" in caplog.text


def test_overrides_are_read_as_data_and_never_run(run: Callable[..., list[str]]) -> None:
    with pytest.raises(ValueError, match="--model-overrides"):
        run("generate", "--model-overrides", "__import__('os').getcwd()")


def test_lines_are_translated_in_their_order(run: Callable[..., list[str]]) -> None:
    text = "five six one two\nfour\n\nseven nowhere\n"
    lines = run("interactive", "--buffer-size", "3", "--batch-size", "2", stdin=text)
    assert [t for t in tags(lines) if t[0] == "S"] == ["S-0", "S-1", "S-2", "S-3"]
    kinds = [t[0] for t in tags(lines)]
    assert kinds[:5] == ["S", "W", "H", "D", "P"]
    assert next(line for line in lines if line.startswith("S-3")) == "S-3\tseven <unk>"


def test_a_line_that_is_too_long_is_named_and_the_others_are_translated(
    run: Callable[..., list[str]], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "one two\n" + "four " * 20 + "\nsix\n" + "one " * 30 + "\nfive\n"
    for buffer in ("1", "3"):
        with pytest.raises(Exception, match=r"2 of 5 lines were too long .*: 2, 4\. .*--max-source-positions"):
            run("interactive", "--buffer-size", buffer, stdin=text)
        lines = capsys.readouterr().out.splitlines()
        assert [t for t in tags(lines) if t[0] == "H"] == ["H-0", "H-2", "H-4"]
        assert "line 2 is left out: 21 tokens, the limit is (12, 12)" in caplog.text
        assert "line 4 is left out: 31 tokens" in caplog.text
    skipping = run("interactive", "--skip-invalid-size-inputs-valid-test", stdin=text)
    assert [t for t in tags(skipping) if t[0] == "H"] == ["H-0", "H-2", "H-4"]


def test_the_loader_says_nothing_between_the_answers(
    run: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run("interactive", stdin="one\ntwo\nthree\n")
    begin = [record.getMessage() for record in caplog.records].index("Type the input sentence and press return:")
    after = caplog.records[begin + 1 :]
    assert [record.getMessage()[:11] for record in after] == ["Total time:"]


def test_phrases_behind_tabs_appear_in_the_output(run: Callable[..., list[str]]) -> None:
    lines = run("interactive", "--constraints", "--beam", "5", stdin="one two\tSEVEN\tFOUR THREE\nfour\n")
    assert [line for line in lines if line.startswith("C-")] == ["C-0\tSEVEN", "C-0\tFOUR THREE"]
    output = next(line for line in lines if line.startswith("H-0")).split("\t")[2]
    assert re.search(r"SEVEN.*FOUR THREE", output)


def test_one_line_at_a_time_gives_what_generate_gives(run: Callable[..., list[str]]) -> None:
    def outputs(lines: list[str]) -> dict[str, str]:
        return {line.split("\t")[0]: line.split("\t")[2] for line in lines if line.startswith("H-")}

    assert outputs(run("interactive", stdin="\n".join(SOURCES) + "\n")) == outputs(run("generate"))


def test_tools_leave_the_step_to_the_task(run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq.tasks.translation import TranslationTask

    step = TranslationTask.inference_step

    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = step(self, *args, **kwargs)
        seven = self.target_dictionary.index("SEVEN")
        return [[{**h, "tokens": h["tokens"].clone().fill_(seven)} for h in hypotheses] for hypotheses in found]

    monkeypatch.setattr(TranslationTask, "inference_step", own)
    for tool, stdin in (("generate", ""), ("interactive", "one\ntwo\n")):
        outputs = [line.split("\t")[2] for line in run(tool, stdin=stdin) if line.startswith("H-")]
        assert outputs and all(set(text.split()) == {"SEVEN"} for text in outputs)


def test_a_long_session_keeps_nothing(run: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    import torch

    held: list[tuple[int, int]] = []

    class Lines(io.StringIO):
        def __iter__(self) -> Any:
            for i in range(620):
                if i in (220, 600):
                    gc.collect()
                    tensors = sum(issubclass(type(item), torch.Tensor) for item in gc.get_objects())
                    held.append((sys.getallocatedblocks(), tensors))
                yield SOURCES[i % len(SOURCES)] + "\n"

    monkeypatch.setattr(io, "StringIO", Lines)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        # The reader holds what is printed.
        monkeypatch.setattr(sys, "stdout", nowhere)
        run("interactive", "--buffer-size", "20", "--batch-size", "20")
    (before, few), (after, many) = held
    assert many <= few + 8 and after - before < 1000, held


def test_a_batch_cannot_be_larger_than_the_buffer(run: Callable[..., list[str]]) -> None:
    with pytest.raises(AssertionError, match="cannot be larger than --buffer-size"):
        run("interactive", "--batch-size", "4", "--buffer-size", "2")


def test_answers_come_while_the_input_is_open_and_ctrl_c_ends_quietly(trained: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "fairseq_cli.interactive", str(trained / "data"), "-s", "src", "-t", "tgt"]
    command += ["--cpu", "--path", str(trained / "data" / "model.pt"), "--beam", "2"]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write("four\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("P-0"):
                break
        else:
            pytest.fail(process.stderr.read())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert "Traceback" not in process.stderr.read()


def test_files_are_scored(run: Callable[..., list[str]], trained: Path, tmp_path: Path) -> None:
    output, reference = tmp_path / "out", tmp_path / "ref"
    output.write_text("the cat sat on a mat\nyes\n", encoding="utf-8")
    reference.write_text("the cat sat on the mat\nYes\n", encoding="utf-8")
    files = ["--sys", str(output), "--ref", str(reference)]
    lines = run("score", *files, model=False)
    assert lines[0].startswith("Namespace(") and lines[1].startswith("BLEU4 = ")
    assert run("score", *files, "--ignore-case", "-o", "1", model=False)[1].startswith("BLEU1 = 85.71, 85.7 (")
    smoothed = run("score", *files, "--sentence-bleu", model=False)
    assert [line.split()[0] for line in smoothed[1:]] == ["0", "1"] and "BLEU4 = " in smoothed[1]
    assert run("score", *files, "--sacrebleu", model=False)[1].startswith("BLEU = ")
    assert run("score", *files, "--scoring", "wer", model=False)[1] == "WER: 28.57"
    reference.write_text("one line\n", encoding="utf-8")
    with pytest.raises(ValueError, match="ends before line 2"):
        run("score", *files, model=False)


def test_a_loaded_model_translates_text(trained: Path) -> None:
    from fairseq.models.transformer import TransformerModel

    hub = TransformerModel.from_pretrained(str(trained / "data"))
    one = hub.translate("one two three", beam=2)
    assert isinstance(one, str) and hub.translate(["four", "one two three"], beam=2)[1] == one
    tokens = hub.encode("one two three")
    hypotheses = hub.generate(tokens, beam=2, nbest=2)
    assert len(hypotheses) == 2 and hub.decode(hypotheses[0]["tokens"]) == one
    with pytest.raises(FileNotFoundError, match="no model or data"):
        TransformerModel.from_pretrained(str(trained / "nowhere"))
