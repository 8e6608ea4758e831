"""Convolutional story generation with self-attention and model fusion (Fan et al. 2018, https://arxiv.org/abs/1805.04833).

``presets``  architectures and command-line options as data
``layers``   projections, convolutions and embeddings with this family's initialisation
``encoder``  FConvEncoder, SelfAttention
``decoder``  FConvDecoder
``model``    FConvModelSelfAtt, and the functions of the presets
"""

from fairseq.models.fconv_self_att.decoder import FConvDecoder
from fairseq.models.fconv_self_att.encoder import FConvEncoder, SelfAttention
from fairseq.models.fconv_self_att.layers import ConvTBC, Embedding, Linear, LinearizedConv1d, PositionalEmbedding
from fairseq.models.fconv_self_att.model import FConvModelSelfAtt, base_architecture, fconv_self_att_wp

__all__ = [
    "ConvTBC",
    "Embedding",
    "FConvDecoder",
    "FConvEncoder",
    "FConvModelSelfAtt",
    "Linear",
    "LinearizedConv1d",
    "PositionalEmbedding",
    "SelfAttention",
    "base_architecture",
    "fconv_self_att_wp",
]
