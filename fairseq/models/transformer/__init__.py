"""The transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

``transformer_config``    the nested configuration
``transformer_encoder``   ``transformer_decoder``   the two halves
``transformer_base``      the model, from a nested config
``transformer_legacy``    the model from flat options; presets and architecture functions

Names load on first use.
"""

from fairseq._lazy import attach

_EXPORTS = {
    "DEFAULT_MAX_SOURCE_POSITIONS": "transformer_config",
    "DEFAULT_MAX_TARGET_POSITIONS": "transformer_config",
    "DEFAULT_MIN_PARAMS_TO_WRAP": "transformer_config",
    "Embedding": "transformer_base",
    "Linear": "transformer_decoder",
    "TransformerConfig": "transformer_config",
    "TransformerDecoder": "transformer_decoder",
    "TransformerDecoderBase": "transformer_decoder",
    "TransformerEncoder": "transformer_encoder",
    "TransformerEncoderBase": "transformer_encoder",
    "TransformerModel": "transformer_legacy",
    "TransformerModelBase": "transformer_base",
    "base_architecture": "transformer_legacy",
    "tiny_architecture": "transformer_legacy",
    "transformer_iwslt_de_en": "transformer_legacy",
    "transformer_vaswani_wmt_en_de_big": "transformer_legacy",
    "transformer_vaswani_wmt_en_fr_big": "transformer_legacy",
    "transformer_wmt_en_de": "transformer_legacy",
    "transformer_wmt_en_de_big": "transformer_legacy",
    "transformer_wmt_en_de_big_t2t": "transformer_legacy",
}
__all__ = sorted(_EXPORTS)

__getattr__, __dir__ = attach(__name__, _EXPORTS)
