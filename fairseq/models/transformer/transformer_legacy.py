"""The transformer model built from flat options (a namespace), and its architectures."""

from typing import Any, Dict, Optional

from torch import nn

from fairseq.compat.arch import Preset, preset_functions, same_as
from fairseq.models import register_model
from fairseq.models.transformer.transformer_base import TransformerModelBase
from fairseq.models.transformer.transformer_config import TransformerConfig, int_list

__all__ = [
    "PRESETS",
    "TransformerModel",
    "base_architecture",
    "tiny_architecture",
    "transformer_iwslt_de_en",
    "transformer_vaswani_wmt_en_de_big",
    "transformer_vaswani_wmt_en_fr_big",
    "transformer_wmt_en_de",
    "transformer_wmt_en_de_big",
    "transformer_wmt_en_de_big_t2t",
]


def offload_means_checkpoint(args: Any) -> None:
    """``--offload-activations`` implies ``--checkpoint-activations``."""
    if getattr(args, "offload_activations", False):
        args.checkpoint_activations = True


_BIG: Dict[str, Any] = {
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_embed_dim": 1024,
    "decoder_ffn_embed_dim": 4096,
    "decoder_attention_heads": 16,
}

PRESETS = {
    "transformer": Preset(
        encoder_embed_path=None,
        encoder_embed_dim=512,
        encoder_ffn_embed_dim=2048,
        encoder_layers=6,
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
        activation_dropout=0.0,
        activation_fn="relu",
        dropout=0.1,
        adaptive_softmax_cutoff=None,
        adaptive_softmax_dropout=0,
        share_decoder_input_output_embed=False,
        share_all_embeddings=False,
        merge_src_tgt_embed=False,
        no_token_positional_embeddings=False,
        adaptive_input=False,
        no_cross_attention=False,
        cross_self_attention=False,
        decoder_output_dim=same_as("decoder_embed_dim"),
        decoder_input_dim=same_as("decoder_embed_dim"),
        no_scale_embedding=False,
        layernorm_embedding=False,
        tie_adaptive_weights=False,
        checkpoint_activations=False,
        offload_activations=False,
        encoder_layers_to_keep=None,
        decoder_layers_to_keep=None,
        encoder_layerdrop=0,
        decoder_layerdrop=0,
        quant_noise_pq=0,
        quant_noise_pq_block_size=8,
        quant_noise_scalar=0,
        after=(offload_means_checkpoint,),
    ),
    "transformer_tiny": Preset(
        base="transformer",
        encoder_embed_dim=64,
        encoder_ffn_embed_dim=64,
        encoder_layers=2,
        encoder_attention_heads=2,
        decoder_layers=2,
        decoder_attention_heads=2,
    ),
    "transformer_iwslt_de_en": Preset(
        base="transformer",
        encoder_embed_dim=512,
        encoder_ffn_embed_dim=1024,
        encoder_attention_heads=4,
        encoder_layers=6,
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=1024,
        decoder_attention_heads=4,
        decoder_layers=6,
    ),
    "transformer_wmt_en_de": Preset(base="transformer"),
    "transformer_vaswani_wmt_en_de_big": Preset(base="transformer", dropout=0.3, **_BIG),
    "transformer_vaswani_wmt_en_fr_big": Preset(base="transformer", dropout=0.1, **_BIG),
    "transformer_wmt_en_de_big": Preset(base="transformer_vaswani_wmt_en_de_big", attention_dropout=0.1),
    "transformer_wmt_en_de_big_t2t": Preset(
        base="transformer_vaswani_wmt_en_de_big",
        encoder_normalize_before=True,
        decoder_normalize_before=True,
        attention_dropout=0.1,
        activation_dropout=0.1,
    ),
}


def _moses_subword(path: str) -> Dict[str, str]:
    return {"path": path, "tokenizer": "moses", "bpe": "subword_nmt"}


def _moses_fastbpe(path: str, **more: str) -> Dict[str, str]:
    return {"path": path, "tokenizer": "moses", "bpe": "fastbpe", **more}


_WMT19_ENSEMBLE = "model1.pt:model2.pt:model3.pt:model4.pt"


@register_model("transformer")
class TransformerModel(TransformerModelBase):
    """``TransformerModelBase`` from flat options.

    Args:
        args: flat options, kept as ``args``; the nested config is ``cfg``.
        encoder, decoder: the two halves.
    """

    @classmethod
    def hub_models(cls) -> Dict[str, Any]:
        """Published models by name."""
        base = "https://dl.fbaipublicfiles.com/fairseq/models/"
        return {
            "transformer.wmt14.en-fr": _moses_subword(base + "wmt14.en-fr.joined-dict.transformer.tar.bz2"),
            "transformer.wmt16.en-de": base + "wmt16.en-de.joined-dict.transformer.tar.bz2",
            "transformer.wmt18.en-de": _moses_subword(base + "wmt18.en-de.ensemble.tar.gz"),
            "transformer.wmt19.en-de": _moses_fastbpe(base + "wmt19.en-de.joined-dict.ensemble.tar.gz"),
            "transformer.wmt19.en-ru": _moses_fastbpe(base + "wmt19.en-ru.ensemble.tar.gz"),
            "transformer.wmt19.de-en": _moses_fastbpe(base + "wmt19.de-en.joined-dict.ensemble.tar.gz"),
            "transformer.wmt19.ru-en": _moses_fastbpe(base + "wmt19.ru-en.ensemble.tar.gz"),
            "transformer.wmt19.en-de.single_model": _moses_fastbpe(
                base + "wmt19.en-de.joined-dict.single_model.tar.gz"
            ),
            "transformer.wmt19.en-ru.single_model": _moses_fastbpe(base + "wmt19.en-ru.single_model.tar.gz"),
            "transformer.wmt19.de-en.single_model": _moses_fastbpe(
                base + "wmt19.de-en.joined-dict.single_model.tar.gz"
            ),
            "transformer.wmt19.ru-en.single_model": _moses_fastbpe(base + "wmt19.ru-en.single_model.tar.gz"),
        }

    def __init__(self, args: Any, encoder: Any, decoder: Any) -> None:
        super().__init__(TransformerConfig.from_namespace(args), encoder, decoder)
        self.args = args

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the options of :class:`TransformerConfig`; without defaults, which the architecture decides."""
        from fairseq.dataclass.utils import gen_parser_from_dataclass

        gen_parser_from_dataclass(parser, TransformerConfig(), delete_default=True, with_prefix="")

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Build a model from flat options; what they leave open is that of architecture ``transformer``."""
        # Old checkpoints lack options of today.
        base_architecture(args)
        for side in ("encoder", "decoder"):
            kept = int_list(getattr(args, f"{side}_layers_to_keep"))
            if kept:
                setattr(args, f"{side}_layers", len(kept))
        if args.share_all_embeddings:
            args.share_decoder_input_output_embed = True
        else:
            # Saved with the model's options since sharding came; readers of checkpoints expect it there.
            args.min_params_to_wrap = getattr(args, "min_params_to_wrap", TransformerConfig().min_params_to_wrap)
        model = super().build_model(TransformerConfig.from_namespace(args), task)
        model.args = args
        return model

    @classmethod
    def build_embedding(cls, args: Any, dictionary: Any, embed_dim: int, path: Optional[str] = None) -> nn.Embedding:
        """As in the base class, from flat options."""
        return super().build_embedding(TransformerConfig.from_namespace(args), dictionary, embed_dim, path)

    @classmethod
    def build_encoder(cls, args: Any, src_dict: Any, embed_tokens: Any) -> Any:
        """As in the base class, from flat options."""
        return super().build_encoder(TransformerConfig.from_namespace(args), src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, args: Any, tgt_dict: Any, embed_tokens: Any) -> Any:
        """As in the base class, from flat options."""
        return super().build_decoder(TransformerConfig.from_namespace(args), tgt_dict, embed_tokens)


arch = preset_functions(__name__, model="transformer", presets=PRESETS)
tiny_architecture = arch("tiny_architecture", "transformer_tiny")
base_architecture = arch("base_architecture", "transformer")
transformer_iwslt_de_en = arch("transformer_iwslt_de_en")
transformer_wmt_en_de = arch("transformer_wmt_en_de")
transformer_vaswani_wmt_en_de_big = arch("transformer_vaswani_wmt_en_de_big")
transformer_vaswani_wmt_en_fr_big = arch("transformer_vaswani_wmt_en_fr_big")
transformer_wmt_en_de_big = arch("transformer_wmt_en_de_big")
transformer_wmt_en_de_big_t2t = arch("transformer_wmt_en_de_big_t2t")
