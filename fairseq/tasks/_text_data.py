"""Steps that the tasks on plain text share: finding a split, whole-word masks."""

import os
from typing import Any, Optional

from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.dictionary import Dictionary
from fairseq.data.text_files.pair_files import subsets_in

__all__ = ["folder_of_epoch", "load_dictionary_of", "load_split", "whole_word_mask"]


def folders(data: Optional[str]) -> list[str]:
    """The data folders of ``--data``.

    Raises:
        ValueError: there is none.
    """
    from fairseq.utils import split_paths

    paths = split_paths(data or "")
    if not data or not paths:
        raise ValueError("the task needs a data folder: give the path that fairseq-preprocess wrote to")
    return paths


def folder_of_epoch(data: Optional[str], epoch: int) -> str:
    """The folder that an epoch reads: they take turns."""
    paths = folders(data)
    return paths[(epoch - 1) % len(paths)]


def load_dictionary_of(task: Any, data: Optional[str], name: str = "dict.txt") -> Dictionary:
    """The dictionary in the first data folder.

    Raises:
        FileNotFoundError: no folder or no dictionary in it.
    """
    folder = folders(data)[0]
    path = os.path.join(folder, name)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"data folder not found: {folder}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"dictionary not found: {path}; fairseq-preprocess writes it (with --only-source)")
    return task.load_dictionary(path)


def load_split(data_path: str, split: str, dictionary: Any, dataset_impl: Any, combine: bool) -> tuple[Any, str]:
    """The indexed data of a split, and its path.

    Raises:
        FileNotFoundError: there is none.
    """
    path = os.path.join(data_path, split)
    dataset = data_utils.load_indexed_dataset(path, dictionary, dataset_impl, combine=combine)
    if dataset is None:
        raise FileNotFoundError(f"Dataset not found: {split} ({path}){subsets_in(data_path)}")
    return dataset, path


def whole_word_mask(cfg: Any, dictionary: Any) -> Tensor:
    """Which dictionary entries begin a word, ``(len(dictionary),)``, by the run's ``--bpe``.

    Args:
        cfg: the task section; the segmentation options stand beside it in the whole configuration, or in it.

    Raises:
        ValueError: no segmentation is configured.
    """
    from fairseq.data.encoders.utils import get_whole_word_mask

    parent = cfg._get_parent() if hasattr(cfg, "_get_parent") else None
    bpe = getattr(parent, "bpe", None) if parent is not None else None
    mask = get_whole_word_mask(bpe if bpe is not None else cfg, dictionary)
    if mask is None:
        raise ValueError("masking whole words needs --bpe, which tells where words begin")
    return mask
