"""A trained transformer as graphs of plain tensors, for ``torch.export`` and ONNX.

Caches of incremental decoding live in dictionaries that a graph cannot take in or give back. Here they are tensors::

    encoder = ExportableEncoder(model)
    step = ExportableStep(model)
    padding, memory = encoder(src_tokens)
    tokens, cache = torch.full((batch, 1), eos), step.empty_cache(batch)
    for _ in range(100):
        scores, cache = step(tokens, cache, padding, memory)
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)

Both are ordinary modules, so that the same code exports and runs.

Shapes in this file:  S = source length, T = target length, B = batch, L = decoder layers, H = heads, D = width of a
head, V = vocabulary
"""

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

__all__ = ["ExportableEncoder", "ExportableStep"]


class ExportableEncoder(nn.Module):
    """The encoder, together with the part of the decoder that looks only at the source.

    Args:
        model: an encoder-decoder transformer; it is put into evaluation mode.

    Raises:
        TypeError: the model has no encoder, or a layer without attention to it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if not hasattr(model, "encoder"):
            raise TypeError(f"{type(model).__name__} has no encoder to export; a language model is an ExportableStep")
        self.encoder = model.eval().encoder
        self.attentions: Any = nn.ModuleList(_encoder_attentions(model.decoder))

    def forward(self, src_tokens: Tensor) -> Tuple[Tensor, Tensor]:
        """Encode ``(B, S)``.

        Returns:
            ``(padding, memory)``: ``(B, S)``, bool, true at padding; ``(L, 2, B, H, S, D)``, keys and values.
        """
        encoder_out = self.encoder(src_tokens)
        x = encoder_out["encoder_out"][0]
        memory = [
            torch.stack([attention._split_heads(attention.k_proj(x)), attention._split_heads(attention.v_proj(x))])
            for attention in self.attentions
        ]
        return encoder_out["encoder_padding_mask"][0], torch.stack(memory)


class ExportableStep(nn.Module):
    """One step of decoding: scores of the next token, and the cache grown by one position.

    Args:
        model: an encoder-decoder transformer or a transformer language model; it is put into evaluation mode.

    Raises:
        TypeError: the decoder keeps other state than attention does.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.eval().decoder
        self.layers = list(self.decoder.layers)
        if not all(hasattr(layer, "self_attn") for layer in self.layers):
            raise TypeError(
                f"{type(self.decoder).__name__} is no transformer decoder: its state is not that of attention"
            )
        self.attends = hasattr(model, "encoder")
        if self.attends:
            _encoder_attentions(self.decoder)

    def empty_cache(self, batch: int) -> Tensor:
        """The cache before the first step, ``(L, 2, B, H, 0, D)``."""
        attention = self.layers[0].self_attn
        like = attention.k_proj.weight
        shape = (len(self.layers), 2, batch, attention.num_heads, 0, attention.head_dim)
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def forward(
        self, prev_output_tokens: Tensor, cache: Tensor, padding: Optional[Tensor] = None,
        memory: Optional[Tensor] = None,
    ) -> Tuple[Tensor, Tensor]:  # fmt: skip
        """Score what follows the prefixes ``(B, T)``, all of one length.

        Args:
            prev_output_tokens: ``(B, T)``, the prefixes, beginning with end-of-sentence.
            cache: ``(L, 2, B, H, T - 1, D)``: of the step before, or :meth:`empty_cache`.
            padding, memory: what :class:`ExportableEncoder` returned; not for language models.

        Returns:
            ``(scores, cache)``: ``(B, V)``, log-probabilities in float32; ``(L, 2, B, H, T, D)``.
        """
        state: Dict[str, Dict[str, Optional[Tensor]]] = {}
        for index, layer in enumerate(self.layers):
            own: Dict[str, Optional[Tensor]] = {"prev_key": cache[index, 0], "prev_value": cache[index, 1]}
            layer.self_attn._set_input_buffer(state, own)
            if memory is not None:
                source = {
                    "prev_key": memory[index, 0],
                    "prev_value": memory[index, 1],
                    "prev_key_padding_mask": padding,
                }
                layer.encoder_attn._set_input_buffer(state, source)
        encoder_out: Optional[Dict[str, List[Tensor]]] = None
        if memory is not None and padding is not None:
            # Of the encoder's output only the shape matters: keys and values are there already.
            width = memory.size(3) * memory.size(5)
            blank = memory.new_zeros(1, 1, 1).expand(memory.size(4), memory.size(2), width)
            encoder_out = {"encoder_out": [blank], "encoder_padding_mask": [padding]}
        logits = self.decoder(prev_output_tokens, encoder_out=encoder_out, incremental_state=state)[0]
        scores = self.decoder.get_normalized_probs((logits, None), log_probs=True, sample=None)
        grown = [_keys_and_values(layer.self_attn._get_input_buffer(state)) for layer in self.layers]
        return scores[:, -1], torch.stack(grown)


def _keys_and_values(buffer: Dict[str, Any]) -> Tensor:
    return torch.stack([buffer["prev_key"], buffer["prev_value"]])


def _encoder_attentions(decoder: Any) -> List[Any]:
    found = [getattr(layer, "encoder_attn", None) for layer in getattr(decoder, "layers", [])]
    if not found or any(attention is None or not hasattr(attention, "k_proj") for attention in found):
        raise TypeError(f"{type(decoder).__name__} has layers without attention to the encoder: it cannot be exported")
    return found
