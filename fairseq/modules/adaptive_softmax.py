"""Adaptive softmax: frequent words cheaply, rare ones in bands (Grave et al. 2016, https://arxiv.org/abs/1609.04309)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.modules.fairseq_dropout import FairseqDropout
from fairseq.modules.quant_noise import quant_noise
from fairseq.utils.host import known_on_host, with_host

__all__ = ["AdaptiveSoftmax", "TiedHeadModule", "TiedLinear"]


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1)


def _rows_between(target: Tensor, start: int, end: int) -> Tensor:
    return (target.ge(start) & target.lt(end)).nonzero(as_tuple=True)[0]


class TiedLinear(nn.Module):
    """A projection without bias whose weight belongs to another module.

    Args:
        weight: ``(out, in)``, or ``(in, out)`` with ``transpose``.
        transpose: use the weight the other way round.
    """

    def __init__(self, weight: nn.Parameter, transpose: bool) -> None:
        super().__init__()
        self.weight = weight
        self.transpose = transpose

    def forward(self, input: Tensor) -> Tensor:
        """Project the last dimension."""
        return F.linear(input, self.weight.t() if self.transpose else self.weight)


class TiedHeadModule(nn.Module):
    """The head of a softmax that shares the vectors of the first band of an adaptive input.

    Args:
        weights: ``(embedding (words, emb_dim), projection or None)`` of that band.
        input_dim: width of the features.
        num_classes: number of further bands.
        q_noise: probability of quantisation noise.
        qn_block_size: its block size.
    """

    def __init__(
        self,
        weights: tuple[nn.Parameter, nn.Parameter | None],
        input_dim: int,
        num_classes: int,
        q_noise: float,
        qn_block_size: int,
    ) -> None:
        super().__init__()
        embedding, _ = weights
        self.num_words, emb_dim = embedding.size()
        self.word_proj: nn.Module = TiedLinear(embedding, transpose=False)
        if input_dim != emb_dim:
            down = quant_noise(nn.Linear(input_dim, emb_dim, bias=False), q_noise, qn_block_size)
            self.word_proj = nn.Sequential(down, self.word_proj)
        self.class_proj = quant_noise(nn.Linear(input_dim, num_classes, bias=False), q_noise, qn_block_size)
        self.out_dim = self.num_words + num_classes
        # Checkpoints hold this entry.
        self.register_buffer("_float_tensor", torch.zeros(1))

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(rows, words + classes)`` from ``(rows, input_dim)``."""
        return torch.cat([self.word_proj(input), self.class_proj(input)], dim=1)


class AdaptiveSoftmax(nn.Module):
    """Output layer and softmax in one, over a vocabulary that is sorted by frequency.

    The head scores the most frequent words and one class per band of rarer words; each band has an output layer of its
    own, behind a projection that is the narrower the rarer the words.

    Args:
        vocab_size: number of words.
        input_dim: width of the features.
        cutoff: where the bands begin; the vocabulary size is added as the last one if it is missing.
        dropout: on the features and inside the bands.
        factor: each band is this many times narrower than the one before.
        adaptive_inputs: the embedding whose vectors (and projections) to share.
        tie_proj: share the projections as well.
        q_noise: probability of quantisation noise.
        qn_block_size: its block size.
    """

    def __init__(
        self,
        vocab_size: int,
        input_dim: int,
        cutoff: list[int],
        dropout: float,
        factor: float = 4.0,
        adaptive_inputs: Any = None,
        tie_proj: bool = False,
        q_noise: float = 0,
        qn_block_size: int = 8,
    ) -> None:
        super().__init__()
        if adaptive_inputs is not None and not hasattr(adaptive_inputs, "weights_for_band"):
            raise ValueError(
                "--tie-adaptive-weights requires adaptive input embeddings (language models: --adaptive-input); "
                f"{type(adaptive_inputs).__name__} has no bands to share"
            )
        if sorted(set(cutoff)) != list(cutoff) or cutoff[0] < 1:
            raise ValueError(f"--adaptive-softmax-cutoff {list(cutoff)}: each band has to begin after the one before")
        if vocab_size > cutoff[-1]:
            cutoff = [*cutoff, vocab_size]
        elif vocab_size != cutoff[-1]:
            raise AssertionError(
                f"cannot specify cutoff larger than vocab size: --adaptive-softmax-cutoff ends at {cutoff[-1]}, "
                f"the vocabulary has {vocab_size} words"
            )
        self.vocab_size = vocab_size
        self.cutoff = list(cutoff)
        self.dropout_module = FairseqDropout(dropout, module_name=type(self).__name__)
        self.input_dim = input_dim
        self.factor = factor
        self.q_noise = q_noise
        self.qn_block_size = qn_block_size
        self.lsm = nn.LogSoftmax(dim=1)
        num_classes = len(self.cutoff) - 1
        self.head: nn.Module
        if adaptive_inputs is not None:
            self.head = TiedHeadModule(
                adaptive_inputs.weights_for_band(0), input_dim, num_classes, q_noise, qn_block_size
            )
        else:
            self.head = self._linear(input_dim, self.cutoff[0] + num_classes)
        self.tail = nn.ModuleList()
        for band in range(num_classes):
            self.tail.append(self._make_band(band, dropout, adaptive_inputs, tie_proj))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.register_buffer("version", torch.LongTensor([1]))

    def _linear(self, in_features: int, out_features: int) -> nn.Module:
        return quant_noise(nn.Linear(in_features, out_features, bias=False), self.q_noise, self.qn_block_size)

    def _make_band(self, band: int, dropout: float, adaptive_inputs: Any, tie_proj: bool) -> nn.Sequential:
        size = self.cutoff[band + 1] - self.cutoff[band]
        width = int(self.input_dim // self.factor ** (band + 1))
        embedding = projection = None
        if adaptive_inputs is not None:
            embedding, projection = adaptive_inputs.weights_for_band(band + 1)
        if projection is None:
            down = self._linear(self.input_dim, width)
        elif tie_proj:
            down = TiedLinear(projection, transpose=True)
        else:
            down = self._linear(projection.size(0), projection.size(1))
        out = self._linear(width, size) if embedding is None else TiedLinear(embedding, transpose=False)
        return nn.Sequential(down, nn.Dropout(dropout), out)

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Refuse checkpoints from before the layout had a version."""
        if name + ".version" not in state_dict:
            raise Exception(f"This version of the model is no longer supported: {name} has no version")

    def adapt_target(self, target: Tensor) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Sort targets into the head and the bands.

        Args:
            target: ``(rows,)`` (or any shape, which is flattened), word indices.

        Returns:
            ``(targets, rows)``. The first target is that of the head, for all rows, with the class where the word is in
            a band; the others count from the beginning of their band, for the rows listed in ``rows``. A band without
            words has ``None`` in both lists.
        """
        target = with_host(_flat, target)
        known = known_on_host(target)
        head_target = target.clone()
        targets: list[Tensor | None] = [head_target]
        rows: list[Tensor | None] = []
        for band, (start, end) in enumerate(zip(self.cutoff, self.cutoff[1:])):
            here = _rows_between(target if known is None else known, start, end).to(target.device, non_blocking=True)
            if here.numel() == 0:
                rows.append(None)
                targets.append(None)
                continue
            head_target.index_fill_(0, here, self.cutoff[0] + band)
            rows.append(here)
            targets.append(target[here] - start)
        return targets, rows

    def forward(self, input: Tensor, target: Tensor) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Score the words that training needs.

        Args:
            input: features, ``(batch, seq_len, dim)`` or ``(rows, dim)``.
            target: word indices, ``(batch, seq_len)`` or ``(rows,)``.

        Returns:
            ``(logits, targets)``, lists over the head and the bands; a band without target words has ``None``.
        """
        features = self.dropout_module(input.reshape(-1, input.size(-1)))
        targets, rows = self.adapt_target(target)
        logits: list[Tensor | None] = [self.head(features)]
        for layer, here in zip(self.tail, rows):
            logits.append(None if here is None else layer(features.index_select(0, here)))
        return logits, targets

    def get_log_prob(self, input: Tensor, target: Tensor | None) -> Tensor:
        """Log-probabilities of all words, ``(batch, seq_len, vocab)``.

        Args:
            input: features, ``(batch, seq_len, dim)``.
            target: word indices, ``(batch, seq_len)``, or ``None``. With targets, the words of a band are scored only
                in rows whose target lies in it; elsewhere their entries mean nothing.
        """
        batch, length, dim = input.size()
        features = input.reshape(-1, dim)
        rows = None if target is None else self.adapt_target(target)[1]
        head = self.lsm(self.head(features))
        head_size = self.cutoff[0] + len(self.tail)
        log_probs = head.new_zeros(features.size(0), self.vocab_size)
        log_probs[:, :head_size] = head
        for band, (start, end) in enumerate(zip(self.cutoff, self.cutoff[1:])):
            prior = head[:, self.cutoff[0] + band, None]
            if rows is None:
                log_probs[:, start:end] = self.lsm(self.tail[band](features)) + prior
                continue
            here = rows[band]
            if here is not None:
                scores = self.lsm(self.tail[band](features.index_select(0, here)))
                log_probs[here, start:end] = scores + prior.index_select(0, here)
        return log_probs.view(batch, length, -1)
