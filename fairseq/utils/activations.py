"""Activation functions by the names of ``--activation-fn``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fairseq.utils.modules_io import deprecation_warning

__all__ = ["gelu", "gelu_accurate", "get_activation_fn", "get_available_activation_fns", "relu_squared"]


def relu_squared(x: Tensor) -> Tensor:
    """``max(x, 0) ** 2`` (So et al. 2021, "Primer")."""
    return F.relu(x).square()


def gelu(x: Tensor) -> Tensor:
    """Exact GELU (Hendrycks & Gimpel 2016), computed in float32, returned in the dtype of ``x``."""
    return F.gelu(x.float()).type_as(x)


def gelu_accurate(x: Tensor) -> Tensor:
    """The tanh approximation of GELU, computed in the dtype of ``x``."""
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x.pow(3))
    return 0.5 * x * (1.0 + torch.tanh(inner))


def _linear(x: Tensor) -> Tensor:
    return x


def _gelu_fast() -> Callable[[Tensor], Tensor]:
    deprecation_warning("--activation-fn=gelu_fast has been renamed to gelu_accurate", stacklevel=4)
    return gelu_accurate


def get_activation_fn(activation: str) -> Any:
    """The function behind a name.

    ``"swish"`` is special: it gives the module class ``torch.nn.SiLU``, not a function, as callers of old expect.

    Raises:
        RuntimeError: unknown name.
    """
    if activation == "gelu_fast":
        return _gelu_fast()
    try:
        return _FUNCTIONS[activation]
    except (KeyError, TypeError):
        raise RuntimeError(f"--activation-fn {activation} not supported") from None


_FUNCTIONS: dict[str, Any] = {
    "relu": F.relu,
    "relu_squared": relu_squared,
    "gelu": gelu,
    "gelu_accurate": gelu_accurate,
    "tanh": torch.tanh,
    "linear": _linear,
    "swish": torch.nn.SiLU,
}


def get_available_activation_fns() -> list[str]:
    """The names offered on the command line."""
    return ["relu", "gelu", "gelu_fast", "gelu_accurate", "tanh", "linear"]
