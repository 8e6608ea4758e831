"""The files of a language pair: ``SPLIT.SRC-TGT.LANGUAGE``, with the languages in either order in the middle."""

from __future__ import annotations

import itertools
import logging
import os
from typing import Any

import torch

from fairseq.data import data_utils
from fairseq.data.append_token_dataset import AppendTokenDataset
from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.indexed_dataset import dataset_exists, infer_dataset_impl
from fairseq.data.list_dataset import ListDataset
from fairseq.data.shorten_dataset import TruncateDataset
from fairseq.data.strip_token_dataset import StripTokenDataset

__all__ = ["file_prefixes", "find_prefix", "load_alignments", "load_sides", "subsets_in"]


def file_prefixes(split: str, src: str, tgt: str | None) -> list[str]:
    """How the file names of a split may begin, up to the language at their end.

    Text of one language (``tgt`` is ``None`` or ``src``) may be named as a pair with itself, as preprocessing names
    text without a translation, or by the language alone.
    """
    if tgt is None or tgt == src:
        return [f"{split}.{src}-{src}.", f"{split}.{src}-None.", f"{split}.{src}."]
    return [f"{split}.{src}-{tgt}.", f"{split}.{tgt}-{src}."]


def find_prefix(data_path: str, split: str, src: str, tgt: str | None, dataset_impl: Any) -> str | None:
    """Path of the files of a pair without the language at the end; ``None`` if there is no such data."""
    for name in file_prefixes(split, src, tgt):
        prefix = os.path.join(data_path, name)
        if dataset_exists(prefix + src, impl=dataset_impl):
            return prefix
        if dataset_impl is None and infer_dataset_impl(prefix + src) is not None:
            return prefix
    return None


def load_sides(
    data_path: str, split: str, src: str, src_dict: Any, tgt: str | None, tgt_dict: Any, combine: bool,
    dataset_impl: Any, upsample_primary: int, max_source_tokens: int | None, log: logging.Logger,
    opened: dict[str, Any] | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Source and target data of a split, with ``combine`` of ``split1``, ``split2``, ... behind it.

    Args:
        upsample_primary: how often the first part of several is repeated, if that is positive.
        max_source_tokens: cut sources to this length, end of sentence included.
        log: told of every part.
        opened: files that were opened before, by path; those opened here are added. ``None`` opens all anew.

    Returns:
        ``(source, target)``; the target is ``None`` where there is none.

    Raises:
        FileNotFoundError: ``Dataset not found: SPLIT (PATH)``, and which subsets there are.
        AssertionError: some parts have targets and others not.
    """
    sources: list[Any] = []
    targets: list[Any] = []
    for number in itertools.count():
        name = split + (str(number) if number > 0 else "")
        prefix = find_prefix(data_path, name, src, tgt, dataset_impl)
        if prefix is None:
            if number > 0:
                break
            raise FileNotFoundError(f"Dataset not found: {split} ({data_path}){subsets_in(data_path)}")
        source = _open(prefix + src, src_dict, dataset_impl, opened)
        if max_source_tokens is not None:
            stripped = TruncateDataset(StripTokenDataset(source, src_dict.eos()), max_source_tokens - 1)
            source = AppendTokenDataset(stripped, src_dict.eos())
        sources.append(source)
        target = _open(prefix + tgt, tgt_dict, dataset_impl, opened) if tgt is not None else None
        if target is not None:
            targets.append(target)
        log.info("%s %s %s-%s %s examples", data_path, name, src, tgt, len(source))
        if not combine:
            break
    if targets and len(targets) != len(sources):
        raise AssertionError(
            f"{data_path}: {len(sources)} parts of {split} have sources, but {len(targets)} have targets ({src}-{tgt})"
        )
    return _joined(sources, upsample_primary), _joined(targets, upsample_primary)


def _open(path: str, dictionary: Any, dataset_impl: Any, opened: dict[str, Any] | None) -> Any:
    if opened is None:
        return data_utils.load_indexed_dataset(path, dictionary, dataset_impl)
    if path not in opened:
        opened[path] = data_utils.load_indexed_dataset(path, dictionary, dataset_impl)
    return opened[path]


def _joined(parts: list[Any], upsample_primary: int) -> Any:
    if len(parts) < 2:
        return parts[0] if parts else None
    ratios = [1] * len(parts)
    if upsample_primary > 0:
        ratios[0] = upsample_primary
    return ConcatDataset(parts, ratios)


def load_alignments(data_path: str, split: str, src: str, tgt: str, dataset_impl: Any) -> Any:
    """The word alignments ``SPLIT.align.SRC-TGT``; ``None`` if there is no such file.

    Args:
        dataset_impl: the format of the sentences. Alignments have one of their own, which their files tell: beside raw
            text, FASTA or Huffman files they are numbers in one of the other formats.
    """
    path = os.path.join(data_path, f"{split}.align.{src}-{tgt}")
    found = infer_dataset_impl(path)
    if found is None:
        return None
    if found == "raw":
        return _read_links(path)
    # A cached data set must be prefetched, which happens where the sentences are cached too.
    impl = ("cached" if dataset_impl == "cached" else "lazy") if found == "cached" else found
    return data_utils.load_indexed_dataset(path, None, impl)


def _read_links(path: str) -> ListDataset:
    """Alignments as text, lines such as ``0-1 1-0``, as the numbers that prepared files hold."""
    links = []
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            try:
                flat = [int(index) for link in line.split() for index in link.split("-")]
                if len(flat) != 2 * len(line.split()):
                    raise ValueError(line)
            except ValueError:
                raise ValueError(
                    f"{path}, line {number}: links such as 0-1 are expected, got {line.strip()!r}"
                ) from None
            links.append(torch.tensor(flat, dtype=torch.int32))
    return ListDataset(links, [len(flat) for flat in links])


def subsets_in(folder: str) -> str:
    """The subsets of a data folder, for the end of an error message: ``; the folder holds train, valid``."""
    try:
        names = {entry.name for entry in os.scandir(folder) if entry.is_file()}
    except OSError:
        return ""
    found = sorted({name.partition(".")[0] for name in names if name.endswith(".idx")})
    return f"; the folder holds {', '.join(found)}" if found else "; no prepared data is in this folder"
