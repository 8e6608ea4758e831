"""Recurrent encoder-decoder with attention and input feeding (Luong et al. 2015, https://arxiv.org/abs/1508.04025).

``presets``  architectures as data
``options``  command-line options as data
``layers``   embeddings and cells with this family's initialisation, and the attention
``encoder``  LSTMEncoder
``decoder``  LSTMDecoder
``model``    LSTMModel, and the functions of the presets
"""

from fairseq.models.lstm.decoder import LSTMDecoder
from fairseq.models.lstm.encoder import LSTMEncoder
from fairseq.models.lstm.layers import (
    DEFAULT_MAX_SOURCE_POSITIONS,
    DEFAULT_MAX_TARGET_POSITIONS,
    LSTM,
    AttentionLayer,
    Embedding,
    Linear,
    LSTMCell,
)
from fairseq.models.lstm.model import LSTMModel, base_architecture, lstm_luong_wmt_en_de, lstm_wiseman_iwslt_de_en

__all__ = [
    "DEFAULT_MAX_SOURCE_POSITIONS",
    "DEFAULT_MAX_TARGET_POSITIONS",
    "LSTM",
    "AttentionLayer",
    "Embedding",
    "LSTMCell",
    "LSTMDecoder",
    "LSTMEncoder",
    "LSTMModel",
    "Linear",
    "base_architecture",
    "lstm_luong_wmt_en_de",
    "lstm_wiseman_iwslt_de_en",
]
