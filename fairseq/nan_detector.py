"""Find the module where NaN or Inf appears first."""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NanDetector"]

logger = logging.getLogger(__name__)


class NanDetector:
    """Context manager that watches a model for non-finite values and logs the first ones.

    ``with NanDetector(model): loss = ...; loss.backward()`` logs the first module whose output is not finite, forward
    and backward each; on leaving, norms of all gradients are logged if one of them is not finite. Meant for one pass
    after a failure: every module's output is read back from the device.

    Args:
        forward, backward: which passes to watch.
    """

    def __init__(self, model: nn.Module, forward: bool = True, backward: bool = True) -> None:
        self.bhooks: list[Any] = []
        self.fhooks: list[Any] = []
        self.forward = forward
        self.backward = backward
        self.named_parameters = list(model.named_parameters())
        self._names = {id(module): name for name, module in model.named_modules() if name}
        self.reset()
        for module in model.modules():
            self.add_hooks(module)

    def __enter__(self) -> NanDetector:
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, exc_traceback: Any) -> None:
        self._report_gradients()
        self.close()

    def add_hooks(self, module: nn.Module) -> None:
        """Watch one more module."""
        if self.forward:
            self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        if self.backward:
            self.bhooks.append(module.register_forward_hook(self._watch_gradients, with_kwargs=True))

    def reset(self) -> None:
        """Report again at the next finding."""
        self.has_printed_f = False
        self.has_printed_b = False

    def close(self) -> None:
        """Stop watching."""
        for hook in self.fhooks + self.bhooks:
            hook.remove()
        self.fhooks, self.bhooks = [], []

    def fhook_fn(self, module: nn.Module, inp: Any, output: Any) -> None:
        """Forward hook."""
        if not self.has_printed_f:
            self.has_printed_f = self._report(module, _first_tensor(inp), _tensors(output), backward=False)

    def _watch_gradients(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        # Hooks on the tensors rather than module backward hooks, which forbid in-place changes of a module's output.
        for tensor in _tensors([args, kwargs]):
            if tensor.requires_grad:
                report = functools.partial(self._on_gradient, module, tensor.detach())
                self.bhooks.append(tensor.register_hook(report))

    def _on_gradient(self, module: nn.Module, value: Tensor, gradient: Tensor) -> None:
        self.bhook_fn(module, gradient, value)

    def bhook_fn(self, module: nn.Module, inp: Any, output: Any) -> None:
        """Backward hook: ``inp`` holds gradients by the module's inputs, ``output`` those inputs."""
        if not self.has_printed_b:
            self.has_printed_b = self._report(module, _first_tensor(output), _tensors(inp), backward=True)

    def _report(self, module: nn.Module, source: Tensor | None, results: list[Tensor], backward: bool) -> bool:
        for result in results:
            kind = _what_is_wrong(result)
            if kind is None:
                continue
            name = self._names.get(id(module)) or type(module).__name__
            message = f"{kind} detected in output of {name}, shape: {tuple(result.shape)}, "
            message += "backward" if backward else "forward"
            if source is not None and source.numel() > 0:
                message += f" input max: {source.max().item()}, input min: {source.min().item()}"
            logger.warning(message)
            return True
        return False

    def _report_gradients(self) -> None:
        norms = {name: p.grad.detach().float().norm() for name, p in self.named_parameters if p.grad is not None}
        bad = [name for name, norm in norms.items() if not bool(torch.isfinite(norm))]
        if bad:
            logger.info("Detected nan/inf grad norm, dumping norms...")
            logger.info("norms: %s", {name: norm.item() for name, norm in norms.items()})
            gradients = dict(self.named_parameters)
            logger.info("gradients: %s", {name: gradients[name].grad for name in bad})


def _what_is_wrong(tensor: Tensor) -> str | None:
    """``"NaN"``, ``"Inf"`` or ``None``. Index tensors and single numbers (losses may be inf on purpose) pass."""
    if not torch.is_floating_point(tensor) or tensor.numel() < 2:
        return None
    tensor = tensor.detach()
    if bool(torch.isnan(tensor).any()):
        return "NaN"
    return "Inf" if bool(torch.isinf(tensor).any()) else None


def _tensors(value: Any) -> list[Tensor]:
    """All tensors of a module's output, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, (list, tuple)) else []


def _first_tensor(value: Any) -> Tensor | None:
    found = [tensor for tensor in _tensors(value) if torch.is_floating_point(tensor)]
    return found[0] if found else None
