"""Every public function that takes a path takes any ``os.PathLike``.

``ACTIONS`` holds one small use per function. The last test derives the functions from the signatures, so that a new
one must be listed, or named in ``NO_PATHS`` with what the parameter means instead.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import tarfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import fairseq
import fairseq_cli
from fairseq import checkpoint_utils, file_chunker_utils, file_utils, options, tasks, utils
from fairseq.archives import open_archive
from fairseq.binarizer import AlignmentDatasetBinarizer, FileBinarizer, LegacyBinarizer, VocabularyDatasetBinarizer
from fairseq.data import Dictionary, data_utils, indexed_dataset, plasma_utils
from fairseq.data.encoders import gpt2_bpe_utils
from fairseq.data.fasta_dataset import EncodedFastaDataset, FastaDataset, fasta_file_path
from fairseq.data.huffman import huffman_coder, huffman_mmap_indexed_dataset
from fairseq.data.indexed.mmap import MMapIndex
from fairseq.data.multilingual import multilingual_data_manager as manager
from fairseq.file_io import PathManager, atomic_open
from fairseq.tasks.translation import load_langpair_dataset
from fairseq_cli import preprocess

Make = Callable[[Path], Any]
ACTIONS: dict[str, Callable[[Make, Path], Any]] = {}


class OnlyPath:
    """A path that offers nothing but the protocol."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def uses(*names: str) -> Callable[[Callable[[Make, Path], Any]], Callable[[Make, Path], Any]]:
    """Register an action for the functions that it tries."""

    def register(action: Callable[[Make, Path], Any]) -> Callable[[Make, Path], Any]:
        ACTIONS.update(dict.fromkeys(names, action))
        return action

    return register


def _dictionary() -> Dictionary:
    dictionary = Dictionary()
    for word in "abc":
        dictionary.add_symbol(word)
    return dictionary


def _prepare(folder: Path) -> None:
    """Files of every kind."""
    (folder / "text").write_text("a b\nc a a\n", encoding="utf-8")
    (folder / "align").write_text("0-0 1-1\n0-1\n", encoding="utf-8")
    (folder / "x.fasta").write_text(">one\nACDE\n>two\nFG\n", encoding="utf-8")
    (folder / "vectors").write_text("1 2\na 0.5 1.5\n", encoding="utf-8")
    (folder / "weights.json").write_text("{}", encoding="utf-8")
    (folder / "encoder.json").write_text('{"a": 0, "b": 1}', encoding="utf-8")
    (folder / "vocab.bpe").write_text("#version\na b\n", encoding="utf-8")
    (folder / "quantise.yaml").write_text("n_centroids: {}\nlayers_to_quantize: []\n", encoding="utf-8")
    _dictionary().save(str(folder / "dict.txt"))
    for language in ("de", "en"):
        _dictionary().save(str(folder / f"dict.{language}.txt"))
        for impl, name in (("mmap", "train"), ("lazy", "old")):
            builder = indexed_dataset.make_builder(str(folder / f"{name}.de-en.{language}.bin"), impl, 6)
            for line in ("a b", "c a a"):
                builder.add_item(_dictionary().encode_line(line, add_if_not_exist=False))
            builder.finalize(str(folder / f"{name}.de-en.{language}.idx"))
    coder = huffman_coder.HuffmanCodeBuilder()
    coder.add_symbols("a", "a", "b", "c")
    coder.to_file(str(folder / "codes"))
    huffman = huffman_mmap_indexed_dataset.HuffmanMMapIndexedDatasetBuilder(str(folder / "huff"), coder.build_code())
    with huffman:
        huffman.add_item(["a", "b"])
    torch.save({"model": {"w": torch.ones(1)}, "args": Namespace(arch="x"), "cfg": None}, folder / "m.pt")
    ema = {"model": {"w": torch.ones(1)}, "extra_state": {"ema": {"w": torch.zeros(1)}}}
    torch.save(ema, folder / "checkpoint1.pt")


@uses("fairseq.binarizer.FileBinarizer.multiprocess_dataset")
def _binarize(make: Make, folder: Path) -> Any:
    binarizer = VocabularyDatasetBinarizer(_dictionary())
    summary = FileBinarizer.multiprocess_dataset(make(folder / "text"), "mmap", binarizer, make(folder / "out"))
    return summary.num_tok, (folder / "out.bin").read_bytes()


@uses("fairseq.binarizer.LegacyBinarizer.binarize", "fairseq.binarizer.LegacyBinarizer.binarize_alignments")
def _binarize_as_of_old(make: Make, folder: Path) -> Any:
    tensors: list[Any] = []
    LegacyBinarizer.binarize(make(folder / "text"), _dictionary(), tensors.append)
    LegacyBinarizer.binarize_alignments(make(folder / "align"), utils.parse_alignment, tensors.append)
    AlignmentDatasetBinarizer(utils.parse_alignment)
    return [tensor.tolist() for tensor in tensors]


@uses("fairseq.checkpoint_utils.checkpoint_paths")
def _list_checkpoints(make: Make, folder: Path) -> Any:
    return checkpoint_utils.checkpoint_paths(make(folder), pattern=r"checkpoint(\d+)\.pt")


@uses("fairseq.checkpoint_utils.get_maybe_sharded_checkpoint_filename")
def _name_shard(make: Make, folder: Path) -> Any:
    return checkpoint_utils.get_maybe_sharded_checkpoint_filename(make(folder / "m.pt"), "-s", 1, 2)


@uses("fairseq.checkpoint_utils.load_checkpoint_to_cpu")
def _load(make: Make, folder: Path) -> Any:
    return checkpoint_utils.load_checkpoint_to_cpu(make(folder / "m.pt"))["model"]["w"].tolist()


@uses("fairseq.checkpoint_utils.load_ema_from_checkpoint")
def _load_ema(make: Make, folder: Path) -> Any:
    return checkpoint_utils.load_ema_from_checkpoint(make(folder / "checkpoint1.pt"))["model"]["w"].tolist()


@uses("fairseq.checkpoint_utils.save_ema_as_checkpoint")
def _save_ema(make: Make, folder: Path) -> Any:
    checkpoint_utils.save_ema_as_checkpoint(make(folder / "checkpoint1.pt"), make(folder / "ema.pt"))
    return (folder / "ema.pt").is_file()


@uses("fairseq.checkpoint_utils.torch_persistent_save")
def _save(make: Make, folder: Path) -> Any:
    checkpoint_utils.torch_persistent_save({"a": 1}, make(folder / "saved.pt"))
    checkpoint_utils.torch_persistent_save({"a": 1}, make(folder / "later.pt"), async_write=True)
    return torch.load(folder / "saved.pt", weights_only=True)


@uses("fairseq.checkpoint_utils.verify_checkpoint_directory")
def _verify(make: Make, folder: Path) -> Any:
    checkpoint_utils.verify_checkpoint_directory(make(folder / "new"))
    return (folder / "new").is_dir()


@uses("fairseq.data.data_utils.infer_language_pair", "fairseq.data.data_utils.load_indexed_dataset")
def _open_data(make: Make, folder: Path) -> Any:
    data = data_utils.load_indexed_dataset(make(folder / "train.de-en.de"), _dictionary())
    combined = data_utils.load_indexed_dataset(make(folder / "train.de-en.de"), combine=True)
    return data_utils.infer_language_pair(make(folder)), data[1].tolist(), len(combined)


@uses(
    "fairseq.data.dictionary.Dictionary.load",
    "fairseq.data.dictionary.Dictionary.save",
    "fairseq.data.dictionary.Dictionary.add_from_file",
    "fairseq.data.dictionary.Dictionary.add_file_to_dictionary",
)
def _use_dictionary(make: Make, folder: Path) -> Any:
    dictionary = Dictionary.load(make(folder / "dict.txt"))
    Dictionary().add_from_file(make(folder / "dict.txt"))
    Dictionary.add_file_to_dictionary(make(folder / "text"), dictionary, str.split, 1)
    dictionary.save(make(folder / "other.txt"))
    return (folder / "other.txt").read_text(encoding="utf-8")


@uses("fairseq.data.encoders.gpt2_bpe_utils.get_encoder")
def _encode(make: Make, folder: Path) -> Any:
    encoder = gpt2_bpe_utils.get_encoder(make(folder / "encoder.json"), make(folder / "vocab.bpe"))
    return encoder.encode("a")


@uses(
    "fairseq.data.fasta_dataset.FastaDataset.__init__",
    "fairseq.data.fasta_dataset.FastaDataset.exists",
    "fairseq.data.fasta_dataset.EncodedFastaDataset.__init__",
    "fairseq.data.fasta_dataset.fasta_file_path",
)
def _read_proteins(make: Make, folder: Path) -> Any:
    data = FastaDataset(make(folder / "x"), cache_indices=True)
    encoded = EncodedFastaDataset(make(folder / "x"), _dictionary())
    return fasta_file_path(make(folder / "x")), FastaDataset.exists(make(folder / "x")), data[1], len(encoded)


@uses(
    "fairseq.data.huffman.huffman_coder.HuffmanCodeBuilder.from_file",
    "fairseq.data.huffman.huffman_coder.HuffmanCodeBuilder.to_file",
    "fairseq.data.huffman.huffman_coder.HuffmanCoder.from_file",
    "fairseq.data.huffman.huffman_coder.HuffmanCoder.to_file",
)
def _use_codes(make: Make, folder: Path) -> Any:
    builder = huffman_coder.HuffmanCodeBuilder.from_file(make(folder / "codes"))
    builder.to_file(make(folder / "codes2"))
    builder.build_code().to_file(make(folder / "coder"))
    return huffman_coder.HuffmanCoder.from_file(make(folder / "coder")).encode(["a", "b"])


@uses(
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndex.__init__",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndex.writer",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndexedDataset.__init__",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndexedDataset.exists",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndexedDatasetBuilder.__init__",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.HuffmanMMapIndexedDatasetBuilder.append",
    "fairseq.data.huffman.huffman_mmap_indexed_dataset.vocab_file_path",
)
def _read_compressed(make: Make, folder: Path) -> Any:
    module = huffman_mmap_indexed_dataset
    coder = huffman_coder.HuffmanCodeBuilder.from_file(str(folder / "codes")).build_code()
    with module.HuffmanMMapIndexedDatasetBuilder(make(folder / "huff2"), coder) as builder:
        builder.append(make(folder / "huff"))
    with module.HuffmanMMapIndex.writer(make(folder / "x.idx"), 10) as writer:
        writer.write([4], [3])
    data = module.HuffmanMMapIndexedDataset(make(folder / "huff2"))
    index = module.HuffmanMMapIndex(make(folder / "huff.idx"))
    exists = module.HuffmanMMapIndexedDataset.exists(make(folder / "huff"))
    return module.vocab_file_path(make(folder / "huff")), list(data[0]), len(index), exists


@uses(
    "fairseq.data.indexed_dataset.IndexedDataset.__init__",
    "fairseq.data.indexed_dataset.IndexedDataset.exists",
    "fairseq.data.indexed_dataset.IndexedDataset.read_index",
    "fairseq.data.indexed_dataset.IndexedDataset.read_data",
    "fairseq.data.indexed_dataset.IndexedCachedDataset.__init__",
    "fairseq.data.indexed_dataset.IndexedDatasetBuilder.__init__",
    "fairseq.data.indexed_dataset.IndexedDatasetBuilder.merge_file_",
    "fairseq.data.indexed_dataset.IndexedDatasetBuilder.finalize",
)
def _use_old_format(make: Make, folder: Path) -> Any:
    builder = indexed_dataset.IndexedDatasetBuilder(make(folder / "o.bin"))
    builder.merge_file_(make(folder / "old.de-en.de"))
    builder.finalize(make(folder / "o.idx"))
    data = indexed_dataset.IndexedDataset(make(folder / "o"), fix_lua_indexing=True)
    data.read_index(make(folder / "o"))
    data.read_data(make(folder / "o"))
    cached = indexed_dataset.IndexedCachedDataset(make(folder / "o"))
    cached.prefetch([0])
    return indexed_dataset.IndexedDataset.exists(make(folder / "o")), data[1].tolist(), len(cached)


@uses(
    "fairseq.data.indexed_dataset.IndexedRawTextDataset.__init__",
    "fairseq.data.indexed_dataset.IndexedRawTextDataset.exists",
    "fairseq.data.indexed_dataset.IndexedRawTextDataset.read_data",
)
def _read_raw(make: Make, folder: Path) -> Any:
    data = indexed_dataset.IndexedRawTextDataset(make(folder / "text"), _dictionary())
    data.read_data(make(folder / "text"), _dictionary())
    return indexed_dataset.IndexedRawTextDataset.exists(make(folder / "text")), data[1].tolist()


@uses(
    "fairseq.data.indexed.mmap.MMapIndex.__init__",
    "fairseq.data.indexed.mmap.MMapIndex.writer",
    "fairseq.data.indexed_dataset.MMapIndexedDataset.__init__",
    "fairseq.data.indexed_dataset.MMapIndexedDataset.exists",
    "fairseq.data.indexed_dataset.MMapIndexedDatasetBuilder.__init__",
    "fairseq.data.indexed_dataset.MMapIndexedDatasetBuilder.merge_file_",
    "fairseq.data.indexed_dataset.MMapIndexedDatasetBuilder.finalize",
    "fairseq.data.indexed_dataset.data_file_path",
    "fairseq.data.indexed_dataset.index_file_path",
    "fairseq.data.indexed_dataset.dataset_exists",
    "fairseq.data.indexed_dataset.get_indexed_dataset_to_local",
    "fairseq.data.indexed_dataset.infer_dataset_impl",
    "fairseq.data.indexed_dataset.make_builder",
    "fairseq.data.indexed_dataset.make_dataset",
)
def _use_mapped(make: Make, folder: Path) -> Any:
    prefix = make(folder / "m")
    with MMapIndex.writer(make(folder / "i.idx"), np.int32) as writer:
        writer.write([2, 3])
    builder = indexed_dataset.MMapIndexedDatasetBuilder(make(folder / "m.bin"), dtype=np.uint16)
    builder.merge_file_(make(folder / "train.de-en.de"))
    builder.finalize(make(folder / "m.idx"))
    indexed_dataset.make_builder(make(folder / "n.bin"), "mmap").finalize(make(folder / "n.idx"))
    return (
        len(MMapIndex(make(folder / "i.idx"))),
        indexed_dataset.MMapIndexedDataset(prefix)[1].tolist(),
        indexed_dataset.MMapIndexedDataset.exists(prefix),
        indexed_dataset.data_file_path(prefix),
        indexed_dataset.index_file_path(prefix),
        indexed_dataset.dataset_exists(prefix, "mmap"),
        indexed_dataset.get_indexed_dataset_to_local(prefix),
        indexed_dataset.infer_dataset_impl(prefix),
        len(indexed_dataset.make_dataset(prefix, "mmap")),
        len(indexed_dataset.make_dataset(make(folder / "text"), "raw", dictionary=_dictionary())),
    )


@uses(
    "fairseq.data.multilingual.multilingual_data_manager.MultilingualDatasetManager.split_exists",
    "fairseq.data.multilingual.multilingual_data_manager.MultilingualDatasetManager.load_data",
    "fairseq.data.multilingual.multilingual_data_manager.MultilingualDatasetManager.load_lang_dataset",
    "fairseq.data.multilingual.multilingual_data_manager.load_sampling_weights",
)
def _manage(make: Make, folder: Path) -> Any:
    kind = manager.MultilingualDatasetManager
    return (
        kind.split_exists("train", "de", "en", "de", make(folder), None),
        len(kind.load_data(make(folder / "train.de-en.de"), _dictionary(), None)),
        manager.load_sampling_weights(make(folder / "weights.json")),
    )


@uses(
    "fairseq.data.plasma_utils.PlasmaView.__init__",
    "fairseq.data.plasma_utils.PlasmaView.get_object_id",
    "fairseq.data.plasma_utils.PlasmaStore.__init__",
)
def _share(make: Make, folder: Path) -> Any:
    store = plasma_utils.PlasmaStore(make(folder / "plasma"))
    view = plasma_utils.PlasmaView(np.arange(3), make(folder / "text"), 1, plasma_path=make(folder / "plasma"))
    found = plasma_utils.PlasmaView.get_object_id(make(folder / "text"), 1), view.array.tolist()
    del store
    return found


@uses("fairseq.file_chunker_utils.Chunker.__init__", "fairseq.file_chunker_utils.find_offsets")
def _chunk(make: Make, folder: Path) -> Any:
    with file_chunker_utils.Chunker(make(folder / "text"), 0, -1) as lines:
        return list(lines), file_chunker_utils.find_offsets(make(folder / "text"), 2)


FILE_OPERATIONS = (
    "chmod", "copy", "copy_from_local", "exists", "get_local_path", "isfile", "ls", "mkdirs", "open", "opena",
    "path_requires_pathmanager", "rename", "rm", "supports_rename",
)  # fmt: skip


@uses(*(f"fairseq.file_io.PathManager.{name}" for name in FILE_OPERATIONS), "fairseq.file_io.atomic_open")
def _manage_files(make: Make, folder: Path) -> Any:
    text, other = make(folder / "text"), make(folder / "copy")
    PathManager.copy(text, other)
    PathManager.copy_from_local(text, other, overwrite=True)
    PathManager.chmod(other, 0o600)
    PathManager.rename(other, make(folder / "moved"))
    PathManager.rm(make(folder / "moved"))
    PathManager.mkdirs(make(folder / "made"))
    with PathManager.opena(make(folder / "late"), "wb") as out:
        out.write(b"x")
    PathManager.async_close()
    with atomic_open(make(folder / "whole")) as out:
        out.write("x")
    with PathManager.open(text) as lines:
        first = lines.readline()
    return (
        first,
        PathManager.exists(text),
        PathManager.isfile(text),
        sorted(PathManager.ls(make(folder))),
        PathManager.get_local_path(text),
        PathManager.path_requires_pathmanager(text),
        PathManager.supports_rename(text),
    )


@uses(
    "fairseq.file_utils.cached_path",
    "fairseq.file_utils.cached_path_from_pm",
    "fairseq.file_utils.filename_to_url",
    "fairseq.file_utils.get_file_extension",
    "fairseq.file_utils.get_from_cache",
    "fairseq.file_utils.load_archive_file",
    "fairseq.file_utils.read_set_from_file",
)
def _fetch(make: Make, folder: Path) -> Any:
    text = make(folder / "text")
    (folder / "abc").write_text("x", encoding="utf-8")
    (folder / "abc.json").write_text('{"url": "https://x", "etag": null}', encoding="utf-8")
    return (
        file_utils.cached_path(text, cache_dir=make(folder)),
        file_utils.cached_path_from_pm(text),
        file_utils.filename_to_url("abc", cache_dir=make(folder)),
        file_utils.get_file_extension(make(folder / "A.TXT")),
        file_utils.load_archive_file(text),
        sorted(file_utils.read_set_from_file(text)),
    )


@uses("fairseq.hub_utils.from_pretrained", "fairseq.models.fairseq_model.BaseFairseqModel.from_pretrained")
def _from_pretrained(make: Make, folder: Path) -> Any:
    from fairseq import hub_utils
    from fairseq.models import BaseFairseqModel

    found: list[Any] = []

    def ensemble(files: Any, arg_overrides: Any = None, **keywords: Any) -> Any:
        found.append((list(files), arg_overrides["data"]))
        return [], SimpleNamespace(), None

    with mock.patch("fairseq.checkpoint_utils.load_model_ensemble_and_task", side_effect=ensemble):
        hub_utils.from_pretrained(make(folder), make(Path("m.pt")), make(folder))
        with mock.patch("fairseq.hub_utils.GeneratorHubInterface"):
            BaseFairseqModel.from_pretrained(make(folder), make(Path("m.pt")), make(folder))
    return found


@uses("fairseq.models.import_models", "fairseq.tasks.import_tasks")
def _import_folder(make: Make, folder: Path) -> Any:
    from fairseq import models

    (folder / "none").mkdir()
    models.import_models(make(folder / "none"), "fairseq.models")
    tasks.import_tasks(make(folder / "none"), "fairseq.tasks")


@uses(
    "fairseq.models.fairseq_model.FairseqMultiModel.build_shared_embeddings",
    "fairseq.models.transformer.transformer_base.TransformerModelBase.build_embedding",
    "fairseq.models.transformer.transformer_legacy.TransformerModel.build_embedding",
    "fairseq.models.transformer_lm.TransformerLanguageModel.build_embedding",
    "fairseq.utils.parse_embedding",
)
def _read_vectors(make: Make, folder: Path) -> Any:
    from fairseq.models.fairseq_model import FairseqMultiModel
    from fairseq.models.transformer import TransformerModel, TransformerModelBase

    vectors, words = make(folder / "vectors"), _dictionary()
    made = [kind.build_embedding(None, words, 2, vectors) for kind in (TransformerModel, TransformerModelBase)]
    made.append(
        FairseqMultiModel.build_shared_embeddings(
            {"x": words}, ["x"], 2, lambda d, n, path: TransformerModel.build_embedding(None, d, n, path), vectors
        )
    )
    found = [embedding.weight[words.index("a")].tolist() for embedding in made]
    return found, {name: vector.tolist() for name, vector in utils.parse_embedding(vectors).items()}


@uses("fairseq.modules.quantization.pq.em.EM.save", "fairseq.modules.quantization.pq.em.EM.load")
def _quantise(make: Make, folder: Path) -> Any:
    from fairseq.modules.quantization.pq.em import EM

    em = EM(torch.randn(2, 8), n_centroids=2, n_iter=1)
    (folder / "em").mkdir()
    em.save(make(folder / "em"), "layer")
    em.load(make(folder / "em"), "layer")
    return sorted(os.listdir(folder / "em"))


@uses("fairseq.quantization_utils.Quantizer.__init__")
def _configure(make: Make, folder: Path) -> Any:
    from fairseq.quantization_utils import Quantizer

    return Quantizer(make(folder / "quantise.yaml"), 3, 10).layers_to_quantize


@uses(
    "fairseq.tasks.fairseq_task.FairseqTask.load_dictionary",
    "fairseq.tasks.sentence_prediction.SentencePredictionTask.load_dictionary",
    "fairseq.tasks.sentence_ranking.SentenceRankingTask.load_dictionary",
)
def _load_dictionaries(make: Make, folder: Path) -> Any:
    from fairseq.tasks.fairseq_task import FairseqTask
    from fairseq.tasks.sentence_prediction import SentencePredictionTask
    from fairseq.tasks.sentence_ranking import SentenceRankingTask

    path = make(folder / "dict.txt")
    return (
        len(FairseqTask.load_dictionary(path)),
        len(SentencePredictionTask.load_dictionary(path)),
        len(SentenceRankingTask.load_dictionary(None, path)),
    )


@uses("fairseq.tasks.translation.load_langpair_dataset")
def _load_pairs(make: Make, folder: Path) -> Any:
    words = _dictionary()
    data = load_langpair_dataset(
        make(folder), "train", "de", words, "en", words, combine=False, dataset_impl=None, upsample_primary=1,
        left_pad_source=True, left_pad_target=False, max_source_positions=10, max_target_positions=10,
    )  # fmt: skip
    return data[1]["source"].tolist()


@uses("fairseq.trainer.Trainer.save_checkpoint", "fairseq.trainer.Trainer.load_checkpoint")
def _train(make: Make, folder: Path) -> Any:
    from fairseq.trainer import Trainer

    asynchronous = SimpleNamespace(checkpoint=SimpleNamespace(write_checkpoints_asynchronously=False))
    some = mock.MagicMock(spec=Trainer)
    some.cfg, some.task, some.should_save_checkpoint_on_current_rank = asynchronous, None, True
    some.state_dict.return_value = {"extra_state": {}}
    Trainer.save_checkpoint(some, make(folder / "trained.pt"), {"a": 1})
    some._read_for_all_workers.return_value = None
    Trainer.load_checkpoint(some, make(folder / "none.pt"))
    return torch.load(folder / "trained.pt", weights_only=True), some._read_for_all_workers.call_args


@uses("fairseq.logging.progress_bar.progress_bar")
def _log(make: Make, folder: Path) -> Any:
    from fairseq.logging.progress_bar import progress_bar

    # A file that has a handler already gets no second one.
    path = folder / f"log-{make.__name__}"
    list(progress_bar([1], log_format="none", log_file=make(path)))
    return path.is_file()


@uses(
    "fairseq.data.text_files.pair_files.find_prefix",
    "fairseq.data.text_files.pair_files.load_alignments",
    "fairseq.data.text_files.pair_files.subsets_in",
    "fairseq.utils.shared_arrays.ArrayFolder.__init__",
    "fairseq.file_chunker_utils.count_lines",
    "fairseq.file_chunker_utils.read_line_blocks",
)
def _use_inner_functions(make: Make, folder: Path) -> Any:
    from fairseq.data.text_files import pair_files
    from fairseq.utils.shared_arrays import ArrayFolder

    ArrayFolder(make(folder / "arrays"))
    return (
        pair_files.find_prefix(make(folder), "train", "de", "en", None),
        pair_files.subsets_in(make(folder)),
        file_chunker_utils.count_lines(make(folder / "text"), 6),
        list(file_chunker_utils.read_line_blocks(make(folder / "text"))),
    )


@uses("fairseq.utils.split_paths", "fairseq.options.get_args")
def _split(make: Make, folder: Path) -> Any:
    return utils.split_paths(make(folder)), options.get_args(make(folder)).data


@uses("fairseq_cli.preprocess.dataset_dest_file", "fairseq_cli.preprocess.dataset_dest_prefix")
def _destination(make: Make, folder: Path) -> Any:
    args = Namespace(destdir=make(folder), source_lang="de", target_lang="en", only_source=False)
    return (
        preprocess.dataset_dest_prefix(args, make(Path("train")), "de"),
        preprocess.dataset_dest_file(args, make(Path("train")), "de", "bin"),
    )


@pytest.mark.parametrize("action", dict.fromkeys(ACTIONS.values()), ids=lambda action: action.__name__[1:])
def test_a_path_object_does_what_its_text_does(tmp_path: Path, action: Callable[[Make, Path], Any]) -> None:
    found = []
    for make in (str, OnlyPath):
        # The same folder, made anew: results hold its name.
        folder = tmp_path / "data"
        if folder.exists():
            folder.rename(tmp_path / "first")
        folder.mkdir()
        _prepare(folder)
        found.append(action(make, folder))
    assert found[0] == found[1]


# Parameters whose names look like paths, and what they are instead.
NO_PATHS = {
    "fairseq.checkpoint_utils.load_model_ensemble_and_task_from_hf_hub": "handed on to the hub's client",
    "fairseq.checkpoint_utils.fetch_from_hf_hub": "handed on to the hub's client",
    "fairseq.data.huffman.huffman_coder.HuffmanCoder.__init__": "the root of a tree",
    "fairseq.data.huffman.huffman_coder.HuffmanNode.code_table": "bits",
    "fairseq.data.indexed_dataset.read_longs": "an open file",
    "fairseq.data.indexed_dataset.write_longs": "an open file",
    "MultilingualDatasetManager.get_split_data_path": "joined paths",
    "MultilingualDatasetManager.load_a_dataset": "by load_data",
    "MultilingualDatasetManager.load_langpair_dataset": "by load_data",
    "AimProgressBarWrapper.__init__": "a value to look for",
    "BaseProgressBar.__init__": "of messages",
    "JsonProgressBar.__init__": "of messages",
    "TqdmProgressBar.__init__": "of messages",
    "FileAudioDataset.__init__": "tried with the audio data",
    "BinarizedAudioDataset.__init__": "by FileAudioDataset's readers",
    "HubertDataset.__init__": "tried with the audio data",
    "ArchiveStream.__init__": "by open_archive",
    "ArchiveStream.extract_to": "by the test of archives below",
    "fairseq.archives.open_archive": "by the test of archives below",
    "fairseq.file_io.decoded": "an open file",
    "fairseq.file_io.open_text": "by the readers of text",
    "fairseq.utils.processes.available_cores": "of the control groups",
    "fairseq.data.text_files.pair_files.load_sides": "by load_langpair_dataset",
    "fairseq.sequence_generator.logit_rules.force_prefix": "tokens",
    "fairseq.modules.kmeans_attention.cache_fn": "a function",
    "fairseq.utils.host.with_host": "a function",
    "fairseq.utils.tensors.map_tensors": "a function",
    "fairseq.data.plasma_utils.PlasmaStore.start": "by the constructor",
    "fairseq.data.token_block_dataset.TokenBlockDataset.__init__": "by PlasmaView",
    "fairseq.dataclass.utils.gen_parser_from_dataclass": "of option names",
    "fairseq.distributed.fully_sharded_data_parallel.FullyShardedDataParallel.state_dict": "of keys",
    "fairseq.file_utils.http_get": "an open file",
    "fairseq.file_utils.s3_get": "an open file",
    "fairseq.logging.metrics.aggregate": "a flag",
    "fairseq.logging.progress_bar.build_progress_bar": "of messages",
    "fairseq.modules.linearized_convolution.LinearizedConvolution.state_dict": "of keys",
    "fairseq.utils.apply_to_sample": "a function",
}
LOOKS_LIKE_A_PATH = re.compile(
    r"(path|paths|filename|file|f|fname|filepath|folder|dir|directory|root|prefix|url_or_filename|\w+_(path|file|dir|"
    r"prefix|root|filename)|\w*path_prefix|model_name_or_path|data_name_or_path)$"
)
# Audio has tests of its own; the others are private, or know their callers.
OTHERS = re.compile(r"\.(_|audio|benchmark|compat|serialization|trainer\.|training|checkpoint_utils\.|recipes|prepare)")


def _functions_of(module: Any) -> dict[str, Any]:
    """Public functions and methods of a module by their qualified name."""
    found: dict[str, Any] = {}
    for name in getattr(module, "__all__", ()):
        thing = getattr(module, name)
        if inspect.isfunction(thing):
            found[name] = thing
        elif inspect.isclass(thing) and not hasattr(thing, "__dataclass_fields__"):
            for key, value in vars(thing).items():
                if not key.startswith("_") or key == "__init__":
                    found[f"{name}.{key}"] = getattr(value, "__func__", value)
    return {name: value for name, value in found.items() if inspect.isfunction(value)}


def test_every_function_with_a_path_is_tried() -> None:
    # Packages that were split show a function under two names; the last parts are the same.
    tried = {re.sub(r"^.*?([A-Z]\w*\.)?(\w+)$", r"\1\2", name) for name in [*ACTIONS, *NO_PATHS]}
    missing = []
    for package in (fairseq, fairseq_cli):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if OTHERS.search(info.name):
                continue
            for name, function in _functions_of(importlib.import_module(info.name)).items():
                looks = [p for p in inspect.signature(function).parameters if LOOKS_LIKE_A_PATH.match(p)]
                if looks and name not in tried:
                    missing.append(f"{info.name}.{name}({', '.join(looks)})")
    assert not missing, "\n".join(missing)


def test_an_archive_is_named_and_unpacked_by_path_objects(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("a 1\n", encoding="utf-8")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "dict.txt", "dict.txt")
    (tmp_path / "out").mkdir()
    with open_archive(OnlyPath(tmp_path / "model.tar.gz")) as stream:
        assert stream is not None
        stream.extract_to(OnlyPath(tmp_path / "out"))
    assert (tmp_path / "out" / "dict.txt").read_text(encoding="utf-8") == "a 1\n"
