"""Exponential moving average of a module's parameters, for teachers inside a model (data2vec and its like)."""

import copy
import logging
from dataclasses import dataclass
from typing import Any, Dict, Optional, Set

import torch
from torch import Tensor, nn

from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.fields import option

__all__ = ["EMAModule", "EMAModuleConfig", "multi_tensor_l2norm_available"]

logger = logging.getLogger(__name__)

# torch._foreach_norm does the work on every device; no compiled extension is looked for.
multi_tensor_l2norm_available = True


@dataclass
class EMAModuleConfig(FairseqDataclass):
    """How a module's average is kept."""

    ema_decay: float = option(0.9999, "share of the old average that stays at each update")
    ema_fp32: bool = option(False, "keep the average in float32 even if the module is not")
    add_missing_params: bool = True
    log_norms: bool = False


class EMAModule:
    """The average of a module, updated by :meth:`step`.

    Args:
        model: the module to follow.
        config: an :class:`EMAModuleConfig`.
        copy_model: average into a copy; ``False`` makes ``model`` itself hold the average.
        device: where the average is kept.
        skip_keys: names of entries that are copied instead of averaged.
    """

    def __init__(
        self,
        model: nn.Module,
        config: EMAModuleConfig,
        copy_model: bool = True,
        device: Optional[torch.device] = None,
        skip_keys: Optional[Set[str]] = None,
    ) -> None:
        self.config = config
        self.model = copy.deepcopy(model) if copy_model else model
        self.model.requires_grad_(False)
        if device is not None:
            logger.info("copying the averaged module to %s", device)
            self.model = self.model.to(device=device)
        self.decay = config.ema_decay
        self.weight_decay: Optional[float] = None
        self.skip_keys: Set[str] = set(skip_keys or ())
        self.add_missing_params = config.add_missing_params
        self.fp32_params: Dict[str, Tensor] = {}
        if config.ema_fp32:
            self.build_fp32_params()
        self.log_norms = config.log_norms and multi_tensor_l2norm_available
        self.logs: Dict[str, Any] = {}
        self.prev_model_norm: Optional[Tensor] = None

    def build_fp32_params(self, state_dict: Optional[Dict[str, Tensor]] = None) -> None:
        """Take float32 masters from ``state_dict`` (a name to tensor mapping), or from the average itself.

        Raises:
            RuntimeError: the config does not ask for float32.
        """
        if not self.config.ema_fp32:
            raise RuntimeError("build_fp32_params should not be called if ema_fp32=False")
        for name, value in (self.model.state_dict() if state_dict is None else state_dict).items():
            master = value.float() if torch.is_floating_point(value) else value
            if name in self.fp32_params:
                self.fp32_params[name].copy_(master)
            else:
                self.fp32_params[name] = master.clone()

    def set_decay(self, decay: float, weight_decay: Optional[float] = None) -> None:
        """Change the share of the old average that stays; ``weight_decay`` also shrinks it at each step."""
        self.decay = decay
        if weight_decay is not None:
            self.weight_decay = weight_decay

    def get_decay(self) -> float:
        """The share of the old average that stays at each update."""
        return self.decay

    @torch.no_grad()
    def step(self, new_model: nn.Module) -> None:
        """Move the average towards the parameters of ``new_model``; its other entries are copied."""
        ema_state = self.model.state_dict()
        parameters = dict(new_model.named_parameters())
        averaged, fresh = [], []
        for name, value in new_model.state_dict().items():
            mine = self.fp32_params.get(name, ema_state.get(name))
            if mine is None:
                if self.add_missing_params:
                    raise KeyError(
                        f"the average has no entry {name!r}; was the module changed after EMAModule was made?"
                    )
                continue
            if mine.shape != value.shape:
                raise ValueError(f"{name}: average {tuple(mine.shape)}, module {tuple(value.shape)}: shapes differ")
            if name in self.skip_keys or name not in parameters or not parameters[name].requires_grad:
                mine.copy_(value)
            else:
                averaged.append(mine)
                fresh.append(value.to(device=mine.device, dtype=mine.dtype))
            if mine is not ema_state.get(name) and name in ema_state:
                ema_state[name].copy_(mine)
        if averaged:
            self._average(averaged, fresh)
        for name, master in self.fp32_params.items():
            if name in ema_state:
                ema_state[name].copy_(master)

    def _average(self, averaged: Any, fresh: Any) -> None:
        if self.weight_decay:
            torch._foreach_mul_(averaged, 1 - self.weight_decay)
        if self.log_norms:
            before = _norm(averaged)
            change = [new - old for new, old in zip(fresh, averaged)]
            self.logs["model_norm"] = _norm(fresh)
            self.logs["diff_norm"] = _norm(change)
            self.logs["ema_norm"] = before
            self.prev_model_norm = self.logs["model_norm"]
        torch._foreach_mul_(averaged, self.decay)
        torch._foreach_add_(averaged, fresh, alpha=1 - self.decay)

    def restore(self, state_dict: Dict[str, Tensor], build_fp32_params: bool = False) -> None:
        """Load the average from a saved state; ``build_fp32_params`` renews the float32 masters from it."""
        self.model.load_state_dict(state_dict, strict=False)
        if build_fp32_params:
            self.build_fp32_params(state_dict)

    def reverse(self, model: nn.Module) -> nn.Module:
        """Load the average into ``model`` and return it; for evaluation."""
        model.load_state_dict(self.model.state_dict(), strict=False)
        return model


def _norm(tensors: Any) -> Tensor:
    return torch.stack([norm.float() for norm in torch._foreach_norm(tensors)]).norm()
