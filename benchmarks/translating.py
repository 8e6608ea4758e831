"""Translating with a transformer of the size of ``transformer_iwslt_de_en``, beam 5, in floats and 8-bit integers.

The same weights on all sides. CTranslate2 reads the checkpoint through this package, if it is installed here. A run of
the first few sentences is subtracted from every figure, so that starting and loading do not count.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._measure import LONGEST, Row, Setup, Side, Usage
from benchmarks._report import main

UPDATES = 200
FEW = 8

CTRANSLATE2 = """
import sys, ctranslate2
model, source, times, more = sys.argv[1:]
translator = ctranslate2.Translator(model, device="cpu", compute_type="float32", intra_threads=1, inter_threads=1)
lines = sorted((line.split() for line in open(source, encoding="utf-8")), key=len)
for start in range(0, len(lines), 64):
    batch = lines[start:start + 64]
    longest = int(float(times) * (len(batch[-1]) + 1) + float(more))
    translator.translate_batch(batch, beam_size=5, max_batch_size=0, max_decoding_length=longest)
"""


def train(setup: Setup) -> Path:
    """A transformer after its first few hundred updates."""
    folder = setup.work / "translating"
    setup.this.run(
        *["-m", "fairseq_cli.train", setup.data, "-s", "de", "-t", "en", "--arch", "transformer_iwslt_de_en"],
        *["--share-decoder-input-output-embed", "--encoder-normalize-before", "--decoder-normalize-before"],
        *["--optimizer", "adam", "--lr", "5e-4", "--lr-scheduler", "inverse_sqrt", "--warmup-updates", "60"],
        *["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--dropout", "0.1", "--cpu"],
        *["--max-tokens", "600", "--max-update", str(UPDATES), "--seed", "1", "--num-workers", "0"],
        *["--disable-validation", "--no-epoch-checkpoints", "--save-dir", folder],
    )
    return folder / "checkpoint_last.pt"


def generate(side: Side, data: Path, subset: str, checkpoint: Path, *more: str) -> Usage:
    """Translate a subset."""
    return side.run(
        *["-m", "fairseq_cli.generate", data, "--gen-subset", subset, "--path", checkpoint, "-s", "de", "-t", "en"],
        *["--beam", "5", "--max-len-a", LONGEST[0], "--max-len-b", LONGEST[1], "--remove-bpe"],
        *["--batch-size", "64", "--required-batch-size-multiple", "1", "--cpu"],
        # The peer's own BLEU needs a compiled library that its source distribution cannot build.
        *["--num-workers", "0", "--scoring", "sacrebleu", *more],
    )


def bleu(used: Usage) -> float:
    """The score at the end of the output."""
    return float(re.findall(r"BLEU\S* = ([\d.]+)", used.output)[-1])


def convert(setup: Setup, checkpoint: Path, data: Path) -> Path:
    """The checkpoint in CTranslate2's form."""
    target = setup.work / "ctranslate2"
    setup.this.run(
        *["-W", "ignore", "-m", "ctranslate2.converters.fairseq", "--unsafe_deserialization"],
        *["--model_path", checkpoint, "--data_dir", data, "--source_lang", "de", "--target_lang", "en"],
        *["--output_dir", target],
    )
    return target


def with_few(setup: Setup) -> Path:
    """The data with ``test1``, the first few sentences of the test set; also as text."""
    few, folder = setup.work / "few", setup.work / "translating-data"
    few.mkdir(exist_ok=True)
    for language in ("de", "en"):
        lines = (setup.corpus / f"test.{language}").read_text(encoding="utf-8").splitlines(keepends=True)[:FEW]
        (few / f"test.{language}").write_text("".join(lines), encoding="utf-8")
    parts = [setup.corpus / "test", few / "test"]
    setup.this.run(
        *["-m", "fairseq_cli.preprocess", "-s", "de", "-t", "en", "--destdir", folder],
        *["--srcdict", setup.data / "dict.de.txt", "--tgtdict", setup.data / "dict.en.txt"],
        *["--trainpref", few / "test", "--testpref", ",".join(map(str, parts))],
    )
    return folder


def rows(setup: Setup) -> Iterator[Row]:
    """Sentences per CPU second, and BLEU."""
    checkpoint = setup.given_transformer or train(setup)
    data = with_few(setup)
    count = len((setup.corpus / "test.de").read_text(encoding="utf-8").splitlines()) - FEW

    def ours(side: Side, more: tuple[str, ...], turn: int) -> dict[str, float]:
        whole, start = (generate(side, data, subset, checkpoint, *more) for subset in ("test", "test1"))
        rate = count / max(whole.cpu - start.cpu, 1e-9)
        return {"sentences per second": rate, "memory": whole.memory, "BLEU": bleu(whole)}

    def theirs(model: Path, turn: int) -> dict[str, float]:
        sources = (folder / "test.de" for folder in (setup.corpus, setup.work / "few"))
        whole, start = (setup.this.run("-c", CTRANSLATE2, model, source, *LONGEST).cpu for source in sources)
        return {"sentences per second": count / (whole - start)}

    ways: dict[str, Callable[[int], Mapping[str, float]]] = {side.name: partial(ours, side, ()) for side in setup.sides}
    ways["int8"] = partial(ours, setup.this, ("--quantize", "int8"))
    if importlib.util.find_spec("ctranslate2"):
        ways["CTranslate2"] = partial(theirs, convert(setup, checkpoint, data))
    found = setup.in_turns(ways)

    def row(what: str, one: str, other: str, quantity: str, against: str) -> Row:
        a, b = found[one][quantity], found.get(other, {}).get(quantity)
        spread = max(a.spread, b.spread if b else 0.0)
        score: dict[str, Any] = {"unit": "BLEU", "more_is_better": True} if quantity == "BLEU" else {}
        return Row(what, quantity, a.median, b and b.median, against, setup.repeat, spread, **score)

    title, integers = "translating with a transformer, beam 5", "the same with --quantize int8"
    for quantity in ("sentences per second", "memory", "BLEU"):
        yield row(title, "this", "peer", quantity, "peer")
    for quantity in ("sentences per second", "memory", "BLEU"):
        yield row(integers, "int8", "this", quantity, "float32")
    if "CTranslate2" in found:
        yield row(title, "this", "CTranslate2", "sentences per second", "CTranslate2")


if __name__ == "__main__":
    main(__file__)
