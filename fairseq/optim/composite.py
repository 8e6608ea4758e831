"""Several optimizers, each with its own schedule, for groups of parameters."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

import torch
from torch import Tensor

from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim import FairseqOptimizer, build_optimizer, register_optimizer
from fairseq.optim.lr_scheduler import FairseqLRScheduler, build_lr_scheduler

__all__ = [
    "CompositeLRScheduler",
    "CompositeOptimizer",
    "CompositeOptimizerConfig",
    "FairseqCompositeOptimizer",
    "OptimizerAndSchedulerConfig",
]


@dataclass
class OptimizerAndSchedulerConfig(FairseqDataclass):
    """One group of ``composite``."""

    optimizer: Any = None
    lr_scheduler: Optional[Any] = None
    lr: List = II("optimization.lr")
    lr_float: Optional[float] = None  # one number instead of the list, which is easier to sweep


@dataclass
class CompositeOptimizerConfig(FairseqDataclass):
    """Options of the ``composite`` optimizer (structured configuration only)."""

    groups: Dict[str, Any] = option(help="group name -> its optimizer and schedule", factory=dict)
    dynamic_groups: bool = option(False, "make groups from the parameters' own overrides of the group 'default'")


@register_optimizer("composite", dataclass=CompositeOptimizerConfig)
class FairseqCompositeOptimizer(FairseqOptimizer):
    """Parameters are sorted by their attribute ``param_group`` (``"default"`` without one).

    With ``dynamic_groups``, parameters with equal ``optim_overrides`` (a dict merged into the settings of the group
    ``default``; ``lr_scale`` and ``weight_decay_scale`` multiply instead) form a group.

    ``optimizers`` and ``lr_schedulers`` belong to the class, so a second instance in one process adds to the groups of
    the first; configurations of old runs rely on finding them there.

    Raises:
        AssertionError: a single parameter (a flat vector cannot be split), or groups without configuration.
    """

    optimizers: Dict[str, FairseqOptimizer] = {}
    lr_schedulers: Dict[str, FairseqLRScheduler] = {}
    lr_scheduler: Any = None

    def __init__(self, cfg: Any, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        params = list(params)
        if len(params) <= 1:
            raise AssertionError(
                "Composite optimizer only works when there are multiple parameter groups "
                "(try fp16_no_flatten_grads: true)"
            )
        members, settings = self._dynamic_groups(params) if cfg.dynamic_groups else self._named_groups(params)
        self.optimizers_config = settings
        for name, tensors in members.items():
            group = _with_own_lr(settings[name])
            self.optimizers[name] = build_optimizer(group.optimizer, tensors)
            if group.lr_scheduler is not None:
                self.lr_schedulers[name] = build_lr_scheduler(group.lr_scheduler, self.optimizers[name])
        if self.lr_schedulers:
            if len(self.lr_schedulers) != len(self.optimizers):
                missing = sorted(set(self.optimizers) - set(self.lr_schedulers))
                raise AssertionError(f"every group needs an lr_scheduler, or none; missing for: {missing}")
            self.lr_scheduler = CompositeLRScheduler(self.lr_schedulers)
        self._optimizer = CompositeOptimizer(self.optimizers)

    def _named_groups(self, params: List[Tensor]) -> Any:
        members: Dict[str, List[Tensor]] = defaultdict(list)
        for p in params:
            members[getattr(p, "param_group", "default")].append(p)
        if set(members) != set(self.cfg.groups):
            raise AssertionError(
                f"Parameter groups {sorted(members)} and optimizer groups {sorted(self.cfg.groups)} must be the same"
            )
        # The order of the configuration, which is that of the saved states.
        return {name: members[name] for name in self.cfg.groups}, self.cfg.groups

    def _dynamic_groups(self, params: List[Tensor]) -> Any:
        members: Dict[str, List[Tensor]] = defaultdict(list)
        settings: Dict[str, Any] = {}
        for p in params:
            overrides = getattr(p, "optim_overrides", None) or {}
            name = json.dumps(overrides, sort_keys=True) if overrides else "default"
            if name not in settings:
                settings[name] = _overridden(self.cfg.groups["default"], overrides)
            members[name].append(p)
        return members, settings

    @property
    def supports_groups(self) -> bool:
        return True

    @property
    def param_groups(self) -> Iterator[Dict[str, Any]]:  # type: ignore[override]
        """All groups of all optimizers."""
        for optimizer in self.optimizers.values():
            yield from optimizer.param_groups

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        """Nothing to override in all groups alike."""
        return {}

    def get_lr(self) -> float:
        """Rate of the group ``default``, or of the first one."""
        name = "default" if "default" in self.optimizers else next(iter(self.optimizers))
        return self.optimizers[name].get_lr()

    def state_dict(self) -> Dict[str, Any]:
        """Group name -> state of its optimizer."""
        return {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}

    def load_state_dict(self, state_dict: Dict[str, Any], optimizer_overrides: Any = None) -> None:
        """Restore the groups that were saved; the flat ``loss_scale`` entry of fp16 training is left alone."""
        for name, state in state_dict.items():
            if name in self.optimizers:
                self.optimizers[name].load_state_dict(state, optimizer_overrides)
            elif name != "loss_scale":
                raise KeyError(f"the saved optimizer group {name!r} is not among {sorted(self.optimizers)}")


def _with_own_lr(group: Any) -> Any:
    """A copy in which the schedule starts from the optimizer's rate; ``lr_float`` sets both."""
    group = deepcopy(group)
    from omegaconf import open_dict

    with open_dict(group):
        if group.get("lr_float") is not None:
            group.optimizer.lr = [group.lr_float]
        if group.get("lr_scheduler") is not None and "lr" in group.lr_scheduler:
            group.lr_scheduler.lr = group.optimizer.lr
    return group


def _overridden(default: Any, overrides: Dict[str, Any]) -> Any:
    """The default group with a parameter's overrides; scales multiply what they name."""
    from omegaconf import OmegaConf, open_dict

    overrides = deepcopy(overrides)
    own = overrides.get("optimizer", {})
    lr_scale, decay_scale = own.pop("lr_scale", None), own.pop("weight_decay_scale", None)
    group: Any = OmegaConf.merge(deepcopy(default), overrides)
    with open_dict(group):
        if lr_scale is not None:
            if group.get("lr_float") is not None:
                group.lr_float = group.lr_float * lr_scale
            group.optimizer.lr = [rate * lr_scale for rate in group.optimizer.lr]
        if decay_scale is not None:
            group.optimizer.weight_decay = group.optimizer.weight_decay * decay_scale
    return group


class CompositeOptimizer(torch.optim.Optimizer):
    """What the trainer takes for one torch optimizer.

    Args:
        optimizers: group name -> optimizer.
    """

    def __init__(self, optimizers: Dict[str, FairseqOptimizer]) -> None:
        groups = [group for optimizer in optimizers.values() for group in optimizer.param_groups]
        # torch's hooks and schedulers need an initialised base; the groups stay those of the optimizers inside.
        super().__init__([{"params": group["params"]} for group in groups], {})
        self.param_groups = groups
        self.optimizers = optimizers

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        return all(optimizer.supports_memory_efficient_fp16 for optimizer in self.optimizers.values())

    @property
    def supports_flat_params(self) -> bool:
        return all(optimizer.supports_flat_params for optimizer in self.optimizers.values())

    def step(self, closure: Any = None, groups: Any = None) -> Any:  # type: ignore[override]
        """Update the named groups, all by default; returns what ``closure`` returns."""
        loss = None if closure is None else closure()
        for name, optimizer in self.optimizers.items():
            if groups is None or name in groups:
                optimizer.step()
        return loss

    def zero_grad(self) -> None:  # type: ignore[override]
        """Drop all gradients."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()


class CompositeLRScheduler(FairseqLRScheduler):
    """The schedules of all groups as one.

    Args:
        lr_schedulers: group name -> schedule.
    """

    def __init__(self, lr_schedulers: Dict[str, FairseqLRScheduler]) -> None:
        super().__init__(None, None)
        self.lr_schedulers = lr_schedulers

    def state_dict(self) -> Dict[str, Any]:
        return {name: schedule.state_dict() for name, schedule in self.lr_schedulers.items()}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        for name, state in state_dict.items():
            self.lr_schedulers[name].load_state_dict(state)

    def notes(self) -> Dict[str, Any]:
        return {name: schedule.notes() for name, schedule in self.lr_schedulers.items()}

    def resume(self, notes: Dict[str, Any]) -> None:
        for name, schedule in self.lr_schedulers.items():
            if notes.get(name):
                schedule.resume(notes[name])

    def step_begin_epoch(self, epoch: int) -> None:
        for schedule in self.lr_schedulers.values():
            schedule.step_begin_epoch(epoch)

    def step(self, epoch: int, val_loss: Optional[float] = None) -> None:
        for schedule in self.lr_schedulers.values():
            schedule.step(epoch, val_loss)

    def step_update(self, num_updates: int) -> Dict[str, float]:
        """Group name -> rate."""
        return {name: schedule.step_update(num_updates) for name, schedule in self.lr_schedulers.items()}
