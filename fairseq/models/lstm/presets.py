"""Architectures of ``lstm`` as data."""

from __future__ import annotations

from fairseq.compat.arch import Preset, same_as

__all__ = ["PRESETS"]

PRESETS = {
    "lstm": Preset(
        dropout=0.1,
        encoder_embed_dim=512,
        encoder_embed_path=None,
        encoder_freeze_embed=False,
        encoder_hidden_size=same_as("encoder_embed_dim"),
        encoder_layers=1,
        encoder_bidirectional=False,
        encoder_dropout_in=same_as("dropout"),
        encoder_dropout_out=same_as("dropout"),
        decoder_embed_dim=512,
        decoder_embed_path=None,
        decoder_freeze_embed=False,
        decoder_hidden_size=same_as("decoder_embed_dim"),
        decoder_layers=1,
        decoder_out_embed_dim=512,
        decoder_attention="1",
        decoder_dropout_in=same_as("dropout"),
        decoder_dropout_out=same_as("dropout"),
        share_decoder_input_output_embed=False,
        share_all_embeddings=False,
        adaptive_softmax_cutoff="10000,50000,200000",
    ),
    # Wiseman & Rush 2016
    "lstm_wiseman_iwslt_de_en": Preset(
        base="lstm",
        dropout=0.1,
        encoder_embed_dim=256,
        encoder_dropout_in=0,
        encoder_dropout_out=0,
        decoder_embed_dim=256,
        decoder_out_embed_dim=256,
        decoder_dropout_in=0,
        decoder_dropout_out=same_as("dropout"),
    ),
    # Luong et al. 2015
    "lstm_luong_wmt_en_de": Preset(
        base="lstm",
        encoder_embed_dim=1000,
        encoder_layers=4,
        encoder_dropout_out=0,
        decoder_embed_dim=1000,
        decoder_layers=4,
        decoder_out_embed_dim=1000,
        decoder_dropout_out=0,
    ),
}
