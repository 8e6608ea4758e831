"""Cutting a stream of sentences into blocks: compiled where it was built, NumPy elsewhere, with identical results.

``_get_slice_indices_fast`` and ``_get_block_to_dataset_index_fast`` are the entry points of upstream's compiled module
of this name.
"""

from typing import Any, Optional

import numpy as np
from numpy.typing import NDArray

from fairseq.data._kernels import token_blocks_numpy
from fairseq.data._kernels.loading import compiled_or, for_kernel

kernel = compiled_or("token_blocks", token_blocks_numpy)

__all__ = ["is_compiled"]

is_compiled = kernel is not token_blocks_numpy


def _get_slice_indices_fast(
    sizes: NDArray[Any], break_mode: Optional[str], block_size: Optional[int], document_sep_len: int
) -> NDArray[np.int64]:
    """Begin and end of every block in the stream of all tokens, ``(num_blocks, 2)``.

    Args:
        sizes: tokens per sentence, ``(n,)``.
        break_mode: ``none`` (or ``None``): blocks of ``block_size`` tokens; ``complete``: whole sentences;
            ``complete_doc``: whole sentences of one document; ``eos``: single sentences.
        block_size: tokens per block at most; ``eos`` does not need it.
        document_sep_len: length of the sentence that stands between documents.

    Raises:
        ValueError: another mode, or no block size.
    """
    if break_mode not in (None, "none", "complete", "complete_doc", "eos"):
        raise ValueError(f"Invalid break_mode: {break_mode}")
    if break_mode == "eos":
        return kernel.each_sentence(for_kernel(sizes))
    if block_size is None or block_size <= 0:
        raise ValueError(f"break_mode={break_mode} needs a positive block_size, got {block_size}")
    if break_mode in (None, "none"):
        total = int(np.sum(sizes, dtype=np.int64))
        begins = np.arange(0, total, block_size, dtype=np.int64)
        return np.stack([begins, np.minimum(begins + block_size, total)], axis=1)
    if break_mode == "complete":
        return kernel.whole_sentences(for_kernel(sizes), block_size, -1, 1)
    # A block of a single token, an end of sentence, teaches nothing.
    return kernel.whole_sentences(for_kernel(sizes), block_size, document_sep_len, 2)


def _get_block_to_dataset_index_fast(sizes: NDArray[Any], slice_indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """First sentence, place in it, and last sentence of every block, ``(num_blocks, 3)``."""
    sizes, blocks = for_kernel(sizes), np.ascontiguousarray(slice_indices, dtype=np.int64)
    found = kernel.sentences_of_blocks(sizes, blocks)
    if found is None:
        found = token_blocks_numpy.sentences_of_blocks(sizes, blocks)
    if found is None:
        raise ValueError("there are no sentences that blocks could lie in")
    return found
