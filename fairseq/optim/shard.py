"""``--zero-sharding os``: each worker keeps the optimizer state of its share of the parameters (ZeRO stage 1)."""

from __future__ import annotations

from typing import Any

import torch

from fairseq.distributed import utils

__all__ = ["shard_"]


def shard_(optimizer: Any, group: Any) -> None:
    """Replace the torch optimizer inside ``optimizer`` by one that updates a share of the parameters and broadcasts.

    Args:
        optimizer: a ``FairseqOptimizer``; changed in place.
        group: the workers.
    """
    from torch.distributed.optim import ZeroRedundancyOptimizer

    inner = optimizer.optimizer
    settings = {key: value for key, value in inner.param_groups[0].items() if key in _arguments(type(inner))}
    params = [p for param_group in inner.param_groups for p in param_group["params"]]

    class ShardedOptimizer(ZeroRedundancyOptimizer):
        """State dictionaries are those of an ordinary optimizer: consolidated on saving, spread on loading."""

        @property
        def supports_flat_params(self) -> bool:
            return bool(getattr(inner, "supports_flat_params", False))

        @property
        def supports_memory_efficient_fp16(self) -> bool:
            return bool(getattr(inner, "supports_memory_efficient_fp16", False))

        def state_dict(self) -> Any:
            """The whole state, on worker 0; the others get what they have."""
            self.consolidate_state_dict(to=0)
            if utils.get_rank(group) == 0:
                return super().state_dict()
            return torch.optim.Optimizer.state_dict(self)

        def broadcast_global_state_dict(self, state_dict: dict[str, Any]) -> dict[str, Any]:
            """Worker 0's state for everyone."""
            return utils.broadcast_object(state_dict, src_rank=0, group=group)

    optimizer.optimizer = ShardedOptimizer(params, optimizer_class=type(inner), process_group=group, **settings)


def _arguments(cls: type) -> set[str]:
    """Names that an optimizer's constructor takes, its parameters aside."""
    import inspect

    return set(inspect.signature(cls.__init__).parameters) - {"self", "params"}  # type: ignore[misc]
