"""Every format of data trains, alone and with every file that may lie beside the sentences."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_training import checkpoint, run, same

from fairseq import options
from fairseq.data.indexed_dataset import get_available_dataset_impl

ALIGNED = (  # noqa: SIM905
    "--arch transformer_align --encoder-embed-dim 8 --decoder-embed-dim 8 --encoder-ffn-embed-dim 8 "
    "--decoder-ffn-embed-dim 8 --encoder-attention-heads 1 --decoder-attention-heads 1 --encoder-layers 1 "
    "--decoder-layers 1 --alignment-layer 0 --alignment-heads 1 --load-alignments "
    "--criterion label_smoothed_cross_entropy_with_alignment"
).split()


def make(folder: Path, impl: str) -> str:
    """Sentence pairs of equal length with an alignment each, prepared in a format."""
    from fairseq_cli.preprocess import main

    draw = random.Random(2)
    for split, count in (("train", 20), ("valid", 6)):
        lines = [[draw.choice("abcdefgh") for _ in range(draw.randint(2, 6))] for _ in range(count)]
        (folder / f"{split}.aa").write_text("".join(" ".join(words) + "\n" for words in lines))
        (folder / f"{split}.bb").write_text("".join(" ".join(reversed(words)) + "\n" for words in lines))
        links = (" ".join(f"{i}-{len(words) - 1 - i}" for i in range(len(words))) for words in lines)
        (folder / f"{split}.align").write_text("".join(line + "\n" for line in links))
    words = ["-s", "aa", "-t", "bb", "--trainpref", f"{folder}/train", "--validpref", f"{folder}/valid"]
    words += ["--destdir", f"{folder}/bin", "--dataset-impl", impl, "--align-suffix", "align"]
    main(options.get_preprocessing_parser().parse_args(words))
    return f"{folder}/bin"


def as_huffman(folder: str, target: Path) -> str:
    """A copy in the Huffman format, which has builders of its own."""
    from fairseq.data import Dictionary, data_utils
    from fairseq.data.huffman import HuffmanCodeBuilder, HuffmanMMapIndexedDatasetBuilder

    shutil.copytree(folder, target)
    for language in ("aa", "bb"):
        dictionary = Dictionary.load(f"{folder}/dict.{language}.txt")
        splits = {}
        for split in ("train", "valid"):
            data: Any = data_utils.load_indexed_dataset(f"{folder}/{split}.aa-bb.{language}", dictionary, "mmap")
            splits[split] = [[dictionary[int(token)] for token in data[i]] for i in range(len(data))]
        builder = HuffmanCodeBuilder()
        builder.add_symbols(*(word for sentence in splits["train"] + splits["valid"] for word in sentence))
        coder = builder.build_code()
        coder.to_dictionary().save(f"{target}/dict.{language}.txt")
        for split, sentences in splits.items():
            with HuffmanMMapIndexedDatasetBuilder(f"{target}/{split}.aa-bb.{language}", coder) as out:
                for sentence in sentences:
                    out.add_item(sentence)
    return str(target)


def as_fasta(folder: str, target: Path) -> str:
    """A copy with the words, which are letters, as sequences."""
    from fairseq.data import Dictionary, data_utils

    target.mkdir()
    for path in Path(folder).iterdir():
        if path.name.startswith("dict.") or ".align." in path.name:
            shutil.copy(path, target)
    for language in ("aa", "bb"):
        dictionary = Dictionary.load(f"{folder}/dict.{language}.txt")
        for split in ("train", "valid"):
            data: Any = data_utils.load_indexed_dataset(f"{folder}/{split}.aa-bb.{language}", dictionary, "mmap")
            lines = (f">{i}\n{dictionary.string(data[i]).replace(' ', '')}\n" for i in range(len(data)))
            (target / f"{split}.aa-bb.{language}.fasta").write_text("".join(lines))
    return str(target)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder for each format; lazy and cached read the same files."""
    pytest.importorskip("bitarray", reason="Huffman files need bitarray")
    made = {impl: make(tmp_path_factory.mktemp(impl), impl) for impl in ("raw", "lazy", "mmap")}
    more = tmp_path_factory.mktemp("more")
    made["huffman"] = as_huffman(made["mmap"], more / "huffman")
    made["fasta"] = as_fasta(made["mmap"], more / "fasta")
    return {**made, "cached": made["lazy"]}


@pytest.fixture(scope="module")
def expected(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The weights that training on mmap data gives."""
    folder = tmp_path_factory.mktemp("expected")
    run(folders["mmap"], folder, "--max-epoch", 1, *ALIGNED)
    return checkpoint(folder)["model"]


def fits(impl: str, folder: Path, expected: Any) -> bool:
    """Whether a run gave the weights it should; Huffman files number the words in an order of their own."""
    return impl == "huffman" or same(checkpoint(folder)["model"], expected)


def test_the_formats_are_all_tried() -> None:
    assert set(get_available_dataset_impl()) == {"raw", "lazy", "cached", "mmap", "fasta", "huffman"}


@pytest.mark.parametrize(
    ("impl", "words"),
    [
        *((impl, ["--dataset-impl", impl]) for impl in ("raw", "lazy", "cached", "mmap", "fasta", "huffman")),
        *((impl, []) for impl in ("raw", "lazy", "mmap", "fasta", "huffman")),
        *((impl, ["--dataset-impl", impl, "--num-workers", 1]) for impl in ("raw", "cached")),
    ],
)
def test_pairs_with_alignments(
    impl: str, words: list[Any], folders: dict[str, str], expected: Any, tmp_path: Path
) -> None:
    run(folders[impl], tmp_path, "--max-epoch", 1, *ALIGNED, *words)
    assert fits(impl, tmp_path, expected)


@pytest.mark.parametrize("beside", ["raw", "lazy", "mmap", "text"])
@pytest.mark.parametrize("impl", ["raw", "lazy", "cached", "mmap", "fasta", "huffman"])
def test_alignments_of_another_format(
    impl: str, beside: str, folders: dict[str, str], expected: Any, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(folders[impl], tmp_path / "bin"))
    for path in data.glob("*.align.*"):
        path.unlink()
    if beside == "text":
        for split in ("train", "valid"):
            shutil.copy(Path(folders["mmap"]).parent / f"{split}.align", data / f"{split}.align.aa-bb")
    else:
        for path in Path(folders[beside]).glob("*.align.*"):
            shutil.copy(path, data)
    run(str(data), tmp_path / "ck", "--max-epoch", 1, *ALIGNED, "--dataset-impl", impl)
    assert fits(impl, tmp_path / "ck", expected)


def test_sides_of_different_formats(folders: dict[str, str], expected: Any, tmp_path: Path) -> None:
    data = Path(shutil.copytree(folders["mmap"], tmp_path / "bin"))
    for path in Path(folders["lazy"]).glob("*.aa-bb.bb.*"):
        shutil.copy(path, data)
    run(str(data), tmp_path / "ck", "--max-epoch", 1, *ALIGNED)
    assert fits("mixed", tmp_path / "ck", expected)


def test_alignments_that_are_no_links_are_named(folders: dict[str, str], tmp_path: Path) -> None:
    data = Path(shutil.copytree(folders["fasta"], tmp_path / "bin"))
    for path in data.glob("train.align.*"):
        path.unlink()
    (data / "train.align.aa-bb").write_text("0-1\nzero\n")
    with pytest.raises(ValueError, match=r"train.align.aa-bb, line 2: links such as 0-1 are expected, got 'zero'"):
        run(str(data), tmp_path / "ck", "--max-epoch", 1, *ALIGNED)
