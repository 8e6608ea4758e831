"""Adafactor (Shazeer & Stern 2018): Adam's second moment from row and column means, and relative step sizes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fairseq.optim import LegacyFairseqOptimizer, register_optimizer
from fairseq.optim._update_rule import HALF_DTYPES, Float32StateOptimizer
from fairseq.optim.fairseq_optimizer import first_lr, floats_of

__all__ = ["Adafactor", "FairseqAdafactor"]


@register_optimizer("adafactor")
class FairseqAdafactor(LegacyFairseqOptimizer):
    """Adafactor; with ``--relative-step`` the step size follows the update count and ``--lr`` is not used."""

    def __init__(self, args: Any, params: Any) -> None:
        super().__init__(args)
        self._optimizer = Adafactor(params, **self.optimizer_config)

    @staticmethod
    def add_args(parser: Any) -> None:
        add = parser.add_argument
        add("--adafactor-eps", default="(1e-30, 1e-3)", metavar="E", help="floors of squared gradients and of scales")
        add("--clip-threshold", type=float, default=1.0, metavar="C", help="largest root mean square of an update")
        add("--decay-rate", type=float, default=-0.8, metavar="D", help="exponent of the second moment's decay")
        add("--beta1", type=float, default=None, metavar="B", help="decay of the first moment, which is off by default")
        add("--weight-decay", "--wd", default=0.0, type=float, metavar="WD", help="decay of all parameters")
        add("--scale-parameter", action="store_true", help="scale steps by the root mean square of the parameter")
        add("--relative-step", action="store_true", help="step size from the number of updates instead of --lr")
        add("--warmup-init", action="store_true", help="begin with small relative steps")

    @property
    def optimizer_config(self) -> dict[str, Any]:
        relative = self.args.relative_step
        return {
            # --lr always has a value, so it cannot mean a conflict here.
            "lr": None if relative else first_lr(self.args.lr),
            "eps": floats_of(self.args.adafactor_eps),
            "clip_threshold": self.args.clip_threshold,
            "decay_rate": self.args.decay_rate,
            "beta1": self.args.beta1,
            "weight_decay": self.args.weight_decay,
            "scale_parameter": self.args.scale_parameter,
            "relative_step": relative,
            "warmup_init": self.args.warmup_init,
        }


class Adafactor(Float32StateOptimizer):
    """The update rule.

    State per parameter: ``step``, ``RMS`` and, for two or more dimensions, ``exp_avg_sq_row`` (shape without the last
    dimension) and ``exp_avg_sq_col`` (without the last but one), else ``exp_avg_sq``; ``exp_avg`` with ``beta1``.
    All float32.

    Args:
        lr: step size; ``None`` with ``relative_step``.
        eps: floor of squared gradients, and of the parameter scale.
        clip_threshold: updates of a larger root mean square are scaled down.
        decay_rate: the second moment decays by ``1 - t ** decay_rate``.
        beta1: decay of the first moment; ``None`` keeps none.
        weight_decay: decoupled.
        scale_parameter: multiply steps by the parameter's root mean square.
        relative_step: ``min(1e-2, 1 / sqrt(t))`` as step size.
        warmup_init: ``1e-6 * t`` instead of ``1e-2``.

    Raises:
        ValueError: ``lr`` together with ``relative_step``, or ``warmup_init`` without it.
    """

    def __init__(
        self,
        params: Any,
        lr: float | None = None,
        eps: Any = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        if lr is not None and relative_step:
            raise ValueError("Cannot combine manual lr and relative_step options")
        if warmup_init and not relative_step:
            raise ValueError("warmup_init requires relative_step=True")
        settings = {"lr": lr, "eps": eps, "clip_threshold": clip_threshold, "decay_rate": decay_rate, "beta1": beta1}
        settings |= {"weight_decay": weight_decay, "scale_parameter": scale_parameter}
        super().__init__(params, settings | {"relative_step": relative_step, "warmup_init": warmup_init})

    @property
    def supports_flat_params(self) -> bool:
        return False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p, state in self._begin(group, []):
                self._update(group, p, state)
        return loss

    def _update(self, group: dict[str, Any], p: Tensor, state: dict[str, Any]) -> None:
        grad = p.grad
        if grad is None:
            return
        grad = grad.float() if grad.dtype in HALF_DTYPES else grad
        weights = p.float() if p.dtype in HALF_DTYPES else p
        self._prepare(group, grad, state)
        state["RMS"] = _rms(weights)
        lr = group["lr"] = _step_size(group, state)

        decay = 1.0 - math.pow(state["step"], group["decay_rate"])
        update = _normalised(grad, state, decay, group["eps"][0])
        update.div_((_rms(update) / group["clip_threshold"]).clamp_(min=1.0)).mul_(lr)
        if group["beta1"] is not None:
            mean = state["exp_avg"]
            mean.mul_(group["beta1"]).add_(update, alpha=1 - group["beta1"])
            update = mean
        if group["weight_decay"] != 0:
            weights.sub_(weights * (group["weight_decay"] * lr))
        weights.sub_(update)
        if weights is not p:
            p.copy_(weights)

    @staticmethod
    def _prepare(group: dict[str, Any], grad: Tensor, state: dict[str, Any]) -> None:
        """Zeros where the state is new."""
        shapes = {"exp_avg_sq": grad.shape}
        if grad.dim() >= 2:
            shapes = {
                "exp_avg_sq_row": grad.shape[:-1],
                "exp_avg_sq_col": grad.shape[:-2] + grad.shape[-1:],
            }
        if group["beta1"] is not None:
            shapes["exp_avg"] = grad.shape
        for name, shape in shapes.items():
            if name not in state:
                state[name] = grad.new_zeros(shape)


def _rms(x: Tensor) -> Tensor:
    return x.norm(2) / math.sqrt(x.numel())


def _step_size(group: dict[str, Any], state: dict[str, Any]) -> Any:
    """A number, or a 0-dim tensor where the parameter's scale enters (reading it would wait for the device)."""
    size = group["lr"]
    if group["relative_step"]:
        t = state["step"]
        size = min(1e-6 * t if group["warmup_init"] else 1e-2, 1.0 / math.sqrt(t))
    return size * state["RMS"].clamp(min=group["eps"][1]) if group["scale_parameter"] else size


def _normalised(grad: Tensor, state: dict[str, Any], decay: float, floor: float) -> Tensor:
    """The gradient over the root of its second moment (factored for two or more dimensions), a new tensor."""
    squared = grad.square().add_(floor)
    if grad.dim() < 2:
        second = state["exp_avg_sq"]
        second.mul_(decay).add_(squared, alpha=1.0 - decay)
        return second.rsqrt().mul_(grad)
    rows, columns = state["exp_avg_sq_row"], state["exp_avg_sq_col"]
    rows.mul_(decay).add_(squared.mean(dim=-1), alpha=1.0 - decay)
    columns.mul_(decay).add_(squared.mean(dim=-2), alpha=1.0 - decay)
    row_factor = (rows / rows.mean(dim=-1, keepdim=True)).rsqrt_().unsqueeze(-1)
    return row_factor.mul(columns.unsqueeze(-2).rsqrt()).mul_(grad)
