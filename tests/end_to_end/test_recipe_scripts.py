"""The scripts that recipes and papers call, under their old paths and with their old options."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

import fairseq
from fairseq_cli.recipes import bleu, wmt14
from fairseq_cli.recipes.scripts import INSTEAD, SCRIPTS, run

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = Path(fairseq.__file__).parent / "examples"
OLD_PATHS = [
    "examples/translation/prepare-iwslt14.sh",
    "examples/translation/prepare-wmt14en2de.sh",
    "examples/translation/prepare-wmt14en2fr.sh",
    "examples/language_model/prepare-wikitext-103.sh",
    "scripts/average_checkpoints.py",
    "scripts/compound_split_bleu.sh",
    "scripts/rm_pt.py",
    "scripts/sacrebleu.sh",
    "scripts/spm_decode.py",
    "scripts/spm_encode.py",
    "scripts/spm_train.py",
]
IN_CHECKOUT = pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="scripts/ is part of the checkout only")


def script(path: str, *words: object, folder: Path, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a script of the checkout as a recipe does."""
    if path.endswith(".sh") and shutil.which("bash") is None:
        pytest.skip("the script is for bash")
    interpreter = sys.executable if path.endswith(".py") else "bash"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "LC_ALL": "C"}
    done = subprocess.run(
        [interpreter, str(ROOT / path), *map(str, words)],
        cwd=folder,
        env=environment,
        input=stdin.encode(),
        capture_output=True,
        timeout=200,
    )
    said = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert said.returncode == code, said.stdout + said.stderr
    return said


@IN_CHECKOUT
@pytest.mark.parametrize("path", OLD_PATHS)
def test_every_script_is_at_its_old_path_and_answers_help(path: str, tmp_path: Path) -> None:
    said = script(path, "--help", folder=tmp_path)
    assert said.stdout.startswith("usage: ") and said.stderr == ""
    assert Path(path).stem in SCRIPTS


@IN_CHECKOUT
def test_checkpoints_are_averaged(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        state = {"model": {"w": torch.full((2,), float(number))}, "args": None}
        torch.save(state, tmp_path / f"checkpoint{number}.pt")
    words = ["--inputs", tmp_path, "--num-epoch-checkpoints", 2, "--checkpoint-upper-bound", 2]
    script("scripts/average_checkpoints.py", *words, "--output", "mean.pt", folder=tmp_path)
    assert torch.load(tmp_path / "mean.pt", weights_only=True)["model"]["w"].tolist() == [1.5, 1.5]
    said = script("scripts/average_checkpoints.py", "--inputs", "none.pt", "--output", "m", folder=tmp_path, code=1)
    assert len(said.stderr.splitlines()) == 1 and "none.pt" in said.stderr


# -- SentencePiece


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained by the script in a folder with a space in its name."""
    pytest.importorskip("sentencepiece")
    if not (ROOT / "scripts").is_dir():
        pytest.skip("scripts/ is part of the checkout only")
    folder = tmp_path_factory.mktemp("two words")
    text = "".join(f"die katze {word} über den zaun\n" for word in ("läuft", "springt", "fällt")) * 20
    (folder / "text").write_text(text, encoding="utf-8")
    words = [f"--input={folder}/text", "--model_prefix", "m", "--vocab_size=40", "--model_type=bpe"]
    script("scripts/spm_train.py", *words, "--hard_vocab_limit=false", folder=folder)
    return folder / "m.model"


def test_pieces_go_there_and_back(model: Path) -> None:
    for kind in ("piece", "id"):
        words = ["--model", model, f"--output_format={kind}"]
        pieces = script("scripts/spm_encode.py", *words, folder=model.parent, stdin="die katze läuft\n").stdout
        assert len(pieces.split()) > 3
        words = ["--model", model, f"--input_format={kind}"]
        back = script("scripts/spm_decode.py", *words, folder=model.parent, stdin=pieces).stdout
        assert back == "die katze läuft\n"


def test_lines_are_dropped_from_parallel_texts_together(model: Path) -> None:
    folder = model.parent
    (folder / "a").write_text("die katze\n\nzaun\ndie\n", encoding="utf-8")
    (folder / "b").write_text("den zaun\nüber\ndie katze springt über den zaun\nden\n", encoding="utf-8")
    words = ["--model", model, "--inputs", "a", "b", "--outputs", "a.bpe", "b.bpe", "--min-len", 1, "--max-len", 9]
    said = script("scripts/spm_encode.py", *words, folder=folder)
    assert said.stderr == "skipped 1 empty lines\nfiltered 1 lines\n"
    assert [len((folder / name).read_text(encoding="utf-8").splitlines()) for name in ("a.bpe", "b.bpe")] == [2, 2]
    (folder / "b").write_text("den zaun\n", encoding="utf-8")
    said = script("scripts/spm_encode.py", *words, folder=folder, code=1)
    assert said.stderr == "ValueError: b ends before line 2: parallel texts need line for line\n"
    said = script("scripts/spm_decode.py", "--model", "a", folder=folder, code=1)
    assert said.stderr.startswith("ValueError: a is no SentencePiece model") and len(said.stderr.splitlines()) == 1


# -- deleting


CHECKPOINTS = [*(f"checkpoint{n}.pt" for n in range(1, 7)), "checkpoint_6_50.pt", "checkpoint_best.pt"]
CHECKPOINTS += ["checkpoint_last.pt", "model.pt", "checkpoint.best_loss_2.5.pt"]


@IN_CHECKOUT
@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], "checkpoint_best checkpoint_last"),
        (["--save-last", 2], "checkpoint_best checkpoint_last checkpoint6 checkpoint_6_50"),
        (["--save-every", 3], "checkpoint_best checkpoint_last checkpoint1 checkpoint4 checkpoint6"),
        (["--delete-best", "--delete-last"], ""),
    ],
)
def test_old_checkpoints_are_deleted_after_asking(words: list[object], kept: str, tmp_path: Path) -> None:
    for folder in ("run", "test_run"):
        (tmp_path / folder).mkdir()
        for name in CHECKPOINTS:
            (tmp_path / folder / name).touch()
    for answer in ("n\n", ""):
        script("scripts/rm_pt.py", tmp_path, *words, folder=tmp_path, stdin=answer)
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(CHECKPOINTS)
    script("scripts/rm_pt.py", tmp_path, *words, folder=tmp_path, stdin="y\n")
    others = ["model.pt", "checkpoint.best_loss_2.5.pt"]
    expected = sorted([*(f"{name}.pt" for name in kept.split()), *others])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == expected
    assert sorted(path.name for path in (tmp_path / "test_run").iterdir()) == sorted(others)


# -- scores


GENERATED = (
    "S-1\tein b\nT-1\ta well-known word\nH-1\t-0.5\ta well-known word\nD-1\t-0.5\ta well-known word\nP-1\t-0.1\n"
    "H-1\t-0.9\tthe second best\nS-0\tx\nT-0\tthe cat sat on it\nH-0\t-0.2\tthe cat sat on it\n"
    "2026-01-01 | INFO | Generate test with beam=5: BLEU4 = 1.00\n"
)


@IN_CHECKOUT
def test_compounds_are_split_before_scoring(tmp_path: Path) -> None:
    (tmp_path / "gen.out").write_text(GENERATED, encoding="utf-8")
    said = script("scripts/compound_split_bleu.sh", "gen.out", folder=tmp_path)
    assert "BLEU4 = 100.00" in said.stdout
    assert (tmp_path / "gen.out.sys").read_text() == "the cat sat on it\na well ##AT##-##AT## known word\n"
    (tmp_path / "gen.out").write_text("nothing\n", encoding="utf-8")
    said = script("scripts/compound_split_bleu.sh", "gen.out", folder=tmp_path, code=1)
    assert len(said.stderr.splitlines()) == 1 and "has no H- lines" in said.stderr


def test_hypotheses_are_sorted_and_detokenised_for_sacrebleu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sacremoses")
    (tmp_path / "gen").write_text("H-1\t-1\ta dog - house .\nH-0\t-1\thello , you\n", encoding="utf-8")
    commands: list[list[str]] = []
    monkeypatch.setattr(bleu, "_run", commands.append)
    run("sacrebleu", ["wmt14/full", "en", "de", str(tmp_path / "gen")])
    assert (tmp_path / "gen.sorted.detok").read_text() == "hello, you\na dog-house.\n"
    assert commands[0][2:7] == ["sacrebleu", "--test-set", "wmt14/full", "--language-pair", "en-de"]


# -- corpora


def make_tar(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as tar:
        for name, text in files.items():
            body = text.encode()
            if name.endswith(".gz"):
                import gzip

                body = gzip.compress(body)
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))


def make_archives(corpus: wmt14.Corpus, folder: Path) -> None:
    words = {"en": "the cat-tree is here", "de": "der katzen-baum ist hier", "fr": "le chat-arbre est là"}
    for url, beginnings in corpus.texts.items():
        ending = ".gz" if "giga" in url else ""
        files = {
            f"training/{beginning}.{language}{ending}": "".join(f"{words[language]} , {i}\n" for i in range(60))
            for beginning in beginnings
            for language in corpus.languages
        }
        make_tar(folder / url.rpartition("/")[2], files)
    tests = {
        f"test-full/{name}.{language}.sgm": f'<seg id="1">{words[language]} .</seg>\n'
        for name, language in zip(corpus.test, corpus.languages)
    }
    make_tar(folder / "test-full.tgz", tests)


@pytest.mark.parametrize(
    ("path", "words", "corpus"),
    [
        ("translation/prepare-wmt14en2de.sh", [], wmt14.WMT17_EN_DE),
        ("translation/prepare-wmt14en2de.sh", ["--icml17"], wmt14.WMT14_EN_DE),
        ("translation/prepare-wmt14en2fr.sh", [], wmt14.WMT14_EN_FR),
    ],
)
def test_wmt_archives_become_subword_text(path: str, words: list[str], corpus: wmt14.Corpus, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("the scripts are for bash")
    pytest.importorskip("sacremoses")
    pytest.importorskip("subword_nmt")
    make_archives(corpus, tmp_path)
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(EXAMPLES / path), *words, "--workers", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=200)
    assert done.returncode == 0, done.stderr
    folder, total = tmp_path / corpus.folder, 60 * len(corpus.texts)
    made = {f"{part}.{name}": (folder / f"{part}.{name}").read_text(encoding="utf-8").splitlines()
            for part in ("train", "valid", "test") for name in corpus.languages}  # fmt: skip
    source, target = corpus.languages
    num_valid = total // corpus.valid_every
    assert len(made[f"train.{source}"]) == len(made[f"train.{target}"]) == total - num_valid
    assert len(made[f"valid.{source}"]) == len(made[f"valid.{target}"]) == num_valid
    assert made["test.en"] == ["the cat @-@ tree is here ."]
    assert (folder / "code").read_text(encoding="utf-8").startswith("#version")


def test_wikitext_is_unpacked_without_the_folders_of_its_archive(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("the scripts are for bash")
    with zipfile.ZipFile(tmp_path / "wikitext-103-v1.zip", "w") as archive:
        for part in ("train", "valid", "test"):
            archive.writestr(f"../../wiki.{part}.tokens", f"{part} \n")
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["bash", str(EXAMPLES / "language_model" / "prepare-wikitext-103.sh")]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=100)
    made = sorted((tmp_path / "wikitext-103").iterdir())
    assert [path.name for path in made] == ["wiki.test.tokens", "wiki.train.tokens", "wiki.valid.tokens"]
    assert made[1].read_text() == "train \n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("prepare-iwslt15.sh", "prepare-iwslt15.sh: no such recipe script. Did you mean: prepare-iwslt14"),
        ("scripts/read_binarized.py", "scripts/read_binarized.py: what does this script's job: fairseq.data."),
        ("train.py", "train.py: what does this script's job: fairseq-train\n"),
        ("qqq", "qqq: no such recipe script. usage: "),
    ],
)
def test_the_error_for_another_script_names_what_does_its_job(name: str, said: str) -> None:
    command = [sys.executable, "-m", "fairseq_cli.recipes", name]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100)
    assert done.returncode == 2 and done.stderr.startswith(said)


@pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is part of the checkout only")
def test_the_page_of_the_recipes_maps_every_script() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert [name for name in (*SCRIPTS, *INSTEAD) if f"{name}." not in page and f"`{name}" not in page] == []
    assert all(path in page for path in OLD_PATHS)
