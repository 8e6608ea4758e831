"""What ``kmeans_attention`` consists of beside the clustering: tensor helpers, wrappers, local attention.

Shapes in this file:  B = batch, H = heads, T = tokens, D = width of a head, C = width of a token
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ------------------------------------------------------------------ small functions


def exists(val: Any) -> bool:
    """Whether a value is not ``None``."""
    return val is not None


def default(x: Any, d: Any) -> Any:
    """``x``, or ``d`` in place of ``None``; a function ``d`` is called."""
    if x is not None:
        return x
    return d() if callable(d) else d


def identity(x: Any, *args: Any, **kwargs: Any) -> Any:
    """The first argument."""
    return x


def cast_tuple(x: Any) -> tuple[Any, ...]:
    """A tuple as it is, anything else as the only element of one."""
    return x if isinstance(x, tuple) else (x,)


def cache_fn(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that computes once and gives that result ever after, whatever its arguments."""
    found: list[Any] = []

    @functools.wraps(f)
    def cached(*args: Any, **kwargs: Any) -> Any:
        if not found:
            found.append(f(*args, **kwargs))
        return found[0]

    return cached


def to(t: Tensor) -> dict[str, Any]:
    """Device and dtype, as keywords."""
    return {"device": t.device, "dtype": t.dtype}


def find_modules(nn_module: nn.Module, type: Any) -> list[Any]:
    """All submodules of a class."""
    return [module for module in nn_module.modules() if isinstance(module, type)]


def is_empty(t: Tensor) -> bool:
    """Whether a tensor has no elements."""
    return t.nelement() == 0


def max_neg_value(tensor: Tensor) -> float:
    """The lowest finite value of a dtype."""
    return torch.finfo(tensor.dtype).min


def map_first_tuple_or_el(x: Any, fn: Callable[[Any], Any]) -> Any:
    """``fn`` applied to the first element of a tuple, or to what is no tuple."""
    return (fn(x[0]), *x[1:]) if isinstance(x, tuple) else fn(x)


# ------------------------------------------------------------------ tensors


def batched_index_select(values: Tensor, indices: Tensor) -> Tensor:
    """Rows of ``values (B, H, T, D)`` at ``indices (B, H, N)``: ``(B, H, N, D)``."""
    return values.gather(2, indices[..., None].expand(-1, -1, -1, values.size(-1)))


def batched_bincount(index: Tensor, num_classes: int, dim: int = -1) -> Tensor:
    """How often each class stands along a dimension, in the dtype of ``index``."""
    shape = list(index.shape)
    shape[dim] = num_classes
    return index.new_zeros(shape).scatter_add_(dim, index, torch.ones_like(index))


def scatter_mean(src: Tensor, t: Tensor, index: Tensor, dim: int, eps: float = 1e-5) -> Tensor:
    """``src`` plus what ``t`` adds at ``index``, over how much was added there (and ``eps``)."""
    sums = src.scatter_add(dim, index, t)
    counts = src.new_zeros(src.shape).scatter_add(dim, index, torch.ones_like(t))
    return sums / (counts + eps)


def split_at_index(dim: int, index: int, t: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of a dimension before and from an index."""
    return t.narrow(dim, 0, index), t.narrow(dim, index, t.size(dim) - index)


def reshape_dim(t: Tensor, dim: int, split_dims: tuple[int, ...]) -> Tensor:
    """One dimension split into several."""
    return t.unflatten(dim, split_dims)


def merge_dims(ind_from: int, ind_to: int, tensor: Tensor) -> Tensor:
    """Neighbouring dimensions, both ends included, merged into one."""
    return tensor.flatten(ind_from, ind_to)


def expand_dim(t: Tensor, dim: int, k: int) -> Tensor:
    """A new dimension of size ``k``, without a copy."""
    shape = list(t.unsqueeze(dim).shape)
    shape[dim] = k
    return t.unsqueeze(dim).expand(shape)


def ema(old: Tensor | None, new: Tensor, decay: float) -> Tensor:
    """``old * decay + new * (1 - decay)``; ``new`` if there is no old value."""
    return new if old is None else old * decay + new * (1 - decay)


def ema_inplace(moving_avg: Tensor, new: Tensor, decay: float) -> None:
    """As :func:`ema`, in place; an average that is empty takes the new value."""
    if is_empty(moving_avg):
        moving_avg.data.copy_(new)
    else:
        moving_avg.data.mul_(decay).add_(new, alpha=1 - decay)


def rotate_every_two(x: Tensor) -> Tensor:
    """``[a, b, c, d] -> [-b, a, -d, c]`` along the last dimension."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([-odd, even], dim=-1).flatten(-2)


def apply_rotary_pos_emb(q: Tensor, k: Tensor, sinu_pos: Tensor) -> tuple[Tensor, Tensor]:
    """Turn queries and keys ``(B, H, T, D)`` by the angles of :class:`FixedPositionalEmbedding` ``(1, T, D)``."""
    sines, cosines = (part.repeat_interleave(2, dim=-1) for part in sinu_pos[0].chunk(2, dim=-1))
    return q * cosines + rotate_every_two(q) * sines, k * cosines + rotate_every_two(k) * sines


# ------------------------------------------------------------------ modules


class GELU_(nn.Module):
    """The tanh approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.gelu(x, approximate="tanh")


GELU = nn.GELU


class FixedPositionalEmbedding(nn.Module):
    """Sines, then cosines, of positions.

    Args:
        dim: D.
        max_seq_len: how many positions there are.
    """

    emb: Tensor

    def __init__(self, dim: int, max_seq_len: int) -> None:
        super().__init__()
        frequencies = 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))
        angles = torch.arange(max_seq_len).float()[:, None] * frequencies
        self.register_buffer("emb", torch.cat([angles.sin(), angles.cos()], dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """For ``x (B, T, ...)``: ``(1, T, D)``."""
        return self.emb[None, : x.size(1)].to(x)


class MatrixMultiply(nn.Module):
    """Multiply by a given matrix, which stays where it is owned.

    Args:
        tensor: the matrix.
        transpose: multiply by its transpose.
    """

    def __init__(self, tensor: Tensor, transpose: bool = False) -> None:
        super().__init__()
        self.tensor = tensor
        self.transpose = transpose

    def forward(self, x: Tensor) -> Tensor:
        """``(..., C)``."""
        return x @ (self.tensor.t() if self.transpose else self.tensor)


class ReZero(nn.Module):
    """Scale what ``fn`` gives by a learned number that begins near zero (Bachlechner et al. 2020)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.residual_weight = nn.Parameter(torch.full((1,), 1e-3))
        self.fn = fn

    def forward(self, x: Tensor, **kwargs: Any) -> Any:
        """As ``fn``; of a tuple the first element is scaled."""
        return map_first_tuple_or_el(self.fn(x, **kwargs), lambda y: y * self.residual_weight)


class ScaleNorm(nn.Module):
    """Bring each vector to one learned length (Nguyen & Salazar 2019).

    Args:
        dim: C; only kept for interface compatibility.
        eps: smallest length that is divided by.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))
        self.eps = eps

    def forward(self, x: Tensor) -> Any:
        """``(..., C)``; of a tuple the first element."""
        return map_first_tuple_or_el(
            x, lambda y: y / torch.linalg.vector_norm(y, dim=-1, keepdim=True).clamp(min=self.eps) * self.g
        )


class PreNorm(nn.ModuleList):
    """``fn(norm(x))``.

    Args:
        norm_class: is called with ``dim``.
    """

    def __init__(self, norm_class: Callable[[int], nn.Module], dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = norm_class(dim)
        self.fn = fn

    def forward(self, x: Tensor, **kwargs: Any) -> Any:
        """``(..., C)``."""
        return self.fn(self.norm(x), **kwargs)


class ProjectInOut(nn.Module):
    """``fn`` at another width.

    Args:
        dim_in: of the input.
        dim_out: of ``fn``.
        project_out: go back to ``dim_in``.
    """

    def __init__(self, fn: nn.Module, dim_in: int, dim_out: int, project_out: bool = True) -> None:
        super().__init__()
        self.fn = fn
        self.project_in = nn.Linear(dim_in, dim_out)
        self.project_out: nn.Module = nn.Linear(dim_out, dim_in) if project_out else nn.Identity()

    def forward(self, x: Tensor, **kwargs: Any) -> tuple[Tensor, Any]:
        """``fn`` returns a tensor and a loss, and so does this."""
        x, loss = self.fn(self.project_in(x), **kwargs)
        return self.project_out(x), loss


class Chunk(nn.Module):
    """Run ``fn`` on parts of a dimension, one after another: less memory, the same result.

    Args:
        chunks: how many parts.
        along_dim: which dimension.
    """

    def __init__(self, chunks: int, fn: nn.Module, along_dim: int = -1) -> None:
        super().__init__()
        self.dim = along_dim
        self.chunks = chunks
        self.fn = fn

    def forward(self, x: Tensor, **kwargs: Any) -> Any:
        """As ``fn``."""
        if self.chunks <= 1:
            return self.fn(x, **kwargs)
        return torch.cat([self.fn(part, **kwargs) for part in x.chunk(self.chunks, dim=self.dim)], dim=self.dim)


class FeedForward(nn.Module):
    """Two maps with an activation between them.

    Args:
        dim: C.
        mult: width inside, as a multiple of ``dim``.
        dropout: after the activation.
        activation: class of the activation, :data:`GELU` if ``None``.
        glu: multiply the activation by a second projection (Shazeer 2020).
    """

    def __init__(
        self, dim: int, mult: int = 4, dropout: float = 0.0, activation: Any = None, glu: bool = False
    ) -> None:
        super().__init__()
        self.glu = glu
        self.w1 = nn.Linear(dim, dim * mult * (2 if glu else 1))
        self.act = (activation or GELU)()
        self.dropout = nn.Dropout(dropout)
        self.w2 = nn.Linear(dim * mult, dim)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """``(..., C)``."""
        if self.glu:
            x, gate = self.w1(x).chunk(2, dim=-1)
            x = self.act(x) * gate
        else:
            x = self.act(self.w1(x))
        return self.w2(self.dropout(x))


class DepthWiseConv1d(nn.Module):
    """A depthwise convolution over time, then a pointwise one.

    Args:
        dim_in, dim_out: channels.
        kernel_size, stride, bias: as for ``nn.Conv1d``.
        causal: see no later frames.
    """

    def __init__(
        self, dim_in: int, dim_out: int, kernel_size: int, stride: int = 1, bias: bool = True, causal: bool = False
    ) -> None:
        super().__init__()
        self.padding = (kernel_size - 1, 0) if causal else ((kernel_size - 1) // 2, kernel_size // 2)
        self.net = nn.Sequential(
            nn.Conv1d(dim_in, dim_in, kernel_size=kernel_size, groups=dim_in, stride=stride, bias=bias),
            nn.Conv1d(dim_in, dim_out, kernel_size=1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, C)``."""
        return self.net(F.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)


class LocalAttention(nn.Module):
    """Attention to the own window and to those around it.

    Args:
        window_size: tokens of a window.
        causal: see no later tokens.
        radius: windows back and, if not causal, ahead.
        dropout: on attention weights.
        shared_qk: queries and keys are the same, so a token sees itself only where it sees nothing else.
    """

    def __init__(
        self, window_size: int, causal: bool = False, radius: int = 1, dropout: float = 0.0, shared_qk: bool = False
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.causal = causal
        self.look = (radius, 0 if causal else radius)
        self.dropout = nn.Dropout(dropout)
        self.shared_qk = shared_qk

    def forward(self, q: Tensor, k: Tensor, v: Tensor, input_mask: Tensor | None = None) -> Tensor:
        """``(B, H, T, D)`` each; ``input_mask (B, T)`` is true at tokens, false at padding."""
        batch, length, size = q.size(0), q.size(2), self.window_size
        extra = -length % size
        windows = (length + extra) // size
        before, after = (count * size for count in self.look)

        def around(x: Tensor, fill: float = 0.0) -> Tensor:
            """Windows with their surroundings: ``(..., windows, size + before + after, last dimension)``."""
            return F.pad(x, (0, 0, before, after + extra), value=fill).unfold(-2, size + before + after, size).mT

        positions = torch.arange(length, device=q.device)[:, None].float()
        keys_at = around(positions, -1.0)[..., 0]
        queries_at = torch.arange(windows * size, device=q.device).view(windows, size)
        hidden = (keys_at < 0)[:, None, :].expand(-1, size, -1)
        if self.causal:
            hidden = hidden | (keys_at[:, None, :] > queries_at[..., None])
        hidden = hidden.expand(batch, 1, -1, -1, -1)
        if input_mask is not None:
            hidden = hidden | ~around(input_mask[:, None, :, None].float())[..., 0].bool()[..., None, :]
        q = F.pad(q, (0, 0, 0, extra)).unflatten(2, (windows, size))
        scores = q @ around(k).mT / math.sqrt(q.size(-1))
        if self.shared_qk:
            scores = scores.masked_fill(keys_at[:, None, :] == queries_at[..., None], -5e4)
        weights = torch.softmax(scores.masked_fill(hidden, max_neg_value(scores)), dim=-1)
        return (self.dropout(weights) @ around(v)).flatten(2, 3)[:, :, :length]
