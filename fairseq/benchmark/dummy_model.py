"""A model with the parameters of a transformer and none of its attention.

Shapes in this file:  B = batch, T = length, C = embedding, V = vocabulary
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fairseq.compat.arch import Preset, preset_functions
from fairseq.models import register_model
from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.fairseq_model import FairseqLanguageModel

__all__ = ["PRESETS", "DummyEncoder", "DummyModel", "base_architecture"]

PRESETS = {"dummy_model": Preset()}
MAX_POSITIONS = 1024


class DummyEncoder(FairseqDecoder):
    """Layers of linear maps, which see no token but their own.

    Args:
        num_embed: V; embed_dim: C; num_layers: pairs of blocks.
    """

    def __init__(self, num_embed: int = 50000, embed_dim: int = 1024, num_layers: int = 24) -> None:
        from fairseq.data.dictionary import Dictionary

        super().__init__(Dictionary())
        self.embed = nn.Embedding(num_embed, embed_dim, padding_idx=0)
        self.layers_a = nn.ModuleList(_as_attention(embed_dim) for _ in range(num_layers))
        self.layers_b = nn.ModuleList(_as_feed_forward(embed_dim) for _ in range(num_layers))
        self.out_proj = nn.Linear(embed_dim, num_embed)

    def forward(self, tokens: Tensor, masked_tokens: Tensor | None = None) -> tuple[Tensor]:  # type: ignore[override]
        """Score the vocabulary at every position.

        Args:
            tokens: ``(B, T)``.
            masked_tokens: ``(B, T)``, true at the positions to score; ``None`` for all.

        Returns:
            ``(logits,)``: ``(B, T, V)``, or ``(number of positions, V)``.
        """
        x = self.embed(tokens)
        for first, second in zip(self.layers_a, self.layers_b):
            x = x + first(x)
            x = x + second(x)
        if masked_tokens is not None:
            x = x[masked_tokens]
        return (self.out_proj(x),)

    def max_positions(self) -> int:
        return MAX_POSITIONS

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:  # type: ignore[override]
        """(Log-)probabilities in float32."""
        logits = net_output[0].float()
        return torch.log_softmax(logits, dim=-1) if log_probs else torch.softmax(logits, dim=-1)


def _as_attention(width: int) -> nn.Sequential:
    """As many parameters as an attention has, with its norm in front."""
    sizes = (width, 3 * width, width, width)
    return nn.Sequential(nn.LayerNorm(width), *map(nn.Linear, sizes, sizes[1:]), nn.Dropout())


def _as_feed_forward(width: int) -> nn.Sequential:
    inner = 4 * width
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width), nn.Dropout(0.1)
    )


@register_model("dummy_model")
class DummyModel(FairseqLanguageModel):
    """A :class:`DummyEncoder` where a language model is expected."""

    def __init__(self, args: Any, encoder: DummyEncoder) -> None:
        super().__init__(encoder)
        self.args = args

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        parser.add_argument("--num-layers", type=int, default=24, help="pairs of blocks")
        parser.add_argument("--embed-dim", type=int, default=1024, help="width of the embedding")

    @classmethod
    def build_model(cls, args: Any, task: Any) -> DummyModel:
        """Build an instance for the task's dictionary."""
        encoder = DummyEncoder(
            num_embed=len(task.target_dictionary), embed_dim=args.embed_dim, num_layers=args.num_layers
        )
        return cls(args, encoder)

    def forward(self, src_tokens: Tensor, masked_tokens: Tensor | None = None, **kwargs: Any) -> tuple[Tensor]:  # type: ignore[override]
        """See :meth:`DummyEncoder.forward`; everything else of a batch is left alone."""
        return self.decoder(src_tokens, masked_tokens=masked_tokens)  # type: ignore[operator]


_arch = preset_functions("fairseq.benchmark.dummy_model", "dummy_model", PRESETS)
base_architecture = _arch("base_architecture", "dummy_model")
