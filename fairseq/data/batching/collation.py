"""Lists of token tensors -> one padded tensor, without a Python loop over tokens."""

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

__all__ = ["collate_tokens", "lengths_to_mask", "lengths_to_padding_mask", "padded_width"]


def padded_width(longest: int, pad_to_length: Optional[int] = None, pad_to_multiple: int = 1) -> int:
    """Columns of a padded batch: at least ``pad_to_length``, rounded up to ``pad_to_multiple``."""
    width = longest if pad_to_length is None else max(longest, pad_to_length)
    return -(-width // pad_to_multiple) * pad_to_multiple


def collate_tokens(
    values: Sequence[Tensor],
    pad_idx: int,
    eos_idx: Optional[int] = None,
    left_pad: bool = False,
    move_eos_to_beginning: bool = False,
    pad_to_length: Optional[int] = None,
    pad_to_multiple: int = 1,
    pad_to_bsz: Optional[int] = None,
) -> Tensor:
    """Stack 1-d tensors of unequal length.

    Args:
        values: token tensors, each ``(length,)``; dtype and device of the first decide.
        pad_idx: fills the empty places.
        eos_idx: with ``move_eos_to_beginning``, the token put first; ``None`` takes each item's own last token.
        left_pad: put the padding before the tokens instead of after them.
        move_eos_to_beginning: rotate: the last token goes to the front (the decoder's input in teacher forcing).
        pad_to_length: make the result at least this wide.
        pad_to_multiple: round the width up to a multiple.
        pad_to_bsz: make the result at least this many rows, the further ones all padding.

    Returns:
        ``(max(len(values), pad_to_bsz), width)``.
    """
    # numel() is four times as fast as len(), which matters for hundreds of short items.
    lengths = torch.tensor([value.numel() for value in values])
    first = values[0]
    flat = torch.cat([*values]) if len(values) > 1 else first
    flat = flat.to(device=first.device, dtype=first.dtype)
    if move_eos_to_beginning:
        flat = _rotate(flat, lengths, eos_idx)
    width = padded_width(int(lengths.max()), pad_to_length, pad_to_multiple)
    rows = max(len(values), pad_to_bsz or 0)
    result = first.new_full((rows, width), pad_idx)
    columns = torch.arange(width)
    # Row-major order of a mask is the order of the concatenated tokens, so the mask alone says where each one goes.
    used = columns >= width - lengths[:, None] if left_pad else columns < lengths[:, None]
    result[: len(values)].masked_scatter_(used.to(result.device), flat)
    return result


def _rotate(flat: Tensor, lengths: Tensor, eos_idx: Optional[int]) -> Tensor:
    """Concatenated items, each with its last token (or ``eos_idx``) moved to its front."""
    if not bool((lengths > 0).all()):
        raise IndexError("cannot move the last token of an empty sequence to its beginning")
    ends = lengths.cumsum(0) - 1
    starts = (ends + 1 - lengths).to(flat.device)
    rotated = torch.empty_like(flat)
    rotated[1:] = flat[:-1]
    rotated[starts] = flat[ends.to(flat.device)] if eos_idx is None else eos_idx
    return rotated


def lengths_to_padding_mask(lens: Tensor) -> Tensor:
    """``(batch,)`` lengths -> ``(batch, max length)`` booleans, true on padding."""
    return torch.arange(int(lens.max()), device=lens.device) >= lens[:, None]


def lengths_to_mask(lens: Tensor) -> Tensor:
    """``(batch,)`` lengths -> ``(batch, max length)`` booleans, true on content."""
    return ~lengths_to_padding_mask(lens)
