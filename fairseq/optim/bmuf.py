"""Blockwise model-update filtering (Chen & Huo 2016): workers train alone and meet every so many updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from fairseq.distributed import utils
from fairseq.optim import FairseqOptimizer

__all__ = ["FairseqBMUF"]


class FairseqBMUF(FairseqOptimizer):
    """Around another optimizer. After ``warmup_iterations`` updates all workers take over worker 0's parameters; from
    then on, every ``global_sync_iter`` updates, with ``G`` the mean over workers of (last common - own) parameters::

        S = block_momentum * S + block_lr * G ;  p = common - S ;  common = p
        with use_nbm: the workers go on from p - block_momentum * S

    Args:
        cfg: the ``bmuf`` section.
        optimizer: trains between the meetings.
    """

    def __init__(self, cfg: Any, optimizer: FairseqOptimizer) -> None:
        super().__init__(cfg)
        self._wrapped = optimizer
        self.world_size = cfg.distributed_world_size
        self.warmup_iteration, self.sync_iter = cfg.warmup_iterations, cfg.global_sync_iter
        self.block_lr, self.block_momentum = cfg.block_lr, cfg.block_momentum
        self.use_nbm, self.average_sync = cfg.use_nbm, cfg.average_sync
        self._num_updates = 0
        self.initial_state = deepcopy(self._wrapped.state_dict())
        self._reset_blocks()

    @staticmethod
    def add_args(parser: Any) -> None:
        from fairseq.dataclass.configs import FairseqBMUFConfig
        from fairseq.dataclass.utils import gen_parser_from_dataclass

        gen_parser_from_dataclass(parser, FairseqBMUFConfig())

    # ------------------------------------------------------------------------------------------------ as an optimizer
    @property
    def optimizer(self) -> Any:
        return self._wrapped.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self._wrapped.optimizer = optimizer

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return self._wrapped.optimizer_config

    def get_lr(self) -> float:
        return self._wrapped.get_lr()

    def set_lr(self, lr: float) -> None:
        self._wrapped.set_lr(lr)

    def state_dict(self) -> dict[str, Any]:
        return self._wrapped.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: dict[str, Any] | None = None) -> None:
        """Restore the optimizer; blocks start anew from the parameters of now."""
        self._wrapped.load_state_dict(state_dict, optimizer_overrides)
        self.initial_state = self._wrapped.state_dict()
        self._reset_blocks()

    def notes(self) -> dict[str, Any]:
        """The number of updates, which decides when workers meet, and what the optimizer inside has to say."""
        return {**self._wrapped.notes(), "bmuf_updates": self._num_updates}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned."""
        self._num_updates = int(notes["bmuf_updates"])
        self._wrapped.resume(notes)

    def multiply_grads(self, c: float | Tensor) -> None:
        self._wrapped.multiply_grads(c)

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        return self._wrapped.clip_grad_norm(max_norm, aggregate_norm_fn)

    def average_params(self) -> None:
        self._wrapped.average_params()

    def zero_grad(self) -> None:
        self._wrapped.zero_grad()

    def get_num_updates(self) -> int:
        """Updates so far."""
        return self._num_updates

    def set_num_updates(self, num_updates: int) -> None:
        self._num_updates = num_updates

    def step(self, closure: Any = None, *_: Any, **__: Any) -> None:
        """Update this worker's parameters, and meet the others if it is time."""
        self._wrapped.step(closure)
        self._num_updates += 1
        if utils.get_data_parallel_world_size() == 1:
            return
        if self._num_updates == self.warmup_iteration:
            self._equalise()
        elif self._num_updates > self.warmup_iteration and self._num_updates % self.sync_iter == 0:
            self._meet()

    # --------------------------------------------------------------------------------------------------------- blocks
    def _weights(self) -> Iterator[Tensor]:
        for p in self.params:
            yield p.detach()

    @torch.no_grad()
    def _reset_blocks(self) -> None:
        self.global_params = [p.clone() for p in self._weights()]
        self.smoothed_grads = [torch.zeros_like(p) for p in self.global_params]
        self.grads = [torch.zeros_like(p) for p in self.global_params]

    def _sync_state(self) -> None:
        """Average the optimizer's state over workers, or begin with a fresh one."""
        if self.average_sync:
            self._wrapped.average_params()
        else:
            self._wrapped.load_state_dict(deepcopy(self.initial_state))

    def _equalise(self) -> None:
        group = utils.get_data_parallel_group()
        for p in self._weights():
            utils.broadcast(p, src=0, group=group)
        self._sync_state()
        self._reset_blocks()

    @torch.no_grad()
    def _meet(self) -> None:
        group = utils.get_data_parallel_group()
        count = utils.get_data_parallel_world_size()
        for p, common, change, smooth in zip(self._weights(), self.global_params, self.grads, self.smoothed_grads):
            change.copy_(common - p)
            utils.all_reduce(change.div_(count), group)
            if self.block_momentum != 0:
                smooth.mul_(self.block_momentum).add_(change, alpha=self.block_lr)
                p.copy_(common - smooth)
                common.copy_(p)
                if self.use_nbm:
                    p.sub_(smooth, alpha=self.block_momentum)
            else:
                # Plain averaging: the change is taken as it is.
                p.copy_(common - change)
                common.copy_(p)
        self._sync_state()
