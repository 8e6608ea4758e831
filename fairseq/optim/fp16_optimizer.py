"""Training in float16 or bfloat16.

``FP16Optimizer``                 float32 copies of the parameters are updated, and rounded into the model
``MemoryEfficientFP16Optimizer``  the half-precision parameters themselves are updated; the optimizer works in float32

Both keep one pending factor for all gradients (the loss scale undone, the division by the sample size, the clipping),
so that large gradients are touched once, at the step. With bfloat16 there is no loss scale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fairseq import optim
from fairseq.optim._sharding import spread
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

__all__ = ["FP16Optimizer", "MemoryEfficientFP16Optimizer", "build_loss_scaler"]

# Attributes of parameters that mean something to optimizers, and that copies must carry.
MARKS = ("expert", "param_group", "optim_overrides", "base_expert")


def build_loss_scaler(cfg: Any) -> DynamicLossScaler | None:
    """The scaler that the configuration asks for; ``None`` with bfloat16.

    Raises:
        ValueError: the batch size changes from epoch to epoch and no window is given.
    """
    common = cfg.common
    if getattr(common, "bf16", False):
        return None
    window = common.fp16_scale_window
    if window is None:
        update_freq = cfg.optimization.update_freq
        if len(update_freq) > 1:
            raise ValueError("--fp16-scale-window must be given explicitly when using a custom --update-freq schedule")
        replicas = int(cfg.distributed_training.distributed_world_size / common.model_parallel_size)
        window = int(2**14 / replicas / update_freq[0])
    return DynamicLossScaler(
        init_scale=common.fp16_init_scale,
        scale_window=window,
        tolerance=common.fp16_scale_tolerance,
        threshold=common.threshold_loss_scale,
        min_loss_scale=common.min_loss_scale,
    )


class _PendingFactor:
    """The factor that gradients still have to be multiplied by, and the decision whether they can be used."""

    scaler: DynamicLossScaler | None
    _multiply_factor: Any = 1.0

    def _restart(self) -> None:
        self._multiply_factor = 1.0 if self.scaler is None else 1.0 / float(self.scaler.loss_scale)

    def multiply_grads(self, c: float | Tensor) -> None:
        """Note a further factor; it is applied at the next step."""
        self._multiply_factor = self._multiply_factor * c

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.scaler is None else self.scaler.scale(loss)

    def _clip(self, raw_norm: Tensor, max_norm: float) -> Any:
        """The norm after the pending factor; with it the factor for clipping is noted.

        Raises:
            OverflowError, FloatingPointError: see ``DynamicLossScaler.check_overflow``.
        """
        grad_norm = self._multiply_factor * raw_norm
        if self.scaler is not None:
            value = float(grad_norm)  # the one place where a step waits for the device
            if value > max_norm > 0.0:
                self._multiply_factor = self._multiply_factor * (max_norm / value)
            self.scaler.check_overflow(value)
        elif max_norm > 0.0:
            # A norm that is no number is an error, which others raise; gradients of zero must stay zero until then.
            shrink = (max_norm / (grad_norm + 1e-6)).clamp(max=1).nan_to_num(nan=0.0)
            self._multiply_factor = self._multiply_factor * shrink
        return grad_norm

    def _apply_step(self, inner: optim.FairseqOptimizer, closure: Any, groups: Any) -> None:
        factor = self._multiply_factor
        if inner.supports_step_with_scale:
            inner.step(closure, scale=1.0 / factor, groups=groups)
        else:
            if isinstance(factor, Tensor) or factor != 1.0:
                inner.multiply_grads(factor)
            inner.step(closure, groups=groups)
        self._multiply_factor = 1.0
        if self.scaler is not None:
            self.scaler.update()

    def _save_scale(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        if self.scaler is not None:
            state_dict["loss_scale"] = self.scaler.loss_scale
        return state_dict

    def _load_scale(self, state_dict: dict[str, Any]) -> None:
        if self.scaler is not None and "loss_scale" in state_dict:
            self.scaler.loss_scale = state_dict["loss_scale"]


class _Delegating(optim.FairseqOptimizer):
    """What both wrappers leave to the optimizer inside."""

    _inner: optim.FairseqOptimizer

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self._inner.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self._inner.optimizer = optimizer

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return self._inner.optimizer_config

    @property
    def lr_scheduler(self) -> Any:
        return getattr(self._inner, "lr_scheduler", None)

    @property
    def supports_flat_params(self) -> bool:
        return self._inner.supports_flat_params

    def notes(self) -> dict[str, Any]:
        """Those of the loss scaler, and of the optimizer inside."""
        scaler = getattr(self, "scaler", None)
        return {**self._inner.notes(), **({} if scaler is None else {"loss_scaler": scaler.notes()})}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned."""
        self._inner.resume(notes)
        scaler = getattr(self, "scaler", None)
        if scaler is not None and "loss_scaler" in notes:
            scaler.resume(notes["loss_scaler"])

    def get_lr(self) -> float:
        return self._inner.get_lr()

    def set_lr(self, lr: float) -> None:
        self._inner.set_lr(lr)

    def all_reduce_grads(self, module: Any) -> None:
        self._inner.all_reduce_grads(module)


class _MasterCopies:
    """Float32 copies of half-precision parameters, flat (one vector per device) or one by one."""

    def __init__(self, params: list[Tensor], flatten: bool) -> None:
        self.params = params
        self.is_flat = flatten
        self.flat: dict[torch.device, torch.nn.Parameter] = {}
        self.single: list[torch.nn.Parameter] = []
        if flatten:
            for device, members in self._by_device().items():
                joined = torch.cat([p.detach().reshape(-1).float() for p in members])
                self.flat[device] = torch.nn.Parameter(joined)
        else:
            for p in params:
                copy = torch.nn.Parameter(p.detach().float())
                for mark in MARKS:
                    if hasattr(p, mark):
                        setattr(copy, mark, getattr(p, mark))
                self.single.append(copy)

    def _by_device(self) -> dict[torch.device, list[Tensor]]:
        groups: dict[torch.device, list[Tensor]] = defaultdict(list)
        for p in self.params:
            if p.requires_grad:
                groups[p.device].append(p)
        return groups

    @property
    def all(self) -> list[torch.nn.Parameter]:
        return list(self.flat.values()) if self.is_flat else self.single

    @torch.no_grad()
    def take_grads(self) -> None:
        """Copy the half-precision gradients; a parameter without one counts as zero."""
        if not self.is_flat:
            for p, copy in zip(self.params, self.single):
                if p.requires_grad:
                    copy.grad = torch.zeros_like(copy) if p.grad is None else p.grad.float()
            return
        for device, members in self._by_device().items():
            flat = self.flat[device]
            if flat.grad is None:
                flat.grad = torch.empty_like(flat)
            for p, part in zip(members, flat.grad.split([p.numel() for p in members])):
                if p.grad is None:
                    part.zero_()
                else:
                    part.copy_(p.grad.reshape(-1))

    @torch.no_grad()
    def write_back(self) -> None:
        """Round the copies into the model's parameters."""
        if not self.is_flat:
            if self.params:
                torch._foreach_copy_(self.params, list[Tensor](self.single))
            return
        for device, members in self._by_device().items():
            parts = self.flat[device].split([p.numel() for p in members])
            torch._foreach_copy_(members, [part.view_as(p) for p, part in zip(members, parts)])


class _FP16OptimizerMixin(_PendingFactor):
    """An update by way of float32 copies. Wrappers of other optimizers extend it and set its attributes."""

    fp16_params: list[Tensor]
    fp32_optimizer: Any
    _masters: _MasterCopies
    _needs_sync = True

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer inside, and ``loss_scale``."""
        return self._save_scale(self.fp32_optimizer.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        self._load_scale(state_dict)
        self.fp32_optimizer.load_state_dict(state_dict, optimizer_overrides)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scaled loss."""
        self._scaled(loss).backward()
        self._needs_sync = True

    def _sync(self) -> None:
        if self._needs_sync:
            self._masters.take_grads()
            self._needs_sync = False

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Measure and clip; returns the norm before.

        Raises:
            OverflowError: the gradients overflowed: skip this update.
            FloatingPointError: and the loss scale cannot shrink any more.
        """
        self._sync()
        return self._clip(self.fp32_optimizer.clip_grad_norm(0, aggregate_norm_fn), max_norm)

    def step(self, closure: Any = None, groups: Any = None) -> None:  # type: ignore[override]
        """Update the copies and round them into the model."""
        self._sync()
        self._apply_step(self.fp32_optimizer, closure, groups)
        self._masters.write_back()

    def zero_grad(self) -> None:
        """Drop the gradients of the model and of the copies."""
        for p in self.fp16_params:
            p.grad = None
        if not self._masters.is_flat:
            for copy in self._masters.single:
                copy.grad = None
        # A flat gradient buffer is kept: every part of it is overwritten at the next step.
        self._needs_sync = True
        self._restart()


class FP16Optimizer(_FP16OptimizerMixin, _Delegating):  # type: ignore[misc] # step() takes less than the base's
    """Update float32 copies, then round them into the model.

    Args:
        cfg: the whole configuration.
        params: the model's half-precision parameters.
        fp32_optimizer: updates the copies.
        fp32_params: the copies, as ``build_optimizer`` makes them.
    """

    def __init__(
        self, cfg: Any, params: Iterable[Tensor], fp32_optimizer: Any, fp32_params: Any, **kwargs: Any
    ) -> None:
        super().__init__(cfg.optimizer)
        self.fp16_params = list(params)
        self.fp32_optimizer = self._inner = fp32_optimizer
        self._masters: _MasterCopies = fp32_params
        self.fp32_params = {str(k): v for k, v in fp32_params.flat.items()} if fp32_params.is_flat else fp32_params.all
        self.scaler = build_loss_scaler(cfg)
        self._needs_sync = True
        self._restart()

    @classmethod
    def build_optimizer(cls, cfg: Any, params: Iterable[Tensor], **kwargs: Any) -> FP16Optimizer:
        """Make the copies, the optimizer that ``cfg.optimizer`` names over them, and the wrapper.

        Raises:
            RuntimeError: the optimizer treats a flat vector differently and ``--fp16-no-flatten-grads`` is off.
        """
        params = list(params)
        flatten = not getattr(cfg.common, "fp16_no_flatten_grads", False) and not getattr(cfg.common, "bf16", False)
        masters = _MasterCopies(params, flatten)
        inner = optim.build_optimizer(cfg.optimizer, masters.all)
        if flatten and not inner.supports_flat_params:
            raise RuntimeError(
                f"chosen optimizer {type(inner).__name__} does not support flat params, "
                "please set --fp16-no-flatten-grads"
            )
        return cls(cfg, params, inner, masters, **kwargs)


class _MemoryEfficientFP16OptimizerMixin(_PendingFactor):
    """An update of half-precision parameters in place. Extended like ``_FP16OptimizerMixin``."""

    wrapped_optimizer: Any
    optimizer: Any
    params: Any

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer inside, and ``loss_scale``."""
        return self._save_scale(self.wrapped_optimizer.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        """Restore a state; its tensors stay float32, though torch would cast them to the parameters' dtype."""
        self._load_scale(state_dict)
        self.wrapped_optimizer.load_state_dict(state_dict, optimizer_overrides)
        state_dict = spread(state_dict, self.params)
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        own = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, p in zip(saved, own):
            for key, value in state_dict["state"].get(index, {}).items():
                if isinstance(value, Tensor) and value.dtype == torch.float32:
                    self.optimizer.state[p][key] = value.detach().to(device=p.device, copy=True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the scaled loss."""
        self._scaled(loss).backward()

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Measure and clip; returns the norm before. Errors as in ``FP16Optimizer.clip_grad_norm``."""
        return self._clip(self.wrapped_optimizer.clip_grad_norm(0, aggregate_norm_fn), float(max_norm))

    def step(self, closure: Any = None, groups: Any = None) -> None:  # type: ignore[override]
        """Update the parameters."""
        self._apply_step(self.wrapped_optimizer, closure, groups)

    def zero_grad(self) -> None:
        self.wrapped_optimizer.zero_grad()
        self._restart()


class MemoryEfficientFP16Optimizer(_MemoryEfficientFP16OptimizerMixin, _Delegating):  # type: ignore[misc]
    """Update half-precision parameters in place, with an optimizer that works in float32 inside.

    Args:
        cfg: the whole configuration.
        params: the model's parameters.
        optimizer: must support it.
        allow_unsupported: do not check that.

    Raises:
        ValueError: the optimizer does not support it (``Unsupported optimizer: NAME``).
    """

    def __init__(
        self, cfg: Any, params: Iterable[Tensor], optimizer: Any, allow_unsupported: bool = False, **kwargs: Any
    ) -> None:
        if not allow_unsupported and not optimizer.supports_memory_efficient_fp16:
            raise ValueError(f"Unsupported optimizer: {type(optimizer).__name__}")
        super().__init__(getattr(cfg, "optimizer", None))
        self.wrapped_optimizer = self._inner = optimizer
        self.scaler = build_loss_scaler(cfg)
        self._restart()

    @classmethod
    def build_optimizer(cls, cfg: Any, params: Iterable[Tensor], **kwargs: Any) -> MemoryEfficientFP16Optimizer:
        """Make the optimizer that ``cfg.optimizer`` names, and the wrapper."""
        params = list(params)
        return cls(cfg, params, optim.build_optimizer(cfg.optimizer, params), **kwargs)
