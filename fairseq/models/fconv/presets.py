"""Architectures of ``fconv`` as data.

Layers are listed as text, ``"[(channels, kernel width), ...] * repetitions"``, as on the command line.
"""

from __future__ import annotations

from fairseq.compat.arch import Preset

__all__ = ["PRESETS"]

_WMT_EN_DE = "[(512, 3)] * 9 + [(1024, 3)] * 4 + [(2048, 1)] * 2"
_WMT_EN_FR = "[(512, 3)] * 6 + [(768, 3)] * 4 + [(1024, 3)] * 3 + [(2048, 1)] * 1 + [(4096, 1)] * 1"

PRESETS = {
    "fconv": Preset(
        dropout=0.1,
        encoder_embed_dim=512,
        encoder_embed_path=None,
        encoder_layers="[(512, 3)] * 20",
        decoder_embed_dim=512,
        decoder_embed_path=None,
        decoder_layers="[(512, 3)] * 20",
        decoder_out_embed_dim=256,
        decoder_attention="True",
        share_input_output_embed=False,
    ),
    "fconv_iwslt_de_en": Preset(
        base="fconv",
        encoder_embed_dim=256,
        encoder_layers="[(256, 3)] * 4",
        decoder_embed_dim=256,
        decoder_layers="[(256, 3)] * 3",
        decoder_out_embed_dim=256,
    ),
    "fconv_wmt_en_ro": Preset(base="fconv", decoder_out_embed_dim=512),
    "fconv_wmt_en_de": Preset(
        base="fconv",
        encoder_embed_dim=768,
        encoder_layers=_WMT_EN_DE,
        decoder_embed_dim=768,
        decoder_layers=_WMT_EN_DE,
        decoder_out_embed_dim=512,
    ),
    "fconv_wmt_en_fr": Preset(
        base="fconv",
        encoder_embed_dim=768,
        encoder_layers=_WMT_EN_FR,
        decoder_embed_dim=768,
        decoder_layers=_WMT_EN_FR,
        decoder_out_embed_dim=512,
    ),
}
