"""What an ``index out of range`` inside an embedding means to the person who meets it."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["explained"]


def explained(error: IndexError, task: Any, sample: Any) -> Exception:
    """The error to raise instead: one that names the token, if a batch holds a number that no dictionary entry has.

    Args:
        error: what the model raised.
        task: its dictionaries are looked at.
        sample: the batch.
    """
    if not isinstance(sample, dict):
        return error
    inputs = sample.get("net_input") or {}
    for side, tokens in (("source", inputs.get("src_tokens")), ("target", sample.get("target"))):
        dictionary = getattr(task, f"{side}_dictionary", None)
        if dictionary is None or not torch.is_tensor(tokens) or tokens.numel() == 0:
            continue
        largest = int(tokens.max())
        if largest >= len(dictionary):
            return ValueError(
                f"the {side} data hold token number {largest}, but the dictionary has {len(dictionary)} entries: data "
                "and dictionary are from different runs of fairseq-preprocess"
            )
    return error
