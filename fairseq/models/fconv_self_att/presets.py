"""Architectures and options of ``fconv_self_att`` as data."""

from __future__ import annotations

from typing import Any

from fairseq.compat.arch import Preset

__all__ = ["OPTIONS", "PRESETS"]

PRESETS = {
    "fconv_self_att": Preset(
        dropout=0.1,
        encoder_embed_dim=512,
        encoder_layers="[(512, 3)] * 3",
        decoder_embed_dim=512,
        decoder_layers="[(512, 3)] * 8",
        decoder_out_embed_dim=256,
        decoder_attention="True",
        self_attention="False",
        encoder_attention="False",
        multihead_attention_nheads=1,
        multihead_self_attention_nheads=1,
        encoder_attention_nheads=1,
        project_input="False",
        gated_attention="False",
        downsample="False",
        pretrained_checkpoint="",
        pretrained="False",
    ),
    "fconv_self_att_wp": Preset(
        base="fconv_self_att",
        encoder_embed_dim=256,
        encoder_layers="[(128, 3)] * 2 + [(512,3)] * 1",
        decoder_embed_dim=256,
        decoder_layers="[(512, 4)] * 4 + [(768, 4)] * 2 + [(1024, 4)] * 1",
        decoder_out_embed_dim=256,
        self_attention="True",
        multihead_self_attention_nheads=4,
        project_input="True",
        gated_attention="True",
        downsample="True",
    ),
}

_PER_LAYER = {"type": str, "metavar": "BOOL,..."}
_BOOL = {"type": str, "metavar": "BOOL"}
_COUNT = {"type": int, "metavar": "N"}

OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {"type": float, "metavar": "P", "help": "dropout on embeddings, layer inputs and output features"},
    "--encoder-embed-dim": {**_COUNT, "help": "width of source word vectors"},
    "--encoder-layers": {"type": str, "metavar": "SPEC", "help": "encoder layers, [(channels, kernel width), ...]"},
    "--decoder-embed-dim": {**_COUNT, "help": "width of target word vectors"},
    "--decoder-layers": {"type": str, "metavar": "SPEC", "help": "decoder layers, [(channels, kernel width), ...]"},
    "--decoder-out-embed-dim": {**_COUNT, "help": "width before the output layer"},
    "--decoder-attention": {**_PER_LAYER, "help": "which decoder layers attend to the source"},
    "--self-attention": {**_PER_LAYER, "help": "which decoder layers attend to the target so far"},
    "--multihead-attention-nheads": {**_COUNT, "help": "heads of the attention to the source"},
    "--multihead-self-attention-nheads": {**_COUNT, "help": "heads of the attention to the target so far"},
    "--encoder-attention": {**_PER_LAYER, "help": "which encoder layers have self-attention"},
    "--encoder-attention-nheads": {**_COUNT, "help": "heads of the self-attention in the encoder"},
    "--project-input": {**_BOOL, "help": "project queries, keys and values of attention"},
    "--gated-attention": {**_BOOL, "help": "project them with gated layers"},
    "--downsample": {**_BOOL, "help": "let the i-th head of self-attention see every i-th step only"},
    "--pretrained-checkpoint": {"metavar": "FILE", "help": "checkpoint of the model to fuse with"},
    "--pretrained": {**_BOOL, "help": "fuse with the model in --pretrained-checkpoint, which stays as it is"},
}
