"""Second copies of an encoder layer's weights, which releases 0.12.0 to 0.12.3 kept for PyTorch's fast path.

Every checkpoint of a transformer that was trained with these releases on PyTorch 1.13 or newer holds them
(``encoder.layers.0.in_proj_weight`` beside ``encoder.layers.0.self_attn.q_proj.weight``, ...). They were never trained
and nothing reads them; but they were parameters, so they also take places in the optimizer's state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Places", "drop_from_layer", "places_in", "without_places"]

_NAMES = tuple(f"{part}_{kind}" for part in ("in_proj", "out_proj", "fc1", "fc2") for kind in ("weight", "bias"))


def drop_from_layer(state_dict: dict[str, Any], name: str, layer: nn.Module) -> None:
    """Take the copies out of the weights of the encoder layer that is called ``name``."""
    prefix = name + "." if name else ""
    for copy in _NAMES:
        if not hasattr(layer, copy):
            state_dict.pop(prefix + copy, None)


class Places(NamedTuple):
    """The parameters of a checkpoint in their order: how many numbers each has, and whether it is such a copy."""

    sizes: list[int]
    are_copies: list[bool]


def places_in(weights: Mapping[str, Tensor], trained: Iterable[str]) -> Places | None:
    """Find the copies.

    Args:
        weights: the model of a checkpoint.
        trained: names of the parameters of the model that it is loaded into.

    Returns:
        ``None`` if there are no copies.
    """
    own = set(trained)
    copies = {name for name in weights if name not in own and _is_copy(name, weights)}
    if not copies:
        return None
    order = [name for name in weights if name in own or name in copies]
    return Places([weights[name].numel() for name in order], [name in copies for name in order])


def _is_copy(name: str, weights: Mapping[str, Tensor]) -> bool:
    layer, _, last = name.rpartition(".")
    return last in _NAMES and f"{layer}.self_attn.out_proj.weight" in weights


def without_places(optimizer_state: dict[str, Any], places: Places) -> dict[str, Any]:
    """The state of an optimizer as it would be had the copies never been there.

    Args:
        optimizer_state: with numbered parameters, or, of half-precision training, with all of them in one.
        places: what :func:`places_in` found.

    Returns:
        a new state; the same one if it does not have the places (the copies were frozen, several groups).
    """
    groups = optimizer_state.get("param_groups", [])
    if len(groups) != 1:
        return optimizer_state
    numbers = groups[0]["params"]
    if len(numbers) == 1 and len(places.sizes) > 1:
        flat = {number: _cut(values, places) for number, values in optimizer_state["state"].items()}
        return {**optimizer_state, "state": flat}
    if len(numbers) < len(places.sizes):
        return optimizer_state
    # What comes after the model are the parameters of the criterion.
    are_copies = places.are_copies + [False] * (len(numbers) - len(places.sizes))
    kept = [number for number, is_copy in zip(numbers, are_copies) if not is_copy]
    renumbered = {number: new for new, number in enumerate(kept)}
    state = {renumbered.get(number, number): values for number, values in optimizer_state["state"].items()}
    return {**optimizer_state, "state": state, "param_groups": [{**groups[0], "params": list(renumbered.values())}]}


def _cut(values: dict[str, Any], places: Places) -> dict[str, Any]:
    total = sum(places.sizes)

    def cut(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() != 1 or value.numel() < total:
            return value
        parts = value.split([*places.sizes, value.numel() - total])
        return torch.cat([part for part, is_copy in zip(parts, [*places.are_copies, False]) if not is_copy])

    return {name: cut(value) for name, value in values.items()}
