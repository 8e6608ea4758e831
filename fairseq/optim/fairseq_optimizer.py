"""The interface between the trainer and an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from fairseq.optim._sharding import gather, spread
from fairseq.utils.literals import parse_literal
from fairseq.utils.tensors import clip_grad_norm_, scale_

__all__ = ["FairseqOptimizer", "LegacyFairseqOptimizer", "decays_of", "first_lr", "floats_of"]


def first_lr(lr: Any) -> float:
    """The learning rate to start with: an option that is a list (one per epoch) or a number."""
    return lr if isinstance(lr, (int, float)) else lr[0]


def floats_of(value: Any) -> tuple[float, ...]:
    """An option such as ``"(0.9, 0.98)"``, or a list of numbers, as a tuple of floats."""
    return tuple(float(number) for number in (parse_literal(value) if isinstance(value, str) else value))


def decays_of(value: Any, option: str) -> tuple[float, ...]:
    """The two decays of running means, as an option gives them.

    Raises:
        ValueError: not two numbers from 0 to below 1.
    """
    number = isinstance(value, (int, float)) or (isinstance(value, str) and isinstance(parse_literal(value), float))
    decays = () if number else floats_of(value)
    if len(decays) != 2 or not all(0 <= decay < 1 for decay in decays):
        raise ValueError(f'{option} {value}: two numbers from 0 to below 1 are expected, such as "(0.9, 0.98)"')
    return decays


class FairseqOptimizer:
    """Wrap a ``torch.optim.Optimizer``; subclasses set ``self._optimizer`` and define ``optimizer_config``.

    Args:
        cfg: the ``optimizer`` section of the configuration.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add this optimizer's options: those of its dataclass, if it has one."""
        config = getattr(cls, "__dataclass", None)
        if config is not None:
            from fairseq.dataclass.utils import gen_parser_from_dataclass

            gen_parser_from_dataclass(parser, config())

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The wrapped optimizer.

        Raises:
            NotImplementedError: the subclass did not set ``_optimizer``.
            ValueError: it set something that is no optimizer.
        """
        inner = getattr(self, "_optimizer", None)
        if inner is None:
            raise NotImplementedError(f"{type(self).__name__} does not set _optimizer")
        if not isinstance(inner, torch.optim.Optimizer):
            raise ValueError("_optimizer must be an instance of torch.optim.Optimizer")
        return inner

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """Group settings made from the options (``lr`` and so on). A resumed run lets them win over saved ones."""
        raise NotImplementedError

    @property
    def params(self) -> Iterator[Tensor]:
        """All parameters, group by group."""
        for group in self.param_groups:
            yield from group["params"]

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def __getstate__(self) -> Any:
        return self.optimizer.__getstate__()

    def get_lr(self) -> float:
        """Learning rate of the first group."""
        return self.param_groups[0]["lr"]

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every group."""
        for group in self.param_groups:
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """That of the wrapped optimizer, with whole tensors: of sharded parameters this is a collective call."""
        return gather(self.optimizer.state_dict(), self.params)

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        """Restore a saved state.

        Args:
            optimizer_overrides: settings that win over the saved ones, in every group.
        """
        self.optimizer.load_state_dict(spread(state_dict, self.params))
        if optimizer_overrides:
            for group in self.param_groups:
                group.update(optimizer_overrides)

    def notes(self) -> dict[str, Any]:
        """What a resumed run must know besides ``state_dict``, whose layout is upstream's; numbers and text only."""
        return {}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned; called after ``load_state_dict``."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss`` (0-dim) to those of the parameters."""
        loss.backward()

    def all_reduce_grads(self, module: Any) -> None:
        """Sum gradients over workers, where the wrapped module does that outside of ``backward``."""
        if hasattr(module, "all_reduce_grads"):
            module.all_reduce_grads()

    @torch.no_grad()
    def multiply_grads(self, c: float | Tensor) -> None:
        """Scale all gradients in place by a number or a 0-dim tensor."""
        scale_([p.grad for p in self.params if p.grad is not None], c)

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Scale gradients so that their norm is at most ``max_norm`` (0: measure only); returns the norm before."""
        return clip_grad_norm_(self.params, max_norm, aggregate_norm_fn)

    def step(self, closure: Any = None, scale: Any = 1.0, groups: Any = None) -> None:
        """Update the parameters.

        Args:
            scale: what the gradients must be divided by first.
            groups: names of the parameter groups to update, where the optimizer has named groups.
        """
        arguments: dict[str, Any] = {}
        if self.supports_step_with_scale:
            arguments["scale"] = scale
        elif isinstance(scale, Tensor) or scale != 1.0:
            self.multiply_grads(1.0 / scale)
        if self.supports_groups:
            arguments["groups"] = groups
        self.optimizer.step(closure, **arguments)

    def zero_grad(self) -> None:
        """Drop all gradients; ``backward`` makes new ones, which is faster than filling the old with zeros."""
        for p in self.params:
            p.grad = None
        self.optimizer.zero_grad()

    def _capability(self, name: str) -> bool:
        return bool(getattr(self.optimizer, name, False))

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        """Whether half-precision parameters can be updated without a float32 copy kept beside them."""
        return self._capability("supports_memory_efficient_fp16")

    @property
    def supports_step_with_scale(self) -> bool:
        """Whether ``step`` divides the gradients itself."""
        return self._capability("supports_step_with_scale")

    @property
    def supports_groups(self) -> bool:
        """Whether ``step`` can update some named groups only."""
        return self._capability("supports_groups")

    @property
    def supports_flat_params(self) -> bool:
        """Whether joining all parameters into one vector gives the same updates."""
        return self._capability("supports_flat_params")

    def average_params(self) -> None:
        """Put averaged parameters into the model, where the optimizer keeps an average."""

    def broadcast_global_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Hand the first worker's state to all, where the state is spread over them; else return it unchanged."""
        spread = getattr(self.optimizer, "broadcast_global_state_dict", None)
        return state_dict if spread is None else spread(state_dict)


class LegacyFairseqOptimizer(FairseqOptimizer):
    """Base of optimizers whose options come from ``add_args``; they receive all options as ``args``."""

    def __init__(self, args: Any) -> None:
        self.args = args
