"""The trainer of models split over devices by Megatron: a name that copies of ``train.py`` import at their top.

Such programs use it only with ``--model-parallel-size`` above 1; then, as upstream does without its Megatron
submodule, making one fails with an ``ImportError``.
"""

from __future__ import annotations

from typing import Any

from fairseq.trainer import Trainer

__all__ = ["MegatronTrainer", "has_megatron_submodule"]

has_megatron_submodule = False


class MegatronTrainer(Trainer):
    """Refuses to be made.

    Raises:
        ImportError: always; Megatron is not supported.
    """

    def __init__(self, cfg: Any, task: Any, model: Any, criterion: Any, quantizer: Any = None, **kwargs: Any) -> None:
        raise ImportError(
            "--model-parallel-size above 1 needs Megatron, which this version does not support; use "
            "--ddp-backend fully_sharded to train a model that does not fit one device"
        )
