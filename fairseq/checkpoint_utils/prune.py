"""Use part of what a checkpoint holds."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairseq import checkpoint_utils
from fairseq.utils.embeddings import do_weights_follow

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load_pretrained_component_from_model", "prune_state_dict"]

_LAYER = re.compile(r"(?:(?<=\.)|^)layers\.(\d+)\.")
_NAME = re.compile(r"^(encoder|decoder)\.")


def _layers_to_keep(model_cfg: Any, name: str) -> list[int] | None:
    """The layer numbers of ``--encoder-layers-to-keep`` or its decoder twin, sorted; ``None`` keeps all."""
    get = model_cfg.get if hasattr(model_cfg, "get") else lambda key, default: getattr(model_cfg, key, default)
    given = get(name, None)
    if not given:
        return None
    parts = given.split(",") if isinstance(given, str) else given
    try:
        return sorted(int(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"--{name.replace('_', '-')} {given}: layer numbers separated by commas are expected"
        ) from error


def prune_state_dict(state_dict: Mapping[str, Any], model_cfg: Any) -> Mapping[str, Any]:
    """Drop the transformer layers that ``encoder_layers_to_keep`` and ``decoder_layers_to_keep`` do not list.

    The remaining layers are renumbered from 0; ``encoder_layers`` / ``decoder_layers`` of the config follow, and the
    options are cleared. A state that was pruned like this before, such as that of a run to be resumed, stays as it is.

    Args:
        state_dict: parameters by name.
        model_cfg: the model's config or namespace; ``None`` changes nothing.

    Returns:
        A new dictionary in the old order, or ``state_dict`` itself when nothing is to be dropped.
    """
    if model_cfg is None or getattr(model_cfg, "arch", None) == "ptt_transformer":
        return state_dict
    given = {name: _layers_to_keep(model_cfg, f"{name}_layers_to_keep") for name in ("encoder", "decoder")}
    keep = {name: layers for name, layers in given.items() if layers is not None}
    if not keep:
        return state_dict
    keep = {name: layers for name, layers in keep.items() if not _is_pruned(state_dict, name, layers)}
    pruned: OrderedDict[str, Any] = OrderedDict()
    for key, value in state_dict.items():
        side, layer = _NAME.search(key), _LAYER.search(key)
        layers = keep.get(side.group(1)) if side else None
        if layer is None or layers is None:
            pruned[key] = value
        elif int(layer.group(1)) in layers:
            number = layers.index(int(layer.group(1)))
            pruned[f"{key[: layer.start(1)]}{number}{key[layer.end(1) :]}"] = value
    for name, kept in keep.items():
        _set(model_cfg, f"{name}_layers", len(kept))
        # A checkpoint saved from here on has these layers only, under their new numbers.
        _set(model_cfg, f"{name}_layers_to_keep", None)
    return pruned


def _is_pruned(state_dict: Mapping[str, Any], name: str, layers: list[int]) -> bool:
    """Whether the state has as many layers as are to be kept, and none of the number that is asked for."""
    found = set()
    for key in state_dict:
        side, layer = _NAME.search(key), _LAYER.search(key)
        if side and layer and side.group(1) == name:
            found.add(int(layer.group(1)))
    return found == set(range(len(layers))) and layers[-1] not in found


def _set(model_cfg: Any, name: str, value: int | None) -> None:
    if hasattr(model_cfg, "_metadata"):  # an OmegaConf config, possibly locked
        from omegaconf import open_dict

        with open_dict(model_cfg):
            model_cfg[name] = value
    else:
        setattr(model_cfg, name, value)


def load_pretrained_component_from_model(component: nn.Module, checkpoint: str, strict: bool = True) -> nn.Module:
    """Fill an encoder or decoder from the same part of a saved model; not where all ``weights_follow`` anyway.

    Args:
        component: a ``FairseqEncoder`` or ``FairseqDecoder``.
        checkpoint: file to take the weights from.
        strict: all its parameters must be there.

    Raises:
        OSError: ``Model file not found: NAME``.
        ValueError: ``component`` is neither, or the file holds no such part.
    """
    from fairseq.file_io import PathManager
    from fairseq.models.fairseq_decoder import FairseqDecoder
    from fairseq.models.fairseq_encoder import FairseqEncoder

    if do_weights_follow():
        return component
    if isinstance(component, FairseqEncoder):
        prefix = "encoder."
    elif isinstance(component, FairseqDecoder):
        prefix = "decoder."
    else:
        raise ValueError(
            f"only a FairseqEncoder or a FairseqDecoder can be filled from part of a model, not a "
            f"{type(component).__name__}"
        )
    if not PathManager.exists(checkpoint):
        raise OSError(f"Model file not found: {checkpoint}")
    state = checkpoint_utils.load_checkpoint_to_cpu(checkpoint)
    part = OrderedDict((key[len(prefix) :], value) for key, value in state["model"].items() if key.startswith(prefix))
    if not part:
        raise ValueError(f"{checkpoint} holds no parameters that begin with {prefix!r}")
    component.load_state_dict(part, strict=strict)
    return component
