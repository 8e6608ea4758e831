"""A shadow model that follows the trained one slowly (Polyak & Juditsky 1992)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fairseq.compat.torch import whole

__all__ = ["EMA"]

logger = logging.getLogger(__name__)


class EMA:
    """Keep ``ema = decay * ema + (1 - decay) * parameter`` for every entry of a model's state dict.

    Entries with ``version`` in their name stay as they are; integers, and entries listed in ``skip_keys``, are copied.

    Args:
        model: the model that is trained; it is copied.
        config: the ``ema`` section: ``ema_decay``, ``ema_start_update`` (the decay is 0 before), ``ema_update_freq``,
            ``ema_fp32`` (average in float32 and give the shadow rounded values), ``ema_seed_model`` (begin from the
            average in this checkpoint).
        device: where the shadow lives, if not where the model is.
        skip_keys: names that are copied instead of averaged.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Any,
        device: torch.device | str | None = None,
        skip_keys: Iterable[str] | None = None,
    ) -> None:
        self.decay: float = config.ema_decay
        self.config = config
        self.skip_keys = set(skip_keys or ())
        self.fp32_params: dict[str, Tensor] = {}
        self.update_freq_counter = 0
        self.model = _copy_model(model)
        self.model.requires_grad_(False)
        if getattr(config, "ema_seed_model", None):
            # Upwards in the layer table: only the checkpoint side reads files.
            from fairseq.checkpoint_utils import load_ema_from_checkpoint

            self.model.load_state_dict(load_ema_from_checkpoint(config.ema_seed_model)["model"], strict=True)
        if device is not None:
            logger.info("the average of the parameters is kept on %s", device)
            self.model = self.model.to(device=device)
        if config.ema_fp32:
            self.build_fp32_params()

    def notes(self) -> dict[str, int]:
        """The position between two averages of ``ema_update_freq``; the averages themselves are saved as tensors."""
        return {"update_freq_counter": self.update_freq_counter}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned."""
        self.update_freq_counter = int(notes["update_freq_counter"])

    def get_model(self) -> nn.Module:
        """Return the shadow model."""
        return self.model

    def get_decay(self) -> float:
        """Return the decay of the last step."""
        return self.decay

    def build_fp32_params(self, state_dict: dict[str, Tensor] | None = None) -> None:
        """Begin (or overwrite) the float32 average, from a state dict or from the shadow.

        Raises:
            RuntimeError: ``--ema-fp32`` is off.
        """
        if not self.config.ema_fp32:
            raise RuntimeError(
                "build_fp32_params should not be called without --ema-fp32: the average has no float32 copy"
            )
        if state_dict is None:
            state_dict = self.model.state_dict()
        for name, value in state_dict.items():
            value = value.detach()
            if name in self.fp32_params:
                self.fp32_params[name].copy_(value)
            else:
                # A copy even of float32 values: the shadow is written separately.
                self.fp32_params[name] = value.to(
                    torch.float32 if value.is_floating_point() else value.dtype, copy=True
                )

    def restore(self, state_dict: dict[str, Tensor], build_fp32_params: bool = False) -> None:
        """Overwrite the shadow (and, if asked, the float32 average) with a state dict; names it lacks stay."""
        state_dict = {name: whole(value) for name, value in state_dict.items()}
        self.model.load_state_dict(state_dict, strict=False)
        if build_fp32_params:
            self.build_fp32_params(state_dict)

    @torch.no_grad()
    def step(self, new_model: nn.Module, updates: int | None = None) -> None:
        """Take one step towards the trained model.

        Args:
            new_model: the trained model after its update.
            updates: number of updates so far; decides whether averaging has begun. ``None`` keeps the last decay.
        """
        if updates is not None:
            self._set_decay(0 if updates < self.config.ema_start_update else self.config.ema_decay)
        if self.config.ema_update_freq > 1:
            self.update_freq_counter += 1
            if self.update_freq_counter < self.config.ema_update_freq:
                return
            self.update_freq_counter = 0
        self._step_internal(new_model)

    def _set_decay(self, decay: float) -> None:
        """Set the decay of the next step; :meth:`step` calls it when it knows the number of updates."""
        self.decay = decay

    @torch.no_grad()
    def _step_internal(self, new_model: nn.Module) -> None:
        """Average once, whatever ``ema_update_freq`` says; :meth:`step` calls it when a step is due."""
        shadow = self.model.state_dict()
        averages = self.fp32_params if self.config.ema_fp32 else shadow
        targets: list[Tensor] = []
        sources: list[Tensor] = []
        seen: set[tuple[int, int]] = set()
        for name, value in new_model.state_dict().items():
            if not isinstance(value, Tensor) or name not in averages or "version" in name:
                continue
            # Of a model that is spread over workers, each keeps the whole average.
            value = whole(value)
            average = averages[name]
            if average.shape != value.shape:
                raise ValueError(
                    f"incompatible tensor shapes between model param and ema param: {name} is {tuple(value.shape)} in "
                    f"the model and {tuple(average.shape)} in its average"
                )
            # A shared parameter has several names but is one tensor: it decays once.
            identity = (average.data_ptr(), average.numel())
            if average.numel() > 0 and identity in seen:
                continue
            seen.add(identity)
            if name in self.skip_keys or not average.is_floating_point():
                average.copy_(value)
            else:
                targets.append(average)
                sources.append(value.to(device=average.device, dtype=average.dtype))
        if targets:
            torch._foreach_mul_(targets, self.decay)
            torch._foreach_add_(targets, sources, alpha=1 - self.decay)
        if self.config.ema_fp32:
            for name, average in self.fp32_params.items():
                if name in shadow:
                    shadow[name].copy_(average)

    def reverse(self, model: nn.Module) -> nn.Module:
        """Load the average into ``model``, for example to evaluate it, and return ``model``."""
        state = self.model.state_dict()
        state.pop("_ema", None)
        model.load_state_dict(state, strict=False)
        return model


def _copy_model(model: nn.Module) -> nn.Module:
    """Deep-copy a model that may have run forward.

    Weight normalisation leaves a computed tensor in a plain attribute, which can not be copied while it hangs in a
    graph. It is computed again at the next forward pass, so its value is enough.
    """
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor) and not value.is_leaf:
                setattr(module, name, value.detach())
    return copy.deepcopy(model)
