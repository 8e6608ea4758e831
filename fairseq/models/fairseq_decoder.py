"""The decoder contract: previous output tokens (and an encoder output) in, scores over the vocabulary out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.models.feature_forward import ends_with_output_layer

__all__ = ["FairseqDecoder"]


class FairseqDecoder(nn.Module):
    """Base class of decoders.

    Args:
        dictionary: the target vocabulary.
    """

    def __init__(self, dictionary: Any) -> None:
        super().__init__()
        self.dictionary = dictionary
        self.onnx_trace = False
        self.adaptive_softmax: nn.Module | None = None

    def forward(self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any) -> tuple[Tensor, Any]:
        """Score the next token at every position.

        Args:
            prev_output_tokens: ``(batch, tgt_len)``, the target shifted right (teacher forcing).
            encoder_out: what the encoder returned, or ``None``.

        Returns:
            ``(logits, extra)``: ``(batch, tgt_len, vocab)`` and a dictionary (attention, inner states).
        """
        features, extra = self.extract_features(prev_output_tokens, encoder_out=encoder_out, **kwargs)
        return self.output_layer(features), extra

    def extract_features(
        self, prev_output_tokens: Tensor, encoder_out: Any = None, **kwargs: Any
    ) -> tuple[Tensor, Any]:
        """As ``forward``, but stop before the output layer: ``((batch, tgt_len, embed_dim), extra)``."""
        raise NotImplementedError(f"{type(self).__name__} must implement extract_features, or override forward")

    def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Project features to the vocabulary: by ``self.output_projection``, if a decoder has one of that name."""
        projection = getattr(self, "output_projection", None)
        if projection is None:
            raise NotImplementedError(
                f"{type(self).__name__} must have an output_projection, implement output_layer, or override forward"
            )
        return projection(features)

    def get_normalized_probs(
        self,
        net_output: tuple[Tensor, dict[str, list[Tensor | None]] | None],
        log_probs: bool,
        sample: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(Log-)probabilities, float32, from what ``forward`` returned. See ``get_normalized_probs_scriptable``."""
        return self.get_normalized_probs_scriptable(net_output, log_probs, sample)

    # TorchScript has no super(), so the work is done under a second name that subclasses leave alone.
    def get_normalized_probs_scriptable(
        self,
        net_output: tuple[Tensor, dict[str, list[Tensor | None]] | None],
        log_probs: bool,
        sample: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Normalise over the last dimension in float32.

        Args:
            net_output: ``(logits, extra)``; with adaptive softmax the first item holds features instead.
            log_probs: whether to return logarithms.
            sample: with adaptive softmax, its ``target`` limits the work to the bands that the targets lie in.
        """
        if hasattr(self, "adaptive_softmax") and self.adaptive_softmax is not None:
            target = None
            if sample is not None:
                if "target" not in sample:
                    raise AssertionError("adaptive softmax: the sample has no target; pass sample=None for all words")
                target = sample["target"]
            out = self.adaptive_softmax.get_log_prob(net_output[0], target=target)  # type: ignore[operator]
            return out if log_probs else out.exp_()
        logits = net_output[0].float()
        return F.log_softmax(logits, dim=-1) if log_probs else F.softmax(logits, dim=-1)

    def max_positions(self) -> Any:
        """Longest target, in tokens, that the decoder takes."""
        return 1e6

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> dict[str, Any]:
        """Bring the entries under ``name`` of an old checkpoint up to date, in place."""
        return state_dict

    def prepare_for_onnx_export_(self) -> None:
        """Take the ways through the code that ONNX can trace."""
        self.onnx_trace = True


ends_with_output_layer(FairseqDecoder.forward)
ends_with_output_layer(FairseqDecoder.output_layer)
