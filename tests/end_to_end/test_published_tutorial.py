"""The published tutorial's two commands, unchanged: the script inside ``data-bin/``, then ``fairseq-train``."""

from __future__ import annotations

import filecmp
import io
import os
import random
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fairseq

ROOT = Path(__file__).resolve().parents[2]
PACKAGED = Path(fairseq.__file__).parent / "examples"
CHECKOUT = ROOT / "examples"
TRAIN = (
    "data-bin/iwslt14.tokenized.de-en --arch tutorial_simple_lstm --encoder-dropout 0.2 --decoder-dropout 0.2 "
    "--optimizer adam --lr 0.005 --lr-shrink 0.5 --max-tokens 12000 --user-dir {plugin} "
    "--source-lang de --target-lang en"
)
NEEDS_BASH = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts are for bash")

# As the tutorial's pages tell to write it: in src/getting_started, with its own classes.
INIT = "from . import simple_lstm\n"
MODEL = """
import torch
from torch import nn

from fairseq import models, utils


class Reader(models.FairseqEncoder):
    def __init__(self, args, dictionary, size=8):
        super().__init__(dictionary)
        self.args = args
        self.embed_tokens = nn.Embedding(len(dictionary), size, padding_idx=dictionary.pad())
        self.dropout = nn.Dropout(args.encoder_dropout)
        self.lstm = nn.LSTM(size, size, batch_first=True)

    def forward(self, src_tokens, src_lengths):
        if self.args.left_pad_source:
            src_tokens = utils.convert_padding_direction(src_tokens, self.dictionary.pad(), left_to_right=True)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.embed_tokens(src_tokens)), src_lengths.cpu(), batch_first=True
        )
        return {"state": self.lstm(packed)[1][0].squeeze(0)}

    def reorder_encoder_out(self, encoder_out, new_order):
        return {"state": encoder_out["state"].index_select(0, new_order)}


class Writer(models.FairseqIncrementalDecoder):
    def __init__(self, dictionary, dropout, size=8):
        super().__init__(dictionary)
        self.embed_tokens = nn.Embedding(len(dictionary), size, padding_idx=dictionary.pad())
        self.dropout = nn.Dropout(dropout)
        self.lstm = nn.LSTM(2 * size, size, batch_first=True)
        self.output_projection = nn.Linear(size, len(dictionary))

    def forward(self, prev_output_tokens, encoder_out, incremental_state=None):
        state = encoder_out["state"]
        words = self.dropout(self.embed_tokens(prev_output_tokens))
        seen = state.unsqueeze(1).expand(-1, words.size(1), -1)
        initial = (state.unsqueeze(0), torch.zeros_like(state).unsqueeze(0))
        return self.output_projection(self.lstm(torch.cat([words, seen], dim=2), initial)[0]), None


@models.register_model("simple_lstm")
class SimpleLSTM(models.FairseqEncoderDecoderModel):
    @staticmethod
    def add_args(parser):
        parser.add_argument("--encoder-dropout", type=float, default=0.1)
        parser.add_argument("--decoder-dropout", type=float, default=0.1)

    @classmethod
    def build_model(cls, args, task):
        return cls(Reader(args, task.source_dictionary), Writer(task.target_dictionary, args.decoder_dropout))


@models.register_model_architecture("simple_lstm", "tutorial_simple_lstm")
def tutorial_simple_lstm(args):
    pass
"""


def make_archive(path: Path, pairs: int = 120) -> Path:
    """A small archive with the layout of the IWSLT'14 talks."""
    from fairseq_cli.prepare import iwslt14

    draw = random.Random(7)
    words = [("haus", "house"), ("katze", "cat"), ("baum", "tree"), ("wasser", "water"), ("gehen", "walking")]

    def sentences(count: int, side: int) -> list[str]:
        rows = [[draw.choice(words) for _ in range(draw.randint(2, 6))] for _ in range(count)]
        return [" ".join(pair[side] for pair in row).capitalize() + "." for row in rows]

    with tarfile.open(path, "w:gz") as tar:
        for side, language in enumerate(("de", "en")):
            draw.seed(7)
            files = {
                f"train.tags.de-en.{language}": "<url>x</url>\n<title>A</title>\n"
                + "".join(line + "\n" for line in sentences(pairs, side))
            }
            for name in iwslt14.TEST_SETS:
                segments = "".join(f'<seg id="{i}"> {line} </seg>\n' for i, line in enumerate(sentences(3, side), 1))
                files[f"{name}.de-en.{language}.xml"] = f"<doc>\n{segments}</doc>\n"
            for name, text in files.items():
                member = tarfile.TarInfo(f"de-en/{name}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
    return path


def run(command: list[str], folder: Path, code: int = 0, **variables: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    environment.pop("PYTHONPATH", None)
    environment = {name: value for name, value in {**environment, **variables}.items() if value}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == code, f"{shlex.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def scripts(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.sh"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the first command was run."""
    if shutil.which("bash") is None:
        pytest.skip("the scripts are for bash")
    pytest.importorskip("sacremoses")
    pytest.importorskip("subword_nmt")
    work = tmp_path_factory.mktemp("tutorial")
    (work / "data-bin").mkdir()
    make_archive(work / "data-bin" / "de-en.tgz")
    script = PACKAGED / "translation" / "prepare-iwslt14.sh"
    run(["bash", str(script), "--workers", "1"], work / "data-bin")
    return work


def test_the_script_leaves_the_published_layout_and_the_binarised_files(prepared: Path) -> None:
    folder = prepared / "data-bin" / "iwslt14.tokenized.de-en"
    made = {path.name for path in folder.iterdir()}
    texts = {f"{part}.{language}" for part in ("train", "valid", "test") for language in ("de", "en")}
    assert texts | {"code", "dict.de.txt", "dict.en.txt", "train.de-en.de.bin", "train.de-en.en.idx"} <= made
    lines = {name: len((folder / name).read_text(encoding="utf-8").splitlines()) for name in texts}
    assert lines["train.de"] == lines["train.en"] and lines["valid.de"] == lines["valid.en"] == 5
    assert lines["test.de"] == lines["test.en"] == 15
    assert not list((prepared / "data-bin").glob("*.part")) and (prepared / "data-bin" / "de-en.tgz").exists()
    assert "." in (folder / "test.en").read_text(encoding="utf-8").split("\n")[0].split()


@pytest.mark.parametrize("plugin", ["src/getting_started", "tutorial_lstm"])
def test_the_second_command_trains(plugin: str, prepared: Path) -> None:
    if "/" in plugin:
        (prepared / plugin).mkdir(parents=True)
        (prepared / plugin / "__init__.py").write_text(INIT, encoding="utf-8")
        (prepared / plugin / "simple_lstm.py").write_text(MODEL, encoding="utf-8")
    words = TRAIN.format(plugin=plugin).split()
    # Unchanged but for its end: the published command trains until it is stopped.
    ending = ["--max-epoch", "1", "--save-dir", f"checkpoints-{Path(plugin).name}"]
    said = run([sys.executable, "-m", "fairseq_cli.train", *words, *ending], prepared)
    assert "| valid | epoch 001" in said or "valid on 'valid' subset" in said
    assert (prepared / ending[-1] / "checkpoint_best.pt").exists()


def test_a_second_call_keeps_what_is_done(prepared: Path) -> None:
    script = CHECKOUT if CHECKOUT.is_dir() else PACKAGED
    data = prepared / "data-bin" / "iwslt14.tokenized.de-en" / "train.de-en.de.bin"
    before = data.read_bytes()
    said = run(["bash", str(script / "translation" / "prepare-iwslt14.sh"), "--workers", "1"], prepared / "data-bin")
    assert "extract: done before" in said and "subwords train.de: done before" in said
    assert data.read_bytes() == before


def test_a_recipe_that_goes_on_with_preprocessing_may_write_to_the_same_folder(prepared: Path) -> None:
    text = "data-bin/iwslt14.tokenized.de-en"
    words = ["--source-lang", "de", "--target-lang", "en", "--trainpref", f"{text}/train", "--validpref"]
    command = [sys.executable, "-m", "fairseq_cli.preprocess", *words, f"{text}/valid", "--joined-dictionary"]
    run([*command, "--destdir", text], prepared)
    folder = prepared / text
    assert (folder / "dict.de.txt").read_bytes() == (folder / "dict.en.txt").read_bytes()
    # From then on the folder is the user's: as ever, it is not written over.
    assert "exists already" in run([*command, "--destdir", text], prepared, code=1)
    # Elsewhere nothing is different.
    run([*command, "--destdir", "elsewhere"], prepared)


@NEEDS_BASH
def test_without_an_archive_and_without_a_network_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("sacremoses")
    pytest.importorskip("subword_nmt")
    script = PACKAGED / "translation" / "prepare-iwslt14.sh"
    # A port that nothing listens on.
    said = run(["bash", str(script), "--url", "https://127.0.0.1:9/de-en.tgz"], tmp_path, code=1)
    assert len(said.splitlines()) == 1 and said.startswith("OSError: https://127.0.0.1:9/de-en.tgz could not be")
    assert "put it at orig/de-en.tgz" in said and not list(tmp_path.rglob("*.tgz*"))


@NEEDS_BASH
def test_without_the_extra_the_script_says_which_one_to_install(tmp_path: Path) -> None:
    # Modules of these names that are not there, as far as the import system can tell.
    hide = "import sys\nsys.modules['sacremoses'] = sys.modules['subword_nmt'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hide, encoding="utf-8")
    script = PACKAGED / "translation" / "prepare-iwslt14.sh"
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    said = run(["bash", str(script)], tmp_path, code=1, PYTHONPATH=paths)
    assert len(said.splitlines()) == 1 and "pip install 'fairseq[tutorial]'" in said


@NEEDS_BASH
def test_a_python_without_fairseq_is_named(tmp_path: Path) -> None:
    script = PACKAGED / "translation" / "prepare-iwslt14.sh"
    said = run(["bash", str(script)], tmp_path, code=1, PYTHON="/nowhere/python")
    assert said == f"no Python with fairseq was found; name one: PYTHON=/path/to/python bash {script}\n"


@NEEDS_BASH
def test_the_python_of_the_installation_is_found(tmp_path: Path) -> None:
    """In an environment's site-packages, the script takes that environment's Python, not the first on the PATH."""
    home = tmp_path / "env" / "lib" / "python3.99" / "site-packages" / "fairseq" / "examples"
    shutil.copytree(PACKAGED, home)
    tool = tmp_path / "env" / "bin" / "python3.99"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nif [ "$1" = -c ]; then exit 0; fi\necho "the right one: $*"\n', encoding="utf-8")
    tool.chmod(0o755)
    said = run(["bash", str(home / "translation" / "prepare-wmt14en2de.sh"), "--icml17"], tmp_path, PYTHON="")
    assert said == "the right one: -m fairseq_cli.recipes prepare-wmt14en2de --icml17\n"


def test_the_scripts_of_the_package_and_of_the_checkout_are_the_same() -> None:
    if not CHECKOUT.is_dir():
        pytest.skip("the second place is part of the checkout only")
    # A link would become a text file in a checkout on Windows; the scripts are a few lines that must not drift.
    assert scripts(CHECKOUT) == scripts(PACKAGED)
    for name in scripts(PACKAGED):
        assert filecmp.cmp(PACKAGED / name, CHECKOUT / name, shallow=False), (
            f"copy fairseq/examples/{name} to examples/"
        )
        assert b"\r" not in (PACKAGED / name).read_bytes()


def test_the_examples_can_be_imported_as_a_path_and_load_nothing() -> None:
    program = (
        "import sys, fairseq; before = set(sys.modules); import fairseq.examples; "
        "print(fairseq.examples.__path__[0]); assert set(sys.modules) - before == {'fairseq.examples'}"
    )
    said = run([sys.executable, "-c", program], ROOT)
    assert Path(said.strip()) == PACKAGED
