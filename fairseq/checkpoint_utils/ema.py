"""Averaged weights (``--store-ema``) kept beside the model's own in a checkpoint."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch

from fairseq.file_io import PathManager
from fairseq.serialization.read import read_checkpoint
from fairseq.serialization.write import write_checkpoint

__all__ = ["load_ema_from_checkpoint", "save_ema_as_checkpoint"]


def load_ema_from_checkpoint(fpath: str) -> dict[str, Any]:
    """A checkpoint in which the averaged weights have taken the place of the model's.

    Half precision averages come back as float32; ``ema_fp32_params``, where saved, are preferred.

    Raises:
        KeyError: the run did not keep averages.
    """
    state = read_checkpoint(PathManager.get_local_path(fpath))
    extra = state.get("extra_state") or {}
    if extra.get("ema") is None:
        raise KeyError(f"{fpath} holds no averaged weights (extra_state.ema); was it trained with --store-ema?")
    averages = dict(extra["ema"])
    averages.update({key: value for key, value in (extra.get("ema_fp32_params") or {}).items() if key in averages})
    model: OrderedDict[str, torch.Tensor] = OrderedDict()
    for key, value in state["model"].items():
        average = averages.get(key, value)
        model[key] = average.float() if average.dtype in (torch.float16, torch.bfloat16) else average
    state["model"] = model
    return state


def save_ema_as_checkpoint(src_path: str, dst_path: str) -> None:
    """Write ``load_ema_from_checkpoint(src_path)`` to a new file."""
    write_checkpoint(load_ema_from_checkpoint(src_path), dst_path)
