"""Architectures of ``lightconv`` as data."""

from __future__ import annotations

from typing import Any

from fairseq.compat.arch import Preset, same_as

__all__ = ["PRESETS", "one_kernel_size_per_layer"]


def one_kernel_size_per_layer(side: str) -> Any:
    """A rule: a single kernel size is that of every layer.

    The rule raises ``AssertionError`` for a list that is longer or shorter than there are layers.
    """

    def rule(args: Any) -> None:
        sizes = list(getattr(args, f"{side}_kernel_size_list"))
        layers = getattr(args, f"{side}_layers")
        if len(sizes) == 1:
            sizes = sizes * layers
            setattr(args, f"{side}_kernel_size_list", sizes)
        if len(sizes) != layers:
            raise AssertionError(
                f"{side}_kernel_size_list doesn't match {side}_layers: --{side}-kernel-size-list has {len(sizes)} "
                f"sizes, --{side}-layers is {layers}"
            )

    return rule


PRESETS = {
    "lightconv": Preset(
        encoder_embed_path=None,
        encoder_embed_dim=512,
        encoder_ffn_embed_dim=2048,
        encoder_layers=7,
        encoder_attention_heads=8,
        encoder_normalize_before=False,
        encoder_learned_pos=False,
        decoder_embed_path=None,
        decoder_embed_dim=same_as("encoder_embed_dim"),
        decoder_ffn_embed_dim=same_as("encoder_ffn_embed_dim"),
        decoder_layers=6,
        decoder_attention_heads=8,
        decoder_normalize_before=False,
        decoder_learned_pos=False,
        attention_dropout=0.0,
        relu_dropout=0.0,
        dropout=0.1,
        adaptive_softmax_cutoff=None,
        adaptive_softmax_dropout=0,
        share_decoder_input_output_embed=False,
        share_all_embeddings=False,
        no_token_positional_embeddings=False,
        decoder_output_dim=same_as("decoder_embed_dim"),
        decoder_input_dim=same_as("decoder_embed_dim"),
        encoder_conv_dim=same_as("encoder_embed_dim"),
        decoder_conv_dim=same_as("decoder_embed_dim"),
        encoder_kernel_size_list=[3, 7, 15, 31, 31, 31, 31],
        decoder_kernel_size_list=[3, 7, 15, 31, 31, 31],
        encoder_glu=True,
        decoder_glu=True,
        input_dropout=0.1,
        weight_dropout=same_as("attention_dropout"),
        after=(one_kernel_size_per_layer("encoder"), one_kernel_size_per_layer("decoder")),
    ),
    "lightconv_iwslt_de_en": Preset(
        base="lightconv",
        encoder_embed_dim=512,
        encoder_ffn_embed_dim=1024,
        encoder_attention_heads=4,
        encoder_layers=7,
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=1024,
        decoder_attention_heads=4,
        decoder_layers=6,
        attention_dropout=0.1,
        weight_dropout=0.1,
        encoder_glu=False,
        decoder_glu=False,
        input_dropout=0.0,
    ),
    "lightconv_wmt_en_de": Preset(base="lightconv"),
    "lightconv_wmt_en_de_big": Preset(
        base="lightconv",
        attention_dropout=0.1,
        encoder_embed_dim=1024,
        encoder_ffn_embed_dim=4096,
        encoder_attention_heads=16,
        encoder_normalize_before=False,
        decoder_embed_dim=1024,
        decoder_ffn_embed_dim=4096,
        decoder_attention_heads=16,
        dropout=0.3,
    ),
    "lightconv_wmt_en_fr_big": Preset(base="lightconv_wmt_en_de_big", dropout=0.1),
    "lightconv_wmt_zh_en_big": Preset(
        base="lightconv_wmt_en_de_big", dropout=0.2, attention_dropout=0.2, weight_dropout=0.2
    ),
}
