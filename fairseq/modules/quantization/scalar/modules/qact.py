"""Rounding of what a layer gives out."""

from typing import Any

from torch import Tensor, nn

from fairseq.modules.quantization.scalar.modules._noise import noisy

__all__ = ["ActivationQuantizer"]


class ActivationQuantizer:
    """Rounds a module's output by a forward hook: a share ``p`` in training, all in evaluation.

    Args:
        module: whose output is rounded.
        p, update_step, bits, method: see ``IntLinear``.
        clamp_threshold: kept for interface compatibility; the method finds where to cut.
    """

    def __init__(
        self,
        module: nn.Module,
        p: float = 1,
        update_step: int = 1000,
        bits: int = 8,
        method: str = "histogram",
        clamp_threshold: float = 5,
    ) -> None:
        self.module, self.p = module, p
        self.bits, self.method = bits, method
        self.update_step, self.counter = update_step, 0
        self.clamp_threshold = clamp_threshold
        self.scale: Any = None
        self.zero_point: Any = None
        self.handle: Any = None
        self.register_hook()

    def register_hook(self) -> None:
        """Begin to round; ``handle.remove()`` ends it."""

        def round_output(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            p = self.p if module.training else 1
            return noisy(self, output, p) if p > 0 else output

        self.handle = self.module.register_forward_hook(round_output)
