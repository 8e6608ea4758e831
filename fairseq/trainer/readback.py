"""Numbers that are read from the device one update after they were asked for.

Reading a number makes the host wait until the device has computed it, and the device then waits for the host to queue
the next work. So a check of an update is queued as a copy into host memory, and looked at when the forward and backward
passes of the next update have been queued: by then it has arrived, or the device has work enough while the host waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Readback"]


class Readback:
    """What has been asked for and not been looked at, in order."""

    def __init__(self) -> None:
        self._pending: list[tuple[Tensor, Any, Callable[[Tensor], None]]] = []

    def ask(self, value: Tensor, then: Callable[[Tensor], None]) -> bool:
        """Have ``then`` called with a copy of ``value`` in host memory.

        Returns:
            Whether that is put off until ``settle``. Values on the CPU, and on devices that are not CUDA, are handed
            over at once.
        """
        value = value.detach()
        if value.device.type != "cuda":
            then(value.cpu())
            return False
        # Pinned memory comes from torch's own cache after the first update.
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        host.copy_(value, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(value.device))
        self._pending.append((host, arrived, then))
        return True

    def settle(self) -> None:
        """Hand over everything that was put off; waits for those copies, not for what was queued after them."""
        pending, self._pending = self._pending, []
        for host, arrived, then in pending:
            arrived.synchronize()
            then(host)
