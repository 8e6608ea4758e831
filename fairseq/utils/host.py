"""What the host still knows about tensors it has sent to a device.

Asking a device for a value waits until it has done everything before. The host has often seen the same values a moment
ago, when it sent the batch; ``move_to_device`` lets tensors of whole numbers keep that copy at hand.
"""

from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor

__all__ = ["known_on_host", "on_host", "remember_on_host", "with_host"]

_NAME = "_fairseq_host_copy"


def remember_on_host(moved: Tensor, host: Tensor) -> Tensor:
    """Attach to a tensor on a device the copy in host memory that has the same values; returns the first."""
    if moved.device.type != "cpu" and not moved.is_inference():
        # Counted by torch: a change in place makes the copy worthless.
        setattr(moved, _NAME, (host, moved._version))
    return moved


# Optional, as the script compiler of PyTorch 2.4 reads it.
def known_on_host(tensor: Tensor) -> Optional[Tensor]:
    """The same values in host memory if they are there already, the tensor itself if that is where it lies.

    In TorchScript, where tensors have no attributes, nothing is known.
    """
    if not torch.jit.is_scripting():
        return _known(tensor)
    return None


def _known(tensor: Tensor) -> Optional[Tensor]:
    if tensor.device.type == "cpu":
        return tensor
    host, version = getattr(tensor, _NAME, (None, 0))
    return host if host is not None and tensor._version == version else None


def on_host(tensor: Tensor) -> Tensor:
    """The same values in host memory; waits for the device only if they have to be fetched."""
    known = known_on_host(tensor)
    return tensor.cpu() if known is None else known


def with_host(f: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """``f(tensor)``, on the device; if the host knows the tensor, it also knows the result.

    Args:
        f: a cheap function without side effects.
        tensor: any shape.
    """
    result = f(tensor)
    if tensor.device.type == "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return result
    host = known_on_host(tensor)
    return result if host is None else remember_on_host(result, f(host))
