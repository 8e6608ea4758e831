"""Lightweight and dynamic convolutions in place of self-attention (Wu et al. 2019, https://arxiv.org/abs/1901.10430).

``presets``  architectures as data
``options``  command-line options as data
``layers``   LightConvEncoderLayer, LightConvDecoderLayer
``encoder``  LightConvEncoder
``decoder``  LightConvDecoder
``model``    LightConvModel, and the functions of the presets
"""

from fairseq.models.lightconv.decoder import LightConvDecoder
from fairseq.models.lightconv.encoder import LightConvEncoder
from fairseq.models.lightconv.layers import Embedding, LightConvDecoderLayer, LightConvEncoderLayer, Linear
from fairseq.models.lightconv.model import (
    LightConvModel,
    base_architecture,
    lightconv_iwslt_de_en,
    lightconv_wmt_en_de,
    lightconv_wmt_en_de_big,
    lightconv_wmt_en_fr_big,
    lightconv_wmt_zh_en_big,
)

__all__ = [
    "Embedding",
    "LightConvDecoder",
    "LightConvDecoderLayer",
    "LightConvEncoder",
    "LightConvEncoderLayer",
    "LightConvModel",
    "Linear",
    "base_architecture",
    "lightconv_iwslt_de_en",
    "lightconv_wmt_en_de",
    "lightconv_wmt_en_de_big",
    "lightconv_wmt_en_fr_big",
    "lightconv_wmt_zh_en_big",
]
