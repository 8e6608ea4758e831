"""Names of older releases that plugins still import: package -> name -> where it lives today.

Each package adds its row to its lazy exports::

    __getattr__, __dir__ = attach(__name__, {**_EXPORTS, **names_of(__name__)})
"""

from __future__ import annotations

__all__ = ["OLD_NAMES", "names_of"]

OLD_NAMES: dict[str, dict[str, str]] = {
    # Up to 0.10 the transformer was one module, and what it imported could be imported from there.
    "fairseq.models.transformer": {
        "AdaptiveSoftmax": "fairseq.modules.adaptive_softmax",
        "BaseLayer": "fairseq.modules.base_layer",
        "EncoderOut": "fairseq.models.fairseq_encoder",
        "FairseqDropout": "fairseq.modules.fairseq_dropout",
        "FairseqEncoder": "fairseq.models.fairseq_encoder",
        "FairseqEncoderDecoderModel": "fairseq.models.fairseq_model",
        "FairseqIncrementalDecoder": "fairseq.models.fairseq_incremental_decoder",
        "LayerDropModuleList": "fairseq.modules.layer_drop",
        "LayerNorm": "fairseq.modules.layer_norm",
        "MultiheadAttention": "fairseq.modules.multihead_attention",
        "PositionalEmbedding": "fairseq.modules.positional_embedding",
        "SinusoidalPositionalEmbedding": "fairseq.modules.sinusoidal_positional_embedding",
        "TransformerDecoderLayer": "fairseq.modules.transformer_layer",
        "TransformerEncoderLayer": "fairseq.modules.transformer_layer",
    },
}


def names_of(package: str) -> dict[str, str]:
    """The old names of a package: name -> module, as ``fairseq._lazy.attach`` takes them."""
    return OLD_NAMES.get(package, {})
