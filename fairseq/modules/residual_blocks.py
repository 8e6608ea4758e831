"""What the layers of a transformer's encoder and decoder share: residual connections and the feed-forward block.

Each step has a method of its own for subclasses to change; where nobody has changed anything, steps are taken together
(``dropout_add``, ``lean_attention``, ``lean_feed_forward``).

Shapes in this file:  T = length, B = batch, C = embedding
"""

from typing import TYPE_CHECKING, Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fairseq.modules.batch_first import act_on_rows, is_batch_first
from fairseq.modules.dropout_add import dropout, dropout_add, dropout_add_norm_
from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.lean_attention import attend_add_norm
from fairseq.modules.lean_feed_forward import feed_forward, feed_forward_add_norm
from fairseq.modules.multihead_attention import MultiheadAttention
from fairseq.modules.quant_noise import quant_noise
from fairseq.utils.overrides import fast_paths_enabled, is_unhooked, uses_default_methods

__all__ = ["ResidualBlocks"]


class ResidualBlocks(nn.Module):
    """What both kinds of layers share: residual connections, the feed-forward block."""

    if TYPE_CHECKING:  # TorchScript would read these at run time
        final_layer_norm: Any
        dropout_module: FairseqDropout
        activation_dropout_module: FairseqDropout
        activation_fn: Any
        self_attn: Any
        fc1: Any
        fc2: Any
        normalize_before: bool

    def build_fc1(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The first linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), p=q_noise, block_size=qn_block_size)

    def build_fc2(self, input_dim: int, output_dim: int, q_noise: float, qn_block_size: int) -> Any:
        """The second linear map of the feed-forward block; a hook for subclasses."""
        return quant_noise(nn.Linear(input_dim, output_dim), p=q_noise, block_size=qn_block_size)

    def residual_connection(self, x: Tensor, residual: Tensor) -> Tensor:
        """How a block's output joins its input; a hook for subclasses."""
        return residual + x

    def _turns(self, x: Tensor) -> bool:
        """Whether to work on ``(B, T, C)``: what lies like that in memory need not be copied for each linear map."""
        if torch.jit.is_scripting():
            return False
        return is_batch_first(x) and self._acts_on_rows()

    @torch.jit.unused
    def _acts_on_rows(self) -> bool:
        names = ("self_attn_layer_norm", "encoder_attn_layer_norm", "attn_ln", "ffn_layernorm", "final_layer_norm")
        norms = [getattr(self, name, None) for name in names]
        return act_on_rows(self.fc1, self.fc2, *(norm for norm in norms if norm is not None))

    def _drop_and_connect(self, x: Tensor, residual: Tensor) -> Tensor:
        """Dropout and residual connection, in one pass if no subclass has its own idea of either."""
        if not torch.jit.is_scripting():  # noqa: SIM102  what follows must stay hidden from the script compiler
            if self._has_default_residual():
                return dropout_add(x, residual, _active_p(self.dropout_module))
        return self.residual_connection(self.dropout_module(x), residual)

    @torch.jit.unused
    def _connect_and_norm(self, x: Tensor, residual: Tensor, block: str, norm: str) -> Tensor:
        """The same, and the norm that follows where norms come after blocks; ``x`` is the output of ``block``."""
        after = getattr(self, norm)
        if self.normalize_before:
            return self._drop_and_connect(x, residual)
        if self._has_default_residual() and self._gives_away(block):
            joined = dropout_add_norm_(x, residual, _active_p(self.dropout_module), after)
            if joined is not None:
                return joined
        return after(self._drop_and_connect(x, residual))

    @torch.jit.unused
    def _gives_away(self, block: str) -> bool:
        """Whether nobody but its caller has, or needs, the output of a block."""
        last = module = getattr(self, block)
        if block == "fc2" and getattr(self, "return_fc", False):
            return False
        if block == "self_attn" and (getattr(self, "c_attn", None) is not None or getattr(self, "attn_ln", None)):
            return False  # what was done to the output since may want to see it again
        if block != "fc2":
            if not uses_default_methods(module, MultiheadAttention):
                return False
            last = module.out_proj
        # A linear map needs its own output least of all.
        return type(last) is nn.Linear and is_unhooked(last, module)

    def _expand(self, x: Tensor) -> Tensor:
        """First linear map, activation and its dropout."""
        if torch.jit.is_scripting():
            return self.activation_dropout_module(self.activation_fn(self.fc1(x)))
        fast = self._is_as_written()
        if fast and self.activation_fn is F.relu and type(self.fc1) is nn.Linear and is_unhooked(self.fc1):
            x = _linear_relu(self.fc1, x)
        else:
            x = self.activation_fn(self.fc1(x))
        if not fast or not uses_default_methods(self.activation_dropout_module, FairseqDropout):
            return self.activation_dropout_module(x)
        p = _active_p(self.activation_dropout_module)
        return dropout(x, p) if p > 0 else x

    @torch.jit.unused
    def _both_maps(self, x: Tensor) -> Optional[Tensor]:
        """Both linear maps at once, where nothing is between them but a rectifier; else ``None``."""
        return feed_forward(x, self.fc1, self.activation_fn, self.fc2) if self._has_plain_block() else None

    @torch.jit.unused
    def _attend_and_norm(
        self,
        x: Tensor,
        memory: Optional[Tensor],
        attn_mask: Optional[Tensor],
        key_padding_mask: Optional[Tensor],
        block: str,
    ) -> Optional[Tensor]:
        """A whole attention block of ``(B, T, C)``, where nothing but its output is wanted."""
        if self.normalize_before or not self.training:
            return None
        if not self._has_default_residual() or not self._gives_away(block):
            return None
        p, norm = _active_p(self.dropout_module), getattr(self, f"{block}_layer_norm")
        return attend_add_norm(getattr(self, block), x, memory, attn_mask, key_padding_mask, p, norm)

    @torch.jit.unused
    def _block_and_norm(self, x: Tensor) -> Optional[Tensor]:
        """The whole block with its residual connection and the norm after it, where nothing else is there."""
        if self.normalize_before or getattr(self, "return_fc", False) or getattr(self, "w_resid", None) is not None:
            return None
        if not self._has_default_residual() or not self._has_plain_block():
            return None
        p = _active_p(self.dropout_module)
        return feed_forward_add_norm(x, self.fc1, self.activation_fn, self.fc2, p, self.final_layer_norm)

    @torch.jit.unused
    def _has_plain_block(self) -> bool:
        dropout_module = self.activation_dropout_module
        return (
            self.training
            and self._is_as_written()
            and getattr(self, "ffn_layernorm", None) is None
            and uses_default_methods(dropout_module, FairseqDropout)
            and _active_p(dropout_module) == 0
        )

    @torch.jit.unused
    def _is_as_written(self) -> bool:
        """Whether no method that a fused block replaces is overridden; each kind of layer says which those are."""
        return fast_paths_enabled() and uses_default_methods(self, ResidualBlocks)

    @torch.jit.unused
    def _has_default_residual(self) -> bool:
        """Whether dropout and residual connection may be one operation."""
        return self._is_as_written() and uses_default_methods(self.dropout_module, FairseqDropout)


def _linear_relu(linear: nn.Linear, x: Tensor) -> Tensor:
    """``relu(linear(x))`` of three-dimensional ``x``, in the memory of the linear map's output."""
    # A linear map does not need its own output in the backward pass. In rows, because autograd would copy a changed
    # view back and forth, and three-dimensional outputs are views.
    rows = linear(x.reshape(-1, x.size(2)))
    return torch.relu_(rows).view(x.size(0), x.size(1), -1)


def _active_p(module: FairseqDropout) -> float:
    return module.p if module.training or module.apply_during_inference else 0.0
