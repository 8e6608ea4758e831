"""Convolutional encoder-decoder (Gehring et al. 2017, https://arxiv.org/abs/1705.03122).

``presets``  architectures as data
``options``  command-line options as data
``layers``   weight-normalised projections and convolutions, embeddings, layer specifications
``encoder``  FConvEncoder
``decoder``  FConvDecoder and its attention
``model``    FConvModel, and the functions of the presets
"""

from fairseq.models.fconv.decoder import AttentionLayer, FConvDecoder
from fairseq.models.fconv.encoder import FConvEncoder
from fairseq.models.fconv.layers import (
    ConvTBC,
    Embedding,
    Linear,
    LinearizedConv1d,
    PositionalEmbedding,
    extend_conv_spec,
)
from fairseq.models.fconv.model import (
    FConvModel,
    base_architecture,
    fconv_iwslt_de_en,
    fconv_wmt_en_de,
    fconv_wmt_en_fr,
    fconv_wmt_en_ro,
)

__all__ = [
    "AttentionLayer",
    "ConvTBC",
    "Embedding",
    "FConvDecoder",
    "FConvEncoder",
    "FConvModel",
    "Linear",
    "LinearizedConv1d",
    "PositionalEmbedding",
    "base_architecture",
    "extend_conv_spec",
    "fconv_iwslt_de_en",
    "fconv_wmt_en_de",
    "fconv_wmt_en_fr",
    "fconv_wmt_en_ro",
]
