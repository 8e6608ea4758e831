"""``--replace-unk``: typed source words stand where a model says ``<unk>``, whatever the model and the tool."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from pathlib import Path

import pytest

SOURCES = ["one two three", "four", "five six one two", "seven two", "three three four", "six five"]
# Words that the dictionary does not know stand among the words that it knows.
TYPED = ["one Xaver three", "Yvonne", "five Zoe one Anna"]
SMALL = {
    "transformer": ["--arch", "transformer_tiny"],
    "transformer_align": [
        *["--arch", "transformer_align", "--encoder-layers", "1", "--decoder-layers", "1", "--alignment-layer", "0"],
        *["--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"],
        *["--decoder-ffn-embed-dim", "16", "--encoder-attention-heads", "2", "--decoder-attention-heads", "2"],
    ],
    "lstm": [
        *["--arch", "lstm", "--encoder-embed-dim", "8", "--encoder-hidden-size", "8", "--decoder-embed-dim", "8"],
        *["--decoder-hidden-size", "8", "--decoder-out-embed-dim", "8"],
    ],
    "fconv": [
        *["--arch", "fconv", "--encoder-embed-dim", "8", "--decoder-embed-dim", "8", "--decoder-out-embed-dim", "8"],
        *["--encoder-layers", "[(8, 3)] * 2", "--decoder-layers", "[(8, 3)] * 2"],
    ],
}
# An unknown word is all that such a model says; the words before and after are known.
ALWAYS_UNKNOWN = ["--unkpen", "-1000", "--min-len", "3", "--max-len-b", "3", "--beam", "2"]


def in_process(tool: str, *argv: str) -> None:
    before = sys.argv
    sys.argv = [tool, *argv]
    try:
        importlib.import_module(f"fairseq_cli.{tool}").cli_main()
    finally:
        sys.argv = before


class Run:
    """A folder with data, and the tools on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        tool: str,
        model: str,
        *argv: str,
        stdin: str = "",
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> dict[str, str]:
        """Lines by their tag, the last column of each."""
        common = [str(self.folder / "data"), "-s", "src", "-t", "tgt", "--cpu", "--path", str(self.checkpoint(model))]
        if tool == "generate":
            common += ["--num-workers", "0", "--log-format", "none", "--dataset-impl", "raw"]
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        in_process(tool, *common, *ALWAYS_UNKNOWN, *argv)
        lines = capsys.readouterr().out.splitlines()
        return {line.split("\t")[0]: line.split("\t")[-1] for line in lines if line[1:2] == "-"}

    def checkpoint(self, model: str) -> Path:
        """Train once per model."""
        path = self.folder / f"{model}.pt"
        if not path.exists():
            in_process(
                *["train", str(self.folder / "data"), "-s", "src", "-t", "tgt", *SMALL[model], "--cpu", "--seed", "1"],
                *["--optimizer", "adam", "--lr", "0.01", "--max-update", "2", "--batch-size", "6"],
                *["--save-dir", str(self.folder / model), "--log-format", "none", "--disable-validation"],
                *["--num-workers", "0", "--max-source-positions", "12", "--max-target-positions", "12"],
            )
            shutil.move(self.folder / model / "checkpoint_last.pt", path)
        return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unknown")
    (folder / "train.src").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    (folder / "train.tgt").write_text("\n".join(s.upper() for s in SOURCES) + "\n", encoding="utf-8")
    data = folder / "data"
    in_process("preprocess", "-s", "src", "-t", "tgt", "--destdir", str(data), f"--trainpref={folder}/train")
    (data / "test.src-tgt.src").write_text("\n".join(TYPED) + "\n", encoding="utf-8")
    (data / "test.src-tgt.tgt").write_text("\n".join(s.upper() for s in TYPED) + "\n", encoding="utf-8")
    return folder


def attended(row: str) -> list[int]:
    """Positions with the most attention in an A- line of soft alignments; the last column is no word."""
    rows = [[float(value) for value in cell.split(",")][:-1] for cell in row.split()]
    return [values.index(max(values)) for values in rows]


@pytest.mark.parametrize("tool", ["generate", "interactive"])
@pytest.mark.parametrize("model", sorted(SMALL))
def test_unknown_words_become_the_typed_words_with_the_most_attention(
    tool: str,
    model: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin = "".join(line + "\n" for line in TYPED)
    table = tmp_path / "table.txt"
    table.write_text("Xaver XAVIER\none EINS\n", encoding="utf-8")
    translations = {"Xaver": "XAVIER", "one": "EINS"}

    def run(*argv: str) -> dict[str, str]:
        # Batches of several lines, so that shorter ones are padded.
        more = ["--buffer-size", "3", "--batch-size", "3"] if tool == "interactive" else []
        return Run(folder)(tool, model, *more, *argv, stdin=stdin, capsys=capsys, monkeypatch=monkeypatch)

    for kind in ("soft", "hard"):
        lines = run("--replace-unk", "--print-alignment", kind)
        for number, line in enumerate(TYPED):
            words = line.split()
            output = lines[f"H-{number}"].split()
            assert lines[f"D-{number}"].split() == output and "<unk>" not in output and len(output) == 3
            if kind == "soft":
                positions = attended(lines[f"A-{number}"])
            else:
                positions = [int(pair.split("-")[0]) for pair in lines[f"A-{number}"].split()]
            assert output == [words[position] for position in positions[: len(output)]]
    bare, translated = run("--replace-unk"), run("--replace-unk", str(table))
    if model != "transformer_align":
        # That one computes its alignments in a second pass; the others read them from the search.
        assert [bare[f"H-{i}"] for i in range(3)] == [lines[f"H-{i}"] for i in range(3)]
    for number, line in enumerate(TYPED):
        assert set(bare[f"H-{number}"].split()) <= set(line.split())
        expected = [translations.get(word, word) for word in bare[f"H-{number}"].split()]
        assert translated[f"H-{number}"].split() == expected


@pytest.mark.parametrize("option", [["--scoring", "sacrebleu"], ["--sacrebleu"], ["--scoring", "chrf"], []])
def test_unknown_words_of_output_and_reference_never_match(
    option: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sacrebleu

    runner = Run(folder)
    common = [str(folder / "data"), "-s", "src", "-t", "tgt", "--cpu", "--path", str(runner.checkpoint("transformer"))]
    # Every other word of the output is unknown: the prefix is the reference's.
    common += ["--num-workers", "0", "--log-format", "none", "--dataset-impl", "raw", "--prefix-size", "1"]
    capsys.readouterr()
    in_process("generate", *common, *ALWAYS_UNKNOWN, *option)
    lines = capsys.readouterr().out.splitlines()

    def texts(tag: str, unknown: str) -> list[str]:
        rows = {line.split("\t")[0]: line.split("\t")[-1] for line in lines if line.startswith(tag)}
        return [rows[f"{tag}{i}"].replace("<<unk>>", "<unk>").replace("<unk>", unknown) for i in range(len(TYPED))]

    # As validation with --eval-bleu counts.
    outputs, references = texts("D-", "UNKNOWNTOKENINHYP"), texts("T-", "UNKNOWNTOKENINREF")
    assert any("UNKNOWN" in text for text in outputs) and any("UNKNOWN" in text for text in references)
    score = lines[-1].partition(": ")[2]
    if option == ["--scoring", "chrf"]:
        wanted = str(sacrebleu.corpus_chrf(texts("D-", "\ue000"), [texts("T-", "\ue001")]))
        assert score == wanted
    elif option:
        wanted = str(sacrebleu.corpus_bleu(outputs, [references]))
        assert score == wanted
        (tmp_path / "sys").write_text("\n".join(texts("D-", "<unk>")) + "\n", encoding="utf-8")
        for form in ("<unk>", "<<unk>>", "&lt;unk&gt;"):
            (tmp_path / "ref").write_text("\n".join(texts("T-", form)) + "\n", encoding="utf-8")
            in_process("score", "--sys", str(tmp_path / "sys"), "--ref", str(tmp_path / "ref"), "--sacrebleu")
            assert capsys.readouterr().out.splitlines()[-1] == wanted
            in_process("score", "--sys", str(tmp_path / "sys"), "--ref", str(tmp_path / "sys"), "-o", "1")
            assert "BLEU1 = 22.22, 22.2" in capsys.readouterr().out
    else:
        known = sum(word == "ONE" or word == "FIVE" for text in outputs for word in text.split())
        assert f"BLEU4 = 0.00, {100 * known / 9:.1f}/0.0/0.0/0.0" in score
