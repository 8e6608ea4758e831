"""Every format that comes from elsewhere, damaged at random: no crash, no hang (30 s), no traceback.

``FAIRSEQ_TEST_MUTATED`` raises the number of damaged files of each format (25).
"""

from __future__ import annotations

import importlib.util
import json
import os
import tarfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mutate import try_many

COUNT = int(os.environ.get("FAIRSEQ_TEST_MUTATED", "25"))
WORDS = [f"wörd{number}" for number in range(60)]


def check(path: Path, read: Callable[[], object], is_text: bool = False) -> None:
    read()  # whole, it is good
    wrong = try_many(path, read, COUNT, seed=7, is_text=is_text)
    assert not wrong, f"{len(wrong)} of {COUNT}:\n" + "\n".join(wrong[:20])


# ------------------------------------------------------------------------------------------------------- checkpoints
def state() -> dict[str, Any]:
    import numpy as np

    moments = {0: {"step": 3, "exp_avg": torch.ones(5), "exp_avg_sq": torch.ones(5)}}
    cfg = {"task": {"_name": "translation", "data": "x"}, "model": Namespace(arch="toy", _name="toy", lr=[0.1])}
    return {
        "args": None,
        "cfg": cfg,
        "model": {"w": torch.arange(12.0).view(3, 4), "b": torch.zeros(4, dtype=torch.float16)},
        "criterion": None,
        "optimizer_history": [{"criterion_name": "c", "optimizer_name": "o", "lr_scheduler_state": {"best": None}}],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 3, "iterations_in_epoch": 0}, "val_loss": np.float64(1.5)},
        "last_optimizer_state": {"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_checkpoints(layout, tmp_path):
    from fairseq.checkpoint_utils import load_checkpoint_to_cpu
    from fairseq.checkpoint_utils.describe import describe, verify

    path = tmp_path / "x.pt"
    torch.save(state(), path, _use_new_zipfile_serialization=layout == "zip")

    def read() -> None:
        load_checkpoint_to_cpu(str(path), mmap=True)
        load_checkpoint_to_cpu(str(path))
        describe(str(path))
        verify(str(path))

    check(path, read)


def test_safetensors(tmp_path):
    from fairseq.checkpoint_utils.safetensors_format import read_safetensors, write_safetensors

    path = tmp_path / "x.safetensors"
    write_safetensors(state(), str(path))
    check(path, lambda: read_safetensors(str(path)))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_model_archives(mode, tmp_path, monkeypatch):
    from fairseq import file_utils

    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")
    path = tmp_path / "model.tar"
    torch.save(state(), tmp_path / "model.pt")
    (tmp_path / "dict.txt").write_text("".join(f"{word} 3\n" for word in WORDS), encoding="utf-8")
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        archive.add(tmp_path / "dict.txt", "model/" + "long" * 60 + "/dict.txt")
        archive.add(tmp_path / "model.pt", "model/model.pt")
        link = tarfile.TarInfo("model/link")
        link.type, link.linkname = tarfile.LNKTYPE, "model/model.pt"
        archive.addfile(link)
    check(path, lambda: file_utils.load_archive_file(str(path)))
    outside = {entry.name for entry in tmp_path.iterdir()}
    assert outside == {"model.tar", "model.pt", "dict.txt", "cache"}


# --------------------------------------------------------------------------------------------------------------- data
def dictionary() -> Any:
    from fairseq.data import Dictionary

    words = Dictionary()
    for word in WORDS:
        words.add_symbol(word)
    return words


def read_data(prefix: Path, impl: str | None) -> None:
    from fairseq.data import data_utils

    dataset = data_utils.load_indexed_dataset(str(prefix), dictionary(), impl)
    if dataset is None:
        return
    if getattr(dataset, "supports_prefetch", False):
        dataset.prefetch(range(min(len(dataset), 1000)))
    for index in range(min(len(dataset), 1000)):
        dataset[index]
        dataset.sizes[index]


@pytest.mark.parametrize("impl", ["mmap", "cached", "lazy"])
@pytest.mark.parametrize("end", ["idx", "bin"])
@pytest.mark.parametrize("named", [True, False])
def test_binarised_data(impl, end, named, tmp_path):
    from fairseq.data import indexed_dataset

    prefix = tmp_path / "train"
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl, vocab_size=1000)
    for length in range(1, 30):
        builder.add_item(torch.arange(4, 4 + length, dtype=torch.int32))
    builder.finalize(f"{prefix}.idx")
    check(tmp_path / f"train.{end}", lambda: read_data(prefix, impl if named else None))


@pytest.mark.parametrize("end", ["idx", "bin", "vocab"])
@pytest.mark.skipif(importlib.util.find_spec("bitarray") is None, reason="the huffman format needs bitarray")
def test_huffman_data(end, tmp_path):
    from fairseq.data.huffman import HuffmanCodeBuilder, HuffmanMMapIndexedDataset, HuffmanMMapIndexedDatasetBuilder

    counts = HuffmanCodeBuilder()
    for number, word in enumerate(WORDS):
        counts.increment(word, number + 1)
    prefix = tmp_path / "train"
    with HuffmanMMapIndexedDatasetBuilder(str(prefix), counts.build_code()) as builder:
        for length in range(1, 30):
            builder.add_item([WORDS[index % 60] for index in range(length)])

    def read() -> None:
        dataset = HuffmanMMapIndexedDataset(str(prefix))
        for index in range(min(len(dataset), 1000)):
            dataset[index]
            list(dataset.get_symbols(index))

    check(tmp_path / f"train.{end}", read, is_text=end == "vocab")


def sentences(path: Path, count: int = 40) -> Path:
    lines = (" ".join(WORDS[(number * step) % 60] for step in range(1, 2 + number % 7)) for number in range(count))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_raw_text(tmp_path):
    path = sentences(tmp_path / "train.de-en.de")
    check(path, lambda: read_data(path, "raw"), is_text=True)


def test_text_to_binarise(tmp_path):
    from fairseq.binarizer import FileBinarizer, VocabularyDatasetBinarizer

    path, words = sentences(tmp_path / "train.de"), dictionary()
    binarizer = VocabularyDatasetBinarizer(words)
    check(
        path,
        lambda: FileBinarizer.multiprocess_dataset(str(path), "mmap", binarizer, str(tmp_path / "out"), len(words)),
        is_text=True,
    )


def test_text_of_which_a_dictionary_is_made(tmp_path):
    from fairseq.data import Dictionary
    from fairseq.tokenizer import tokenize_line

    path = sentences(tmp_path / "train.de")
    check(path, lambda: Dictionary.add_file_to_dictionary(str(path), Dictionary(), tokenize_line, 1), is_text=True)


def test_dictionaries(tmp_path):
    from fairseq.data import Dictionary

    path = tmp_path / "dict.txt"
    dictionary().save(str(path))
    check(path, lambda: Dictionary.load(str(path)), is_text=True)


def test_fasta(tmp_path):
    from fairseq.data.fasta_dataset import FastaDataset

    path = tmp_path / "x.fasta"
    path.write_text("".join(f">protein {number}\n{'ACDEFGHIKL' * (number % 5 + 1)}\n" for number in range(20)))

    def read() -> None:
        dataset = FastaDataset(str(path.with_suffix("")))
        for index in range(min(len(dataset), 1000)):
            dataset[index]

    check(path, read, is_text=True)


def test_alignments(tmp_path):
    from fairseq import utils
    from fairseq.binarizer import AlignmentDatasetBinarizer, FileBinarizer

    path = tmp_path / "train.align"
    path.write_text("".join(" ".join(f"{i}-{i + n % 3}" for i in range(n % 6)) + "\n" for n in range(30)))
    binarizer = AlignmentDatasetBinarizer(utils.parse_alignment)
    check(
        path,
        lambda: FileBinarizer.multiprocess_dataset(str(path), "mmap", binarizer, str(tmp_path / "out")),
        is_text=True,
    )


def test_alignment_dictionaries(tmp_path):
    from fairseq import utils

    path = tmp_path / "align.txt"
    path.write_text("".join(f"{word} {word[::-1]}\n" for word in WORDS), encoding="utf-8")
    check(path, lambda: utils.load_align_dict(str(path)), is_text=True)


def test_word_vectors(tmp_path):
    from fairseq import utils

    path, words = tmp_path / "vectors.txt", dictionary()
    rows = (f"{word} " + " ".join(f"{number / 7:.4f}" for number in range(8)) for word in WORDS)
    path.write_text(f"{len(WORDS)} 8\n" + "".join(row + "\n" for row in rows), encoding="utf-8")

    def read() -> None:
        vectors = utils.parse_embedding(str(path))
        utils.print_embed_overlap(vectors, words)
        utils.load_embedding(vectors, words, torch.nn.Embedding(len(words), 8))

    check(path, read, is_text=True)


@pytest.mark.parametrize("tool", ["gpt2", "subword_nmt"])
def test_subword_codes(tool, tmp_path):
    from fairseq.data.encoders import build_bpe

    options: dict[str, Any] = {"bpe": tool}
    if tool == "gpt2":
        path, other = tmp_path / "vocab.bpe", tmp_path / "encoder.json"
        path.write_text("#version: 0.2\n" + "a b\nab c\nc d\n", encoding="utf-8")
        other.write_text(json.dumps({chr(letter): letter for letter in range(33, 127)} | {"ab": 1, "abc": 2, "cd": 3}))
        options |= {"gpt2_encoder_json": str(other), "gpt2_vocab_bpe": str(path)}
    else:
        if importlib.util.find_spec("subword_nmt") is None:
            pytest.skip("subword_nmt is not installed")
        path = tmp_path / "code"
        path.write_text("#version: 0.2\na b\nab c</w>\nc d\n", encoding="utf-8")
        options["bpe_codes"] = str(path)

    def read() -> None:
        encoder = build_bpe(Namespace(**options))
        encoder.decode(encoder.encode("abc"))

    check(path, read, is_text=True)
    if tool == "gpt2":
        check(other, read, is_text=True)


# ------------------------------------------------------------------------------------------------------------ options
YAML = """\
vocab_filename: dict.txt
shuffle: false
input_feat_per_channel: 80
sampling_alpha: 1.0
audio_root: /data
bpe_tokenizer:
  bpe: sentencepiece
  sentencepiece_model: spm.model
pre_tokenizer: {tokenizer: moses}
transforms:
  _train: [utterance_cmvn, specaugment]
  '*': [utterance_cmvn]
specaugment: {freq_mask_F: 27, freq_mask_N: 2, time_mask_N: 2, time_mask_T: 100, time_mask_p: 1.0, time_wrap_W: 0}
global_cmvn: {stats_npz_path: gcmvn.npz}
"""


def test_yaml_of_speech_data(tmp_path):
    pytest.importorskip("yaml")
    from fairseq.data.audio.data_cfg import S2TDataConfig

    path = tmp_path / "config.yaml"
    path.write_text(YAML)

    def read() -> None:
        config = S2TDataConfig(path)
        for name in dir(S2TDataConfig):
            if isinstance(getattr(S2TDataConfig, name), property):
                getattr(config, name)
        for split in ("train", "valid"):
            config.get_feature_transforms(split, split == "train")

    check(path, read, is_text=True)


def test_yaml_of_quantisation(tmp_path):
    pytest.importorskip("yaml")
    from fairseq.quantization_utils import Quantizer

    path = tmp_path / "quant.yaml"
    path.write_text(
        "n_centroids:\n  Linear:\n    key: in_features\n    value: {'*': 8}\n  Embedding:\n    key: embedding_dim\n"
        "    value: {'*': 8}\nblock_sizes:\n  Linear:\n    key: fuzzy_name\n    value: {fc: 8, attn: 4, emb: 4}\n"
        "  Embedding:\n    key: fuzzy_name\n    value: {emb: 8}\nlayers_to_quantize:\n  - decoder\\.layers\n  - x\n"
    )
    check(path, lambda: Quantizer(str(path), 4, 0), is_text=True)


def test_yaml_of_a_config_folder(tmp_path):
    pytest.importorskip("hydra")
    from hydra import compose, initialize_config_dir

    from fairseq.dataclass.initialize import hydra_init

    hydra_init()
    path = tmp_path / "user.yaml"
    path.write_text(
        "common:\n  log_format: json\n  seed: 3\noptimization:\n  lr: [0.1]\n  max_update: 5\n"
        "dataset:\n  max_tokens: 100\ntask:\n  _name: translation\n  data: x\n"
    )

    def read() -> None:
        with initialize_config_dir(config_dir=str(tmp_path), version_base="1.3"):
            compose("user")

    check(path, read, is_text=True)


OVERRIDES = '{"beam": 4, "lenpen": 0.6, "data": "x", "nested": {"a": [1, 2.5, null, true]}, "text": "\\u00e9"}'


def test_overrides(tmp_path):
    from fairseq.tasks.translation import TranslationConfig, TranslationTask
    from fairseq.utils.literals import parse_literal

    path = tmp_path / "overrides"
    path.write_text(OVERRIDES)

    def read() -> None:
        text = path.read_bytes().decode("utf-8", "replace")
        for way in (_eval_bleu_options, parse_literal):
            try:
                way(text)
            except ValueError as error:
                if not str(error):
                    raise TypeError("no word") from error

    assert TranslationTask and TranslationConfig
    check(path, read, is_text=True)


def _eval_bleu_options(text: str) -> None:
    from fairseq.tasks import translation

    translation._check_numbers(translation._parse_json_options(text, "--eval-bleu-args"), "--eval-bleu-args")


def test_yaml_that_repeats_itself_without_end(tmp_path):
    pytest.importorskip("yaml")
    from fairseq.data.audio.data_cfg import S2TDataConfig

    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{level}: &a{level} {{x: *a{level - 1}, y: *a{level - 1}}}" for level in range(1, 35)]
    (tmp_path / "config.yaml").write_text("\n".join([*lines, "bpe_tokenizer: *a34"]))
    with pytest.raises(ValueError, match="repeats its own parts without end"):
        S2TDataConfig(tmp_path / "config.yaml")


@pytest.mark.parametrize("section", ["global_cmvn", "transforms", "feature_transforms"])
@pytest.mark.parametrize("value", ["3", "[1]", "text"])
def test_yaml_with_a_value_for_a_section(section, value, tmp_path):
    pytest.importorskip("yaml")
    from fairseq.data.audio.data_cfg import S2TDataConfig

    (tmp_path / "config.yaml").write_text(f"{section}: {value}\n")
    with pytest.raises(ValueError, match=f"config.yaml: {section}: expected keys with values"):
        S2TDataConfig(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text", ["3", "[1]", "n_centroids: 3", "n_centroids: {Linear: 3}", "block_sizes: {Linear: {key: x}}",
             "layers_to_quantize: 3", "layers_to_quantize: [1]"],
)  # fmt: skip
def test_yaml_that_is_no_quantisation(text, tmp_path):
    pytest.importorskip("yaml")
    from fairseq.quantization_utils import Quantizer

    (tmp_path / "quant.yaml").write_text(text)
    with pytest.raises(ValueError, match="expected"):
        Quantizer(str(tmp_path / "quant.yaml"), 4, 0)
