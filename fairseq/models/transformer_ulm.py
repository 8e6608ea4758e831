"""Language model of speech units with streams for their durations and their pitch (Kharitonov et al. 2021,
https://arxiv.org/abs/2109.03264).

Shapes in this file:  B = batch, T = length, C = embedding
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from fairseq.compat.arch import preset_functions
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import option
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqLanguageModel
from fairseq.models.transformer._parts import Embedding, Linear
from fairseq.models.transformer.transformer_decoder import TransformerDecoder
from fairseq.models.transformer_lm import PRESETS as LM_PRESETS
from fairseq.models.transformer_lm import TransformerLanguageModelConfig, prepare_lm_options

__all__ = [
    "DEFAULT_MAX_TARGET_POSITIONS",
    "MASKING_DISTRIBUTION_CHOICES",
    "MultiStreamTransformerDecoder",
    "SpeechUnitLanguageModelConfig",
    "TransformerUnitLanguageModel",
    "base_ulm_architecture",
    "transformer_ulm_big",
    "transformer_ulm_tiny",
]

DEFAULT_MAX_TARGET_POSITIONS = 1024
MASKING_DISTRIBUTION_CHOICES = ChoiceEnum(["static", "uniform", "normal", "poisson"])
_HOW = "how lengths of masked spans are drawn"


@dataclass
class SpeechUnitLanguageModelConfig(TransformerLanguageModelConfig):
    """Options of a language model, and of the masking of its inputs in training."""

    mask_unit_seg_prob: float = option(0.0, "share of units to mask in spans")
    mask_unit_seg_leng: int = option(5, "length of masked spans of units")
    mask_unit_seg_type: MASKING_DISTRIBUTION_CHOICES = option("static", _HOW)  # type: ignore[valid-type]
    mask_dur_prob: float = option(0.0, "probability of masking all durations of a sequence")
    mask_dur_seg_prob: float = option(0.0, "share of durations to mask in spans")
    mask_dur_seg_leng: int = option(5, "length of masked spans of durations")
    mask_dur_seg_type: MASKING_DISTRIBUTION_CHOICES = option("static", _HOW)  # type: ignore[valid-type]
    mask_f0_prob: float = option(0.0, "probability of masking the pitch of a whole sequence")
    mask_f0_seg_prob: float = option(0.0, "share of pitch values to mask in spans")
    mask_f0_seg_leng: int = option(5, "length of masked spans of pitch")
    mask_f0_seg_type: MASKING_DISTRIBUTION_CHOICES = option("static", _HOW)  # type: ignore[valid-type]


@register_model("transformer_ulm", dataclass=SpeechUnitLanguageModelConfig)
class TransformerUnitLanguageModel(FairseqLanguageModel):
    """A decoder that reads and predicts several streams at once.

    Args:
        cfg: the options.
        task: gives dictionaries, ``channel_names`` and ``channel_sizes``, and in ``task.cfg`` what is discrete and
            what is to be ignored.
        decoder: a :class:`MultiStreamTransformerDecoder`.
    """

    def __init__(self, cfg: Any, task: Any, decoder: Any) -> None:
        super().__init__(decoder)
        self.cfg = cfg
        self.channel_names = task.channel_names
        self.channel_sizes = task.channel_sizes
        self.unit_mask_val = task.source_dictionary.unk()
        self.dur_mask_val = task.source_duration_dictionary.unk() if task.cfg.discrete_duration else 0
        self.f0_mask_val = task.source_f0_dictionary.unk() if task.cfg.discrete_f0 else 0
        self.ignore_duration_input = task.cfg.ignore_duration_input
        self.ignore_f0_input = task.cfg.ignore_f0_input

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "TransformerUnitLanguageModel":
        """Build a model for the task's streams."""
        base_ulm_architecture(args)
        prepare_lm_options(args)
        dictionary = task.source_dictionary
        embed_tokens = Embedding(len(dictionary), args.decoder_input_dim, padding_idx=dictionary.pad())
        others: List[Optional[nn.Module]] = []
        for is_discrete, words in (
            (task.cfg.discrete_duration, task.source_duration_dictionary),
            (task.cfg.discrete_f0, task.source_f0_dictionary),
        ):
            others.append(Embedding(len(words), args.decoder_input_dim, words.pad()) if is_discrete else None)
        decoder = MultiStreamTransformerDecoder(
            args,
            task.target_dictionary,
            embed_tokens,
            others,
            no_encoder_attn=True,
            channel_sizes=task.channel_sizes,
        )
        return cls(args, task, decoder)

    def apply_seg_dropout(
        self, inp: Tensor, mask_prob: float, mask_leng: int, mask_type: str, mask_val: Any
    ) -> Tuple[Tensor, Tensor]:
        """Mask spans of ``(B, T)``; returns the masked copy and the mask, true where it was changed."""
        # Upwards in the layer table: the drawing of spans lives with the data.
        from fairseq.data.data_utils import compute_mask_indices

        if mask_prob <= 0:
            return inp, torch.zeros_like(inp, dtype=torch.bool)
        drawn = compute_mask_indices((inp.size(0), inp.size(1)), None, mask_prob, mask_leng, str(mask_type))
        mask = torch.from_numpy(drawn).to(inp.device)
        return inp.masked_fill(mask, mask_val), mask

    def apply_seq_dropout(self, inp: Tensor, mask_prob: float, mask_val: Any) -> Tuple[Tensor, Tensor]:
        """Mask whole rows of ``(B, T)``; returns the masked copy and the mask, true where it was changed."""
        if mask_prob <= 0:
            return inp, torch.zeros_like(inp, dtype=torch.bool)
        rows = torch.from_numpy(np.random.uniform(0, 1, (inp.size(0), 1)) < mask_prob)
        mask = rows.to(inp.device).expand(inp.shape)
        return inp.masked_fill(mask, mask_val), mask

    def apply_dropout(
        self, src_tokens: Tensor, dur_src: Tensor, f0_src: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Mask the three inputs as the options say; returns each masked input followed by its mask."""
        cfg = self.cfg
        src_tokens, unit_mask = self.apply_seg_dropout(
            src_tokens, cfg.mask_unit_seg_prob, cfg.mask_unit_seg_leng, cfg.mask_unit_seg_type, self.unit_mask_val
        )
        dur_src, dur_mask = self.apply_seq_dropout(dur_src, cfg.mask_dur_prob, self.dur_mask_val)
        dur_src, dur_spans = self.apply_seg_dropout(
            dur_src, cfg.mask_dur_seg_prob, cfg.mask_dur_seg_leng, cfg.mask_dur_seg_type, self.dur_mask_val
        )
        f0_src, f0_mask = self.apply_seq_dropout(f0_src, cfg.mask_f0_prob, self.f0_mask_val)
        f0_src, f0_spans = self.apply_seg_dropout(
            f0_src, cfg.mask_f0_seg_prob, cfg.mask_f0_seg_leng, cfg.mask_f0_seg_type, self.f0_mask_val
        )
        return src_tokens, unit_mask, dur_src, dur_mask | dur_spans, f0_src, f0_mask | f0_spans

    def forward(  # type: ignore[override]
        self,
        src_tokens: Tensor,
        dur_src: Tensor,
        f0_src: Tensor,
        src_lengths: Optional[Any] = None,
        incremental_state: Optional[Any] = None,
    ) -> Dict[str, Tensor]:
        """Predict the next element of every stream.

        Args:
            src_tokens: units, ``(B, T)``; ``dur_src``, ``f0_src``: ids or real numbers, ``(B, T)``.

        Returns:
            Name of the stream -> ``(B, T, size of the stream)``.
        """
        if self.ignore_duration_input:
            dur_src = torch.zeros_like(dur_src)
        if self.ignore_f0_input:
            f0_src = torch.zeros_like(f0_src)
        if self.training:
            src_tokens, _, dur_src, _, f0_src, _ = self.apply_dropout(src_tokens, dur_src, f0_src)
        prediction, _ = self.decoder(
            prev_output_tokens=(src_tokens, dur_src, f0_src),
            incremental_state=incremental_state,
            src_lengths=src_lengths,
            features_only=True,
        )
        if sum(self.channel_sizes) != prediction.size(-1):
            raise AssertionError(f"streams of sizes {self.channel_sizes}, but {prediction.size(-1)} features")
        return dict(zip(self.channel_names, prediction.split(list(self.channel_sizes), dim=-1)))


class MultiStreamTransformerDecoder(TransformerDecoder):
    """A decoder whose input is the sum of several streams' embeddings, and whose features predict all of them.

    Args:
        args: flat options.
        dictionary: of the units.
        embed_tokens: embedding of the units.
        embed_other_list: for each further stream its embedding, or ``None`` for a stream of real numbers.
        no_encoder_attn: build no attention to an encoder.
        channel_sizes: number of features that predict each stream.
    """

    def __init__(
        self,
        args: Any,
        dictionary: Any,
        embed_tokens: Any,
        embed_other_list: List[Any],
        no_encoder_attn: bool,
        channel_sizes: List[int],
    ) -> None:
        super().__init__(args, dictionary, embed_tokens, no_encoder_attn=no_encoder_attn)
        if sum(1 for size in channel_sizes if size > 0) < 1:
            raise ValueError("at least one stream must be predicted")
        self.channel_sizes = channel_sizes
        self.embed_other_list = nn.ModuleList(
            nn.Identity() if embedding is None else embedding for embedding in embed_other_list
        )
        self.is_continuous = [embedding is None for embedding in embed_other_list]
        self.proj_other_list = nn.ModuleList()
        for embedding in embed_other_list:
            width = 1 if embedding is None else embedding.embedding_dim
            self.proj_other_list.append(Linear(width, self.embed_dim) if width != self.embed_dim else nn.Identity())
        self.project_out_dim = Linear(self.embed_dim, sum(channel_sizes), bias=False)

    def extract_features_scriptable(
        self,
        prev_output_tokens: Any,
        encoder_out: Optional[Dict[str, List[Tensor]]],
        incremental_state: Optional[Dict[str, Dict[str, Optional[Tensor]]]] = None,
        full_context_alignment: bool = False,
        alignment_layer: Optional[int] = None,
        alignment_heads: Optional[int] = None,
    ) -> Tuple[Tensor, Dict[str, List[Optional[Tensor]]]]:
        """As the base class; ``prev_output_tokens`` is a tuple of streams ``(B, T)``, the units first."""
        tokens, *others = prev_output_tokens
        positions = None
        if self.embed_positions is not None:
            positions = self.embed_positions(tokens, incremental_state=incremental_state)
        if incremental_state is not None:
            tokens = tokens[:, -1:]
            others = [other[:, -1:] for other in others]
            positions = positions[:, -1:] if positions is not None else None
        x = self.embed_scale * self.embed_tokens(tokens)
        for other, embed, project, continuous in zip(
            others, self.embed_other_list, self.proj_other_list, self.is_continuous
        ):
            stream = other.to(x).unsqueeze(-1) if continuous else embed(other)
            x = x + project(stream)
        if self.quant_noise is not None:
            x = self.quant_noise(x)
        if self.project_in_dim is not None:
            x = self.project_in_dim(x)
        if positions is not None:
            x = x + positions
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        x = self.dropout_module(x)
        return self._run_layers(
            x,
            tokens.eq(self.padding_idx),
            encoder_out,
            incremental_state,
            full_context_alignment,
            alignment_layer,
            alignment_heads,
        )


PRESETS = {
    **LM_PRESETS,
    "transformer_ulm_big": LM_PRESETS["transformer_lm_big"],
    "transformer_ulm_tiny": LM_PRESETS["transformer_lm_gpt2_tiny"],
}
arch = preset_functions(__name__, model="transformer_ulm", presets=PRESETS)
base_ulm_architecture = arch("base_ulm_architecture", preset="base_lm")
transformer_ulm_big = arch("transformer_ulm_big")
transformer_ulm_tiny = arch("transformer_ulm_tiny")
