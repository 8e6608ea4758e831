"""Small parts that encoder, decoder and their relatives share."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.utils.host import known_on_host, with_host

__all__ = ["Embedding", "Linear", "embedding_scale", "has_padding", "padding_mask_of", "plain_name", "wrap_layer"]


def Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int) -> nn.Embedding:
    """An embedding with entries from ``N(0, 1 / embedding_dim)`` and zeros at the padding index."""
    embedding = nn.Embedding(num_embeddings, embedding_dim, padding_idx=padding_idx)
    nn.init.normal_(embedding.weight, mean=0, std=embedding_dim**-0.5)
    nn.init.constant_(embedding.weight[padding_idx], 0)
    return embedding


def Linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """A linear map with Xavier-uniform weights and no initial bias."""
    linear = nn.Linear(in_features, out_features, bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.constant_(linear.bias, 0.0)
    return linear


def plain_name(class_name: str, base: str, plain: str) -> str:
    """The name that ``--retain-dropout-modules`` knows a class by: the base class goes by that of the old one."""
    return plain if class_name == base else class_name


def embedding_scale(cfg: Any, embed_dim: int) -> float:
    """What embeddings are multiplied with."""
    return 1.0 if cfg.no_scale_embedding else math.sqrt(embed_dim)


def padding_mask_of(tokens: Tensor, padding_idx: int) -> Tensor:
    """Where ``tokens`` are padding, bool in the same shape."""
    if not torch.jit.is_scripting():
        return with_host(partial(torch.eq, other=padding_idx), tokens)
    return tokens.eq(padding_idx)


def has_padding(mask: Tensor, look: bool) -> bool:
    """Whether a padding mask hides anything, as far as that is known.

    A traced or compiled graph may not depend on that, so there the answer is yes. Looking at a mask on a device waits
    for it: unless the host knows the tokens (:func:`padding_mask_of`), the answer is yes as well if ``look`` is false.
    """
    if not torch.jit.is_scripting():
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return True
        known = known_on_host(mask)
        if known is not None:
            return bool(known.any())
    if not look and mask.device.type != "cpu":
        return True
    return bool(mask.any())


def wrap_layer(layer: nn.Module, cfg: Any) -> nn.Module:
    """Apply activation checkpointing and, under fully sharded training, make the layer a unit of sharding."""
    checkpoint = bool(getattr(cfg, "checkpoint_activations", False))
    if checkpoint:
        layer = checkpoint_wrapper(layer, offload_to_cpu=bool(getattr(cfg, "offload_activations", False)))
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return layer
    from fairseq.distributed import fsdp_wrap

    # A layer that is recomputed must be a unit of its own, whatever its size.
    min_params = 0 if checkpoint else getattr(cfg, "min_params_to_wrap", int(1e8))
    wrapped: nn.Module = fsdp_wrap(layer, min_num_params=min_params)
    return wrapped
