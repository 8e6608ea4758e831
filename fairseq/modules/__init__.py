"""Building blocks of models, one per file. Names load on first use."""

from fairseq._lazy import attach

# These two name a function and the module it lives in. Imported here, the function is what the package shows.
from fairseq.modules.cross_entropy import cross_entropy as cross_entropy
from fairseq.modules.gelu import gelu as gelu
from fairseq.modules.gelu import gelu_accurate as gelu_accurate

_EXPORTS = {
    "AdaptiveInput": "adaptive_input",
    "AdaptiveSoftmax": "adaptive_softmax",
    "BaseLayer": "base_layer",
    "BeamableMM": "beamable_mm",
    "CharacterTokenEmbedder": "character_token_embedder",
    "ConvTBC": "conv_tbc",
    "DownsampledMultiHeadAttention": "downsampled_multihead_attention",
    "DynamicCRF": "dynamic_crf_layer",
    "DynamicConv": "dynamic_convolution",
    "DynamicConv1dTBC": "dynamic_convolution",
    "DynamicConv_scripatable": "dynamic_convolution",
    "EMAModule": "ema_module",
    "EMAModuleConfig": "ema_module",
    "ESPNETMultiHeadedAttention": "espnet_multihead_attention",
    "FairseqDropout": "fairseq_dropout",
    "Fp32BatchNorm": "fp32_batch_norm",
    "Fp32GroupNorm": "fp32_group_norm",
    "Fp32InstanceNorm": "fp32_instance_norm",
    "Fp32LayerNorm": "layer_norm",
    "GradMultiply": "grad_multiply",
    "GumbelVectorQuantizer": "gumbel_vector_quantizer",
    "KmeansVectorQuantizer": "kmeans_vector_quantizer",
    "LSTMCellWithZoneOut": "lstm_cell_with_zoneout",
    "LayerDropModuleList": "layer_drop",
    "LayerNorm": "layer_norm",
    "LearnedPositionalEmbedding": "learned_positional_embedding",
    "LightweightConv": "lightweight_convolution",
    "LightweightConv1dTBC": "lightweight_convolution",
    "LinearizedConvolution": "linearized_convolution",
    "LocationAttention": "location_attention",
    "MultiheadAttention": "multihead_attention",
    "PositionalEmbedding": "positional_embedding",
    "RelPositionMultiHeadedAttention": "espnet_multihead_attention",
    "RelPositionalEncoding": "positional_encoding",
    "RotaryPositionMultiHeadedAttention": "espnet_multihead_attention",
    "RotaryPositionalEmbedding": "rotary_positional_embedding",
    "SamePad": "same_pad",
    "SamePad2d": "same_pad",
    "ScalarBias": "scalar_bias",
    "SinusoidalPositionalEmbedding": "sinusoidal_positional_embedding",
    "TransformerDecoderLayer": "transformer_layer",
    "TransformerEncoderLayer": "transformer_layer",
    "TransformerSentenceEncoder": "transformer_sentence_encoder",
    "TransformerSentenceEncoderLayer": "transformer_sentence_encoder_layer",
    "TransposeLast": "transpose_last",
    "VGGBlock": "vggblock",
    "unfold1d": "unfold",
}

__getattr__, __dir__ = attach(__name__, _EXPORTS)
