"""What the data sets, tasks and plugins share.

``collation``    token lists -> padded tensors
``size_limits``  filtering by length, batching, buckets
``span_masks``   masks over spans of frames (speech)
``block_masks``  masks of blocks of frames or image patches

and, here, seeds, files and languages.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Optional, Union

import numpy as np

from fairseq.data.batching.collation import collate_tokens, lengths_to_mask, lengths_to_padding_mask
from fairseq.data.batching.size_limits import (
    batch_by_size,
    collect_filtered,
    filter_by_size,
    filter_paired_dataset_indices_by_size,
    get_bucketed_sizes,
    get_buckets,
    select_by_size_fn,
)
from fairseq.data.masks.block_masks import compute_block_mask_1d, compute_block_mask_2d
from fairseq.data.masks.span_masks import (
    compute_mask_indices,
    compute_mask_indices_for_one,
    compute_mask_indices_v2,
    compute_mask_indices_v3,
)

__all__ = [
    "batch_by_size",
    "collate_tokens",
    "collect_filtered",
    "compute_block_mask_1d",
    "compute_block_mask_2d",
    "compute_mask_indices",
    "compute_mask_indices_for_one",
    "compute_mask_indices_v2",
    "compute_mask_indices_v3",
    "filter_by_size",
    "filter_paired_dataset_indices_by_size",
    "get_bucketed_sizes",
    "get_buckets",
    "get_mem_usage",
    "infer_language_pair",
    "lengths_to_mask",
    "lengths_to_padding_mask",
    "load_indexed_dataset",
    "numpy_seed",
    "post_process",
    "raise_if_valid_subsets_unintentionally_ignored",
]

logger = logging.getLogger(__name__)


@contextmanager
def numpy_seed(seed: Optional[int], *addl_seeds: Any) -> Iterator[None]:
    """Run a block with numpy's global generator seeded, and put its state back afterwards.

    Args:
        seed: the seed; ``None`` leaves the generator alone.
        addl_seeds: mixed in by ``hash((seed, *addl_seeds)) % 1e6``, the rule that recorded batches rely on.
    """
    if seed is None:
        yield
        return
    if addl_seeds:
        seed = int(hash((seed, *addl_seeds)) % 1e6)
    with ExitStack() as stack:
        stack.callback(np.random.set_state, np.random.get_state())
        np.random.seed(seed)
        yield


def _filter_by_size_dynamic(
    indices: Any, size_fn: Callable[[int], Any], max_positions: Any, raise_exception: bool = False
) -> tuple[Any, list[int]]:
    """:func:`fairseq.data.batching.size_limits.select_by_size_fn` under the name that other packages import.

    Raises:
        ValueError: with ``raise_exception``, if a sample is too long.
    """
    kept, ignored = select_by_size_fn(indices, size_fn, max_positions)
    if ignored and raise_exception:
        raise ValueError(f"sample {ignored[0]} has size {size_fn(ignored[0])}, over the limit {max_positions}")
    return kept, ignored


def infer_language_pair(path: Union[str, "os.PathLike[str]"]) -> tuple[Optional[str], Optional[str]]:
    """``(source, target)`` from the first file of a folder named ``SPLIT.SRC-TGT...``; ``(None, None)`` without one."""
    path = os.fspath(path)
    from fairseq.file_io import PathManager

    for filename in sorted(PathManager.ls(path)):
        parts = filename.split(".")
        if len(parts) >= 3 and len(parts[1].split("-")) == 2:
            source, target = parts[1].split("-")
            return source, target
    return None, None


def load_indexed_dataset(
    path: Union[str, "os.PathLike[str]"],
    dictionary: Any = None,
    dataset_impl: Any = None,
    combine: bool = False,
    default: str = "cached",
) -> Any:
    """Open binarised (or raw) data.

    Args:
        path: prefix without extension, as in ``data-bin/train.de-en.de``.
        dictionary: needed for raw text.
        dataset_impl: format; ``None`` looks at the files.
        combine: also open ``path1``, ``path2``, ... as far as they exist, and put them behind each other.
        default: format where the files do not tell.

    Returns:
        the data set, a ``ConcatDataset`` of several, or ``None`` if there is no file.
    """
    path = os.fspath(path)
    import fairseq.data.indexed_dataset as indexed_dataset
    from fairseq.data.concat_dataset import ConcatDataset

    found: list[Any] = []
    while True:
        name = path + (str(len(found)) if found else "")
        impl = str(dataset_impl) if dataset_impl is not None else None
        impl = impl or indexed_dataset.infer_dataset_impl(name) or default
        dataset = indexed_dataset.make_dataset(name, impl=impl, fix_lua_indexing=True, dictionary=dictionary)
        if dataset is None:
            break
        logger.info("loaded %s examples from: %s", f"{len(dataset):,}", name)
        found.append(dataset)
        if not combine:
            break
    if not found:
        return None
    return found[0] if len(found) == 1 else ConcatDataset(found)


def raise_if_valid_subsets_unintentionally_ignored(train_cfg: Any) -> None:
    """Refuse to train when there are validation files that ``--valid-subset`` does not name.

    Meant are ``valid1``, ``valid2``, ...: parts that are easily forgotten. ``valid`` itself may be left out at will.

    Raises:
        ValueError: names the subsets and the options that settle it.
    """
    dataset = train_cfg.dataset
    if (
        dataset.ignore_unused_valid_subsets
        or dataset.combine_valid_subsets
        or dataset.disable_validation
        or not hasattr(train_cfg.task, "data")
    ):
        return
    named = dataset.valid_subset.split(",")
    ignored = [name for name in _find_valid_subsets(str(train_cfg.task.data)) if name not in named]
    if ignored:
        raise ValueError(
            f"the data folder also holds the validation sets {', '.join(ignored)}, which --valid-subset does not name; "
            "add them to it, or give --combine-valid-subsets or --ignore-unused-valid-subsets"
        )


def _find_valid_subsets(data: str) -> list[str]:
    from fairseq.utils import split_paths

    names: set[str] = set()
    for folder in split_paths(data):
        if os.path.isdir(folder):
            parts = (name.split(".")[0] for name in os.listdir(folder))
            names.update(name for name in parts if re.fullmatch(r"valid\d+", name))
    return sorted(names)


def get_mem_usage() -> str:
    """Resident and virtual memory of the machine as text, ``N/A`` without psutil."""
    try:
        import psutil
    except ImportError:
        return "N/A"
    memory = psutil.virtual_memory()
    gigabyte = 1024**3
    return f"used={memory.used / gigabyte}GB; avail={memory.available / gigabyte}GB"


# The word boundary inside pieces that are joined without spaces.
_JOINED_PIECES = {"sentencepiece": "\u2581", "wordpiece": "_", "letter": "|", "_EOW": "_EOW"}


def post_process(sentence: str, symbol: Optional[str]) -> str:
    """Undo a subword segmentation.

    Args:
        sentence: tokens separated by spaces.
        symbol: how it was segmented: ``subword_nmt`` (or ``@@ ``, ``@@``), ``sentencepiece``, ``wordpiece``,
            ``letter``, ``_EOW``, ``silence``; ``none`` or ``None`` for not at all.

    Raises:
        NotImplementedError: another symbol.
    """
    if symbol is None or symbol == "none":
        return sentence
    if symbol in _JOINED_PIECES:
        return sentence.replace(" ", "").replace(_JOINED_PIECES[symbol], " ").strip()
    if symbol == "silence":
        return re.sub(" +", " ", sentence.replace("<SIL>", "")).strip()
    if symbol in ("subword_nmt", "@@ ", "@@"):
        marker = "@@ " if symbol == "subword_nmt" else symbol
        return (sentence + " ").replace(marker, "").rstrip()
    raise NotImplementedError(f"Unknown post_process option: {symbol}")
