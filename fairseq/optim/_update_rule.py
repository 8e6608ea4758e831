"""What our own update rules share: batches of parameters, float32 arithmetic, and states that keep their dtype."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from fairseq.compat.torch import local_part

__all__ = ["Float32StateOptimizer", "batches_of", "check_ranges", "steps_per_count"]

HALF_DTYPES = (torch.float16, torch.bfloat16)
# Temporaries of one batch of parameters stay below this many numbers (256 MB each in float32).
MAX_BATCH = 2**26


class Float32StateOptimizer(torch.optim.Optimizer):
    """An optimizer whose state is float32 whatever the dtype of the parameters.

    ``torch.optim.Optimizer.load_state_dict`` casts states to the parameters' dtype, which would cut the moments of
    half-precision parameters to half; here they stay as they were saved, and step counts are Python integers.
    """

    # Subclasses that keep moments in half precision on purpose say so.
    keeps_half_state = False
    # What ``load_state_dict`` was given is not kept: the caller need not make a copy.
    copies_loaded_state = True

    @property
    def supports_memory_efficient_fp16(self) -> bool:
        return True

    @property
    def supports_flat_params(self) -> bool:
        return True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        saved_ids = [index for group in state_dict["param_groups"] for index in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for index, p in zip(saved_ids, params):
            for key, value in state_dict["state"].get(index, {}).items():
                self.state[p][key] = self._restored(key, value, p)

    @staticmethod
    def _restored(key: str, value: Any, p: Tensor) -> Any:
        if key == "step":
            return int(value)
        if isinstance(value, Tensor) and value.is_floating_point():
            # A copy, as the caller may go on using what it passed.
            return value.detach().to(device=p.device, copy=True)
        return value

    def _begin(
        self, group: dict[str, Any], names: Iterable[str], counts_steps: bool = True
    ) -> list[tuple[Tensor, dict[str, Any]]]:
        """Parameters with gradient and their states, with the step counted and zeros in new states.

        Args:
            names: float32 state tensors of the parameter's shape.
            counts_steps: whether the rule needs the number of the update.
        """
        result = []
        for p in group["params"]:
            if p.grad is None:
                continue
            if p.grad.is_sparse:
                raise RuntimeError(
                    f"{type(self).__name__} does not support sparse gradients, please consider SparseAdam instead"
                )
            state = self.state[p]
            for name in names:
                if name not in state:
                    dtype = torch.float16 if self.keeps_half_state else _state_dtype(p)
                    state[name] = torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format)
                elif state[name].dtype in HALF_DTYPES and not self.keeps_half_state:
                    state[name] = state[name].float()
            if counts_steps:
                state["step"] = int(state.get("step", 0)) + 1
            result.append((p, state))
        return result


def _state_dtype(p: Tensor) -> torch.dtype:
    return torch.float32 if p.dtype in HALF_DTYPES else p.dtype


def batches_of(entries: Iterable[tuple[Tensor, dict[str, Any]]]) -> Iterator[list[tuple[Tensor, dict[str, Any]]]]:
    """Split ``(parameter, state)`` pairs into lists that one multi-tensor call can take: same device, dtypes and
    step, and not too many numbers at once."""
    groups: dict[Any, list[tuple[Tensor, dict[str, Any]]]] = defaultdict(list)
    for p, state in entries:
        groups[(p.device, p.dtype, None if p.grad is None else p.grad.dtype, state.get("step"))].append((p, state))
    for members in groups.values():
        batch: list[tuple[Tensor, dict[str, Any]]] = []
        size = 0
        for p, state in members:
            if batch and size + p.numel() > MAX_BATCH:
                yield batch
                batch, size = [], 0
            batch.append((p, state))
            size += p.numel()
        yield batch


def steps_per_count(batch: list[tuple[Tensor, dict[str, Any]]]) -> int:
    """The step number that all members of a batch share."""
    return batch[0][1]["step"]


class Working:
    """Float32 views of a batch: ``params`` to update and ``grads`` to read; ``write_back`` rounds to half at the end.

    Parameters that are not half precision are updated in place.
    """

    def __init__(self, batch: list[tuple[Tensor, dict[str, Any]]]) -> None:
        self._targets = [local_part(p.detach()) for p, _ in batch]
        self._states = [state for _, state in batch]
        self._is_half = self._targets[0].dtype in HALF_DTYPES
        dtype = _state_dtype(self._targets[0])
        self.params = [p.to(dtype) for p in self._targets]
        self.grads = [local_part(p.grad).to(dtype) for p, _ in batch if p.grad is not None]

    def state(self, name: str) -> list[Tensor]:
        """One state tensor of every member (of sharded parameters: this process's shard)."""
        return [local_part(state[name]) for state in self._states]

    def write_back(self) -> None:
        if self._is_half:
            torch._foreach_copy_(self._targets, self.params)


def check_ranges(lr: Any, eps: float, betas: tuple[float, ...], weight_decay: float) -> None:
    """Refuse settings that make no sense.

    Raises:
        ValueError: names the setting and its value.
    """
    if isinstance(lr, (int, float)) and lr < 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    if eps < 0.0:
        raise ValueError(f"Invalid epsilon value: {eps}")
    for index, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
    if weight_decay < 0.0:
        raise ValueError(f"Invalid weight_decay value: {weight_decay}")
