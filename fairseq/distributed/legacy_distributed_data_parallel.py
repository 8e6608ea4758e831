"""Data parallelism that exchanges gradients once per update, after the last backward pass.

It needs no hooks in the backward pass, so models whose graph changes from batch to batch, or that use a parameter
several times, just work.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.distributed import utils

__all__ = ["LegacyDistributedDataParallel"]


class LegacyDistributedDataParallel(nn.Module):
    """Average gradients over workers when ``all_reduce_grads`` is called.

    Args:
        module: the model; workers must hold equal parameters.
        process_group: the workers.
        buffer_size: most numbers that travel at once.
    """

    def __init__(self, module: nn.Module, process_group: Any, buffer_size: int = 2**28) -> None:
        super().__init__()
        self.module = module
        self.process_group = process_group
        self.world_size = utils.get_world_size(process_group)
        self.buffer_size = min(buffer_size, max(1, sum(p.numel() for p in module.parameters())))
        self.buffer: Tensor | None = None
        # Between updates of a larger batch, gradients stay local.
        self.accumulate_grads = False
        self.per_device_params: OrderedDict[torch.device, list[nn.Parameter]] = OrderedDict()
        for p in dict.fromkeys(module.parameters()):
            self.per_device_params.setdefault(p.device, []).append(p)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Inside, ``all_reduce_grads`` does nothing."""
        before = self.accumulate_grads
        self.accumulate_grads = True
        try:
            yield
        finally:
            self.accumulate_grads = before

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)

    @torch.no_grad()
    def all_reduce_grads(self) -> None:
        """Replace every gradient by its mean over the workers; a missing one counts as zero.

        Parameters with the attribute ``expert`` belong to one worker and are left alone.
        """
        if self.accumulate_grads:
            return
        for params in self.per_device_params.values():
            shared = [p for p in params if p.requires_grad and not hasattr(p, "expert")]
            for p in shared:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
            for dtype in dict.fromkeys(p.grad.dtype for p in shared if p.grad is not None):
                grads = [p.grad for p in shared if p.grad is not None and p.grad.dtype == dtype]
                self._exchange(grads)

    def _exchange(self, grads: list[Tensor]) -> None:
        """Average gradients of one device and dtype, as many together as the buffer holds."""
        batch: list[Tensor] = []
        size = 0
        for grad in grads:
            if batch and size + grad.numel() > self.buffer_size:
                self._exchange_batch(batch, size)
                batch, size = [], 0
            batch.append(grad)
            size += grad.numel()
        if batch:
            self._exchange_batch(batch, size)

    def _exchange_batch(self, batch: list[Tensor], size: int) -> None:
        if self.buffer is None or self.buffer.numel() < size or not _alike(self.buffer, batch[0]):
            self.buffer = batch[0].new_empty(max(size, self.buffer_size))
        joined = self.buffer[:size]
        parts = [part.view_as(grad) for part, grad in zip(joined.split([g.numel() for g in batch]), batch)]
        torch._foreach_copy_(parts, batch)
        # Divide before adding up: half precision has little room at the top.
        joined.div_(self.world_size)
        utils.all_reduce(joined, self.process_group)
        torch._foreach_copy_(batch, parts)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.device == b.device
