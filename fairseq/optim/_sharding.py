"""Optimizer states of sharded parameters (``DTensor``): whole tensors in files, shards in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from fairseq.compat.torch import is_sharded, own_rows, shard_of

__all__ = ["gather", "spread"]


def gather(state_dict: dict[str, Any], params: Iterable[Tensor]) -> dict[str, Any]:
    """A state dictionary without ``DTensor``: whole tensors (a collective call: every worker must take part), or this
    worker's shards where the model was wrapped with ``use_sharded_state``.

    Args:
        state_dict: of a torch optimizer; not changed.
        params: its parameters.
    """
    first = next((p for p in params if is_sharded(p)), None)
    if first is None:
        return state_dict
    keeps_shards = getattr(first, "keeps_shards", False)

    def plain(value: Any) -> Any:
        if not is_sharded(value):
            return value
        return value.to_local() if keeps_shards else value.full_tensor()

    state = {index: {key: plain(value) for key, value in entry.items()} for index, entry in state_dict["state"].items()}
    return {**state_dict, "state": state}


def spread(state_dict: dict[str, Any], params: Iterable[Tensor]) -> dict[str, Any]:
    """The inverse: tensors that belong to sharded parameters become shards of this worker's.

    Args:
        state_dict: with whole tensors, or with shards saved by as many workers as there are now.
        params: of the optimizer that the state is for, in order.
    """
    params = list(params)
    if not any(is_sharded(p) for p in params):
        return state_dict
    ids = [index for group in state_dict["param_groups"] for index in group["params"]]
    state = dict(state_dict["state"])
    for index, p in zip(ids, params):
        if index in state and is_sharded(p):
            state[index] = {key: _placed(value, p) for key, value in state[index].items()}
    return {**state_dict, "state": state}


def _placed(value: Any, p: Any) -> Any:
    if not isinstance(value, Tensor) or is_sharded(value) or value.dim() == 0:
        return value
    device = p.to_local().device
    if value.shape == p.shape:
        return shard_of(own_rows(value, p).to(device, copy=True), p)
    if value.shape == p.to_local().shape:
        return shard_of(value.to(device), p)
    raise ValueError(
        f"an optimizer state of shape {tuple(value.shape)} fits neither the parameter, {tuple(p.shape)}, nor its "
        f"shard, {tuple(p.to_local().shape)}"
    )
