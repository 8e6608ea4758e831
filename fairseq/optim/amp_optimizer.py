"""``--amp``: float32 parameters, autocast in the forward pass, torch's own loss scaling."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fairseq import optim
from fairseq.compat.torch import grad_scaler
from fairseq.dataclass.configs import CommonConfig
from fairseq.optim.fp16_optimizer import _Delegating

__all__ = ["AMPOptimizer"]

logger = logging.getLogger(__name__)


def _first_scale(common: Any) -> float:
    """``--amp-init-scale``; scripts that leave it alone may have set ``--fp16-init-scale``, which upstream reads."""
    scale = getattr(common, "amp_init_scale", None)
    return common.fp16_init_scale if scale in (None, CommonConfig().amp_init_scale) else scale


class AMPOptimizer(_Delegating):
    """Scale the loss, unscale the gradients before clipping, skip the step where they are not finite.

    Args:
        cfg: the whole configuration.
        params: the model's float32 parameters.
        fp32_optimizer: updates them.
    """

    def __init__(self, cfg: Any, params: Iterable[Tensor], fp32_optimizer: Any, **kwargs: Any) -> None:
        super().__init__(cfg.optimizer)
        self.fp32_optimizer = self._inner = fp32_optimizer
        settings: dict[str, Any] = {"init_scale": _first_scale(cfg.common)}
        window = getattr(cfg.common, "amp_scale_window", None)
        if window is not None:
            settings["growth_interval"] = window
        first = next(iter(params), None)
        device = "cpu" if first is None else first.device.type
        self._grad_scaler = grad_scaler(device, **settings)
        self.min_loss_scale = cfg.common.min_loss_scale
        self.grads_are_finite: bool | None = None  # as far as ``clip_grad_norm`` has seen

    @classmethod
    def build_optimizer(cls, cfg: Any, params: Iterable[Tensor], **kwargs: Any) -> AMPOptimizer:
        """Make the optimizer that ``cfg.optimizer`` names, and the wrapper."""
        params = list(params)
        return cls(cfg, params, optim.build_optimizer(cfg.optimizer, params), **kwargs)

    @property
    def scaler(self) -> Any:
        """``torch.amp.GradScaler``."""
        return self._grad_scaler

    @property
    def next_loss_scale(self) -> float:
        """The scale after an overflow."""
        return self.scaler.get_scale() * self.scaler.get_backoff_factor()

    def notes(self) -> dict[str, Any]:
        """The loss scale and its growth, which the optimizer's own state has no place for."""
        return {"scaler": {name: float(value) for name, value in self.scaler.state_dict().items()}}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned."""
        saved = {name: float(value) for name, value in notes["scaler"].items()}
        if not saved or not self.scaler.is_enabled():
            return
        # Only what changes in training: factors and intervals are those of this run's options.
        current = self.scaler.state_dict()
        current.update(scale=saved["scale"], _growth_tracker=int(saved["_growth_tracker"]))
        self.scaler.load_state_dict(current)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scaled loss."""
        self.scaler.scale(loss).backward()

    def step(self) -> None:  # type: ignore[override]
        """Update the parameters, unless gradients are not finite, and adapt the scale."""
        if self.grads_are_finite and not any(hasattr(p, "expert") for p in self.params):
            # The norm of all gradients has been read: the scaler need not ask the device again.
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.grads_are_finite = None

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Undo the scale, then measure and clip; returns the norm before.

        Raises:
            FloatingPointError: the norm is not finite and the scale cannot shrink any more.
        """
        self.scaler.unscale_(self.optimizer)
        grad_norm = self.fp32_optimizer.clip_grad_norm(max_norm, aggregate_norm_fn)
        self.grads_are_finite = bool(torch.isfinite(grad_norm).all())
        if not self.grads_are_finite:
            if self.next_loss_scale <= self.min_loss_scale:
                raise FloatingPointError(
                    f"AMP: Minimum loss scale reached ({self.min_loss_scale}). Your loss is probably exploding. "
                    "Remedies: a lower learning rate, gradient clipping, a larger batch."
                )
            logger.info("AMP: overflow detected, setting scale to to %s", self.next_loss_scale)
        return grad_norm
