"""Adam whose moments stay in host memory, for models whose parameters are offloaded, or that barely fit a GPU.

torch's own vectorised CPU kernel does the work; DeepSpeed is not needed.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any, Dict, List

import torch
from torch import Tensor

from fairseq.compat.torch import local_part
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim._update_rule import Float32StateOptimizer
from fairseq.optim.adam import adam_update
from fairseq.optim.fairseq_optimizer import decays_of, first_lr
from fairseq.optim.fused_adam import compress, expand

__all__ = ["CPUAdam", "FairseqCPUAdam", "FairseqCPUAdamConfig", "has_deepspeed"]

has_deepspeed = importlib.util.find_spec("deepspeed") is not None


@dataclass
class FairseqCPUAdamConfig(FairseqDataclass):
    """Options of ``--optimizer cpu_adam``."""

    adam_betas: str = option("(0.9, 0.999)", 'decay of the two running means: "(B1, B2)"')
    adam_eps: float = option(1e-8, "added to the root of the second moment")
    weight_decay: float = option(0.0, "decay of all parameters, decoupled from the gradient")
    fp16_adam_stats: bool = option(False, "keep both moments in half precision, with one scale per tensor")
    lr: List[float] = II("optimization.lr")


@register_optimizer("cpu_adam", dataclass=FairseqCPUAdamConfig)
class FairseqCPUAdam(FairseqOptimizer):
    """The numbers of ``adam``; the moments, and the work, on the CPU."""

    def __init__(self, cfg: Any, params: Any) -> None:
        super().__init__(cfg)
        self._optimizer = CPUAdam(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        return {
            "lr": first_lr(self.cfg.lr),
            "betas": decays_of(self.cfg.adam_betas, "--adam-betas"),
            "eps": self.cfg.adam_eps,
            "weight_decay": self.cfg.weight_decay,
            "use_fp16_stats": self.cfg.fp16_adam_stats,
        }


class CPUAdam(Float32StateOptimizer):
    """The update rule of ``fairseq.optim.adam.Adam`` with states on the CPU.

    State per parameter: ``step`` (int), ``exp_avg``, ``exp_avg_sq`` on the CPU, float32 or (``use_fp16_stats``)
    float16 with ``exp_avg_scale`` and ``exp_avg_sq_scale``.
    """

    optimizer_id = 0
    FLOAT16_MAX = 65504.0

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: Any = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        use_fp16_stats: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "bias_correction": bias_correction})
        self.use_fp16_stats = use_fp16_stats
        self.opt_id = CPUAdam.optimizer_id
        CPUAdam.optimizer_id += 1

    @property
    def supports_flat_params(self) -> bool:
        return True

    @staticmethod
    def _restored(key: str, value: Any, p: Tensor) -> Any:
        restored = Float32StateOptimizer._restored(key, value, p)
        return restored.cpu() if isinstance(restored, Tensor) else restored

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """Update all parameters; returns what ``closure`` (which recomputes the loss) returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(group, local_part(p.detach()), local_part(p.grad), self.state[p])
        return loss

    def _update(self, group: Dict[str, Any], p: Tensor, grad: Tensor, state: Dict[str, Any]) -> None:
        dtype = torch.float16 if self.use_fp16_stats else torch.float32
        for name in ("exp_avg", "exp_avg_sq"):
            if name not in state:
                state[name] = torch.zeros(p.shape, dtype=dtype)
        state["step"] = int(state.get("step", 0)) + 1
        weights, gradient = p.float().cpu(), grad.float().cpu()
        first, second = expand(state, "exp_avg"), expand(state, "exp_avg_sq")
        adam_update([weights], [gradient], ([first], [second], None), group, state["step"])
        if self.use_fp16_stats:
            compress(state, "exp_avg", first)
            compress(state, "exp_avg_sq", second)
        if weights is not p:
            p.copy_(weights)
