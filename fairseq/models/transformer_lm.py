"""Transformer language models: a decoder without attention to an encoder.

Adaptive input and softmax: Baevski & Auli 2018 (https://arxiv.org/abs/1809.10853); ``gpt2`` and ``gpt3`` presets: the
sizes of Radford et al. 2019 and Brown et al. 2020.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional

from torch import nn

from fairseq import utils
from fairseq.compat.arch import Preset, forced, preset_functions, same_as, times
from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import II, option
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqLanguageModel
from fairseq.models.transformer._parts import Embedding
from fairseq.models.transformer.transformer_config import DEFAULT_MIN_PARAMS_TO_WRAP, int_list
from fairseq.models.transformer.transformer_decoder import TransformerDecoder
from fairseq.models.transformer.transformer_legacy import offload_means_checkpoint

__all__ = [
    "DEFAULT_MAX_TARGET_POSITIONS",
    "TransformerLanguageModel",
    "TransformerLanguageModelConfig",
    "base_gpt3_architecture",
    "base_lm_architecture",
    "build_input_embedding",
    "prepare_lm_options",
    "transformer_lm_big",
    "transformer_lm_gpt",
]

DEFAULT_MAX_TARGET_POSITIONS = 1024


@dataclass
class TransformerLanguageModelConfig(FairseqDataclass):
    """Options of a transformer language model."""

    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = option(  # type: ignore[valid-type]
        "relu", "activation in the feed-forward blocks"
    )
    dropout: float = option(0.1, "dropout after each block")
    attention_dropout: float = option(0.0, "dropout on attention weights")
    activation_dropout: float = option(0.0, "dropout after the activation in feed-forward blocks")
    relu_dropout: float = option(0.0, "old name of --activation-dropout")
    decoder_embed_dim: int = option(512, "width of the layers")
    decoder_output_dim: int = option(512, "width of the features that go into the softmax")
    decoder_input_dim: int = option(512, "width of the token embeddings")
    decoder_ffn_embed_dim: int = option(2048, "width inside the feed-forward blocks")
    decoder_layers: int = option(6, "number of layers")
    decoder_attention_heads: int = option(8, "number of attention heads")
    decoder_normalize_before: bool = option(False, "normalise the input of each block instead of its output")
    no_decoder_final_norm: bool = option(False, "no normalisation after the last layer")
    adaptive_softmax_cutoff: Optional[str] = option(
        None, "band limits of the adaptive softmax, e.g. 4000,20000; goes with the adaptive_loss criterion"
    )
    adaptive_softmax_dropout: float = option(0, "dropout in the tails of the adaptive softmax")
    adaptive_softmax_factor: float = option(4, "how much narrower each band of the adaptive softmax is")
    no_token_positional_embeddings: bool = option(False, "use no position embeddings")
    share_decoder_input_output_embed: bool = option(False, "use the embeddings as output projection too")
    character_embeddings: bool = option(False, "embed words by convolutions over their characters")
    character_filters: str = option(
        "[(1, 64), (2, 128), (3, 192), (4, 256), (5, 256), (6, 256), (7, 256)]",
        "those convolutions: list of (width, number of filters)",
    )
    character_embedding_dim: int = option(4, "width of character embeddings")
    char_embedder_highway_layers: int = option(2, "highway layers after the convolutions")
    adaptive_input: bool = option(False, "narrower embeddings for rarer words")
    adaptive_input_factor: float = option(4, "how much narrower each band of the adaptive input is")
    adaptive_input_cutoff: Optional[str] = option(None, "band limits of the adaptive input")
    tie_adaptive_weights: bool = option(False, "share the weights of adaptive input and adaptive softmax")
    tie_adaptive_proj: bool = option(False, "share the projections of adaptive input and adaptive softmax")
    decoder_learned_pos: bool = option(False, "learn the position embeddings instead of computing sinusoids")
    layernorm_embedding: bool = option(False, "normalise the embeddings")
    no_scale_embedding: bool = option(False, "do not multiply embeddings by the square root of their width")
    checkpoint_activations: bool = option(
        False, "recompute activations in the backward pass instead of keeping them: less memory, more time"
    )
    offload_activations: bool = option(
        False, "keep checkpointed activations in host memory (implies --checkpoint-activations)"
    )
    decoder_layerdrop: float = option(0.0, "probability of leaving out a layer in training (LayerDrop)")
    decoder_layers_to_keep: Optional[str] = option(None, "load and run only these layers, e.g. 0,2,4")
    quant_noise_pq: float = option(0.0, "share of weight blocks that product-quantisation noise drops in training")
    quant_noise_pq_block_size: int = option(8, "size of those blocks")
    quant_noise_scalar: float = option(0.0, "share of weights that scalar-quantisation noise rounds in training")
    min_params_to_wrap: int = option(
        DEFAULT_MIN_PARAMS_TO_WRAP, "smallest layer, in parameters, that is a unit of fully sharded training"
    )
    base_layers: Optional[int] = option(0, "number of BASE layers (mixture of experts)")
    base_sublayers: Optional[int] = option(1, "feed-forward blocks in each BASE layer")
    base_shuffle: Optional[int] = option(1, "shuffle tokens between workers before BASE layers assign them")
    scale_fc: Optional[bool] = option(False, "normalise inside the feed-forward blocks (NormFormer)")
    scale_attn: Optional[bool] = option(False, "normalise the output of the self-attention (NormFormer)")
    scale_heads: Optional[bool] = option(False, "a learned factor for each attention head (NormFormer)")
    scale_resids: Optional[bool] = option(False, "learned factors for the residual connection (NormFormer)")
    decoder_xformers_att_config: Optional[str] = option(None, "attention of the xFormers library (refused: use none)")
    add_bos_token: bool = II("task.add_bos_token")
    tokens_per_sample: int = II("task.tokens_per_sample")
    max_target_positions: Optional[int] = II("task.max_target_positions")
    tpu: bool = II("common.tpu")


def prepare_lm_options(args: Any) -> None:
    """Settle the options that follow others, in place: number of layers, longest sequence, checkpointing."""
    kept = int_list(getattr(args, "decoder_layers_to_keep", None))
    if kept:
        args.decoder_layers = len(kept)
    if getattr(args, "max_target_positions", None) is None:
        args.max_target_positions = getattr(args, "tokens_per_sample", DEFAULT_MAX_TARGET_POSITIONS)
    offload_means_checkpoint(args)


def build_input_embedding(cls: Any, args: Any, dictionary: Any) -> nn.Module:
    """Token embedding of a language model: plain, adaptive or of characters."""
    if getattr(args, "character_embeddings", False):
        from fairseq.modules.character_token_embedder import CharacterTokenEmbedder

        return CharacterTokenEmbedder(
            dictionary,
            utils.parse_literal(args.character_filters),
            args.character_embedding_dim,
            args.decoder_embed_dim,
            args.char_embedder_highway_layers,
        )
    if getattr(args, "adaptive_input", False):
        from fairseq.modules.adaptive_input import AdaptiveInput

        return AdaptiveInput(
            len(dictionary),
            dictionary.pad(),
            args.decoder_input_dim,
            args.adaptive_input_factor,
            args.decoder_embed_dim,
            int_list(args.adaptive_input_cutoff) or [],
            getattr(args, "quant_noise_pq", 0.0),
            getattr(args, "quant_noise_pq_block_size", 8),
        )
    embedding: nn.Module = cls.build_embedding(args, dictionary, args.decoder_input_dim)
    return embedding


def check_tied_adaptive(args: Any) -> None:
    """Refuse to tie adaptive input and softmax that do not fit.

    Raises:
        AssertionError: says which options differ.
    """
    if not getattr(args, "tie_adaptive_weights", False):
        return
    if not args.adaptive_input:
        raise AssertionError("--tie-adaptive-weights requires --adaptive-input")
    pairs = {
        "--adaptive-input-factor and --adaptive-softmax-factor": (
            args.adaptive_input_factor,
            args.adaptive_softmax_factor,
        ),
        "--adaptive-softmax-cutoff and --adaptive-input-cutoff": (
            args.adaptive_softmax_cutoff,
            args.adaptive_input_cutoff,
        ),
        "--decoder-input-dim and --decoder-output-dim": (args.decoder_input_dim, args.decoder_output_dim),
    }
    for names, (one, other) in pairs.items():
        if one != other:
            raise AssertionError(f"--tie-adaptive-weights: {names} must be equal: {one} != {other}")


@register_model("transformer_lm", dataclass=TransformerLanguageModelConfig)
class TransformerLanguageModel(FairseqLanguageModel):
    """A transformer decoder that predicts the next token.

    Args:
        decoder: a :class:`TransformerDecoder` without attention to an encoder.
    """

    @classmethod
    def hub_models(cls) -> Dict[str, Any]:
        """Published models by name."""
        base = "https://dl.fbaipublicfiles.com/fairseq/models/lm/"

        def moses_fastbpe(name: str) -> Dict[str, str]:
            return {"path": base + name, "tokenizer": "moses", "bpe": "fastbpe"}

        return {
            "transformer_lm.gbw.adaptive_huge": base + "adaptive_lm_gbw_huge.tar.bz2",
            "transformer_lm.wiki103.adaptive": base + "adaptive_lm_wiki103.v2.tar.bz2",
            "transformer_lm.wmt19.en": moses_fastbpe("wmt19.en.tar.bz2"),
            "transformer_lm.wmt19.de": moses_fastbpe("wmt19.de.tar.bz2"),
            "transformer_lm.wmt19.ru": moses_fastbpe("wmt19.ru.tar.bz2"),
            "transformer_lm.wmt20.en": {"path": base + "wmt20.en.tar.gz"},
            "transformer_lm.wmt20.ta": {"path": base + "wmt20.ta.tar.gz"},
            "transformer_lm.wmt20.iu.news": {"path": base + "wmt20.iu.news.tar.gz"},
            "transformer_lm.wmt20.iu.nh": {"path": base + "wmt20.iu.nh.tar.gz"},
        }

    def __init__(self, decoder: Any) -> None:
        super().__init__(decoder)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "TransformerLanguageModel":
        """Build a model for the task's dictionaries.

        Raises:
            AssertionError: adaptive input and softmax are to be tied and do not fit.
        """
        prepare_lm_options(args)
        check_tied_adaptive(args)
        embed_tokens = build_input_embedding(cls, args, task.source_dictionary)
        decoder = TransformerDecoder(args, task.target_dictionary, embed_tokens, no_encoder_attn=True)
        return cls(decoder)

    @classmethod
    def build_embedding(cls, args: Any, dictionary: Any, embed_dim: int, path: Optional[str] = None) -> nn.Embedding:
        """Build a plain token embedding; a hook for subclasses."""
        return Embedding(len(dictionary), embed_dim, dictionary.pad())


def old_norm_options(args: Any) -> None:
    """Read the names that options had before 0.6: ``no_tie_adaptive_proj`` and ``decoder_final_norm``."""
    untied = getattr(args, "no_tie_adaptive_proj", None)
    if untied is not None:
        # Files of that time had no final norm, whatever the value.
        args.no_decoder_final_norm = True
    if untied is False:
        args.tie_adaptive_proj = True
    final_norm = getattr(args, "decoder_final_norm", None)
    if final_norm is not None:
        args.no_decoder_final_norm = not final_norm


def _gpt2(layers: int, width: int, heads: int, ffn: Optional[int] = None) -> Preset:
    return Preset(
        base="base_lm",
        decoder_embed_dim=width,
        decoder_ffn_embed_dim=4 * width if ffn is None else ffn,
        decoder_layers=layers,
        decoder_attention_heads=heads,
        dropout=0.1,
        attention_dropout=0.1,
        activation_fn="gelu",
    )


def _gpt3(layers: int, width: int, heads: int) -> Preset:
    return Preset(base="base_gpt3", decoder_layers=layers, decoder_embed_dim=width, decoder_attention_heads=heads)


PRESETS = {
    "base_lm": Preset(
        before=(old_norm_options,),
        dropout=0.1,
        attention_dropout=0.0,
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=2048,
        decoder_layers=6,
        decoder_attention_heads=8,
        adaptive_softmax_cutoff=None,
        adaptive_softmax_dropout=0,
        adaptive_softmax_factor=4,
        decoder_learned_pos=False,
        activation_fn="relu",
        decoder_layerdrop=0,
        decoder_layers_to_keep=None,
        quant_noise_pq=0,
        quant_noise_pq_block_size=8,
        quant_noise_scalar=0,
        base_layers=0,
        base_sublayers=1,
        base_shuffle=False,
        add_bos_token=False,
        no_token_positional_embeddings=False,
        share_decoder_input_output_embed=False,
        character_embeddings=False,
        decoder_output_dim=same_as("decoder_embed_dim"),
        decoder_input_dim=same_as("decoder_embed_dim"),
        # Language models of all sizes train better so; only the plain name transformer_lm leaves the choice.
        decoder_normalize_before=forced(True),
        no_decoder_final_norm=False,
        adaptive_input=False,
        adaptive_input_factor=4,
        adaptive_input_cutoff=None,
        tie_adaptive_weights=False,
        tie_adaptive_proj=False,
        no_scale_embedding=False,
        layernorm_embedding=False,
        checkpoint_activations=False,
        offload_activations=False,
        scale_fc=False,
        scale_attn=False,
        scale_heads=False,
        scale_resids=False,
        after=(offload_means_checkpoint,),
    ),
    "transformer_lm_big": Preset(
        base="base_lm",
        decoder_layers=12,
        decoder_embed_dim=1024,
        decoder_ffn_embed_dim=4096,
        decoder_attention_heads=16,
    ),
    "transformer_lm_baevski_wiki103": Preset(
        base="transformer_lm_big",
        decoder_layers=16,
        decoder_attention_heads=8,
        dropout=0.3,
        adaptive_input=True,
        tie_adaptive_weights=True,
        adaptive_input_cutoff="20000,60000",
        adaptive_softmax_cutoff="20000,60000",
        adaptive_softmax_dropout=0.2,
        attention_dropout=0.1,
        activation_dropout=0.1,
        no_decoder_final_norm=True,
        tie_adaptive_proj=True,
    ),
    "transformer_lm_baevski_gbw": Preset(
        base="base_lm",
        decoder_layers=12,
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=4096,
        decoder_attention_heads=16,
        dropout=0.1,
        attention_dropout=0.1,
        no_decoder_final_norm=True,
    ),
    "transformer_lm_gpt": _gpt2(12, 768, 12),
    "transformer_lm_gpt2_small": _gpt2(24, 1024, 16),
    "transformer_lm_gpt2_tiny": _gpt2(2, 64, 1, ffn=64),
    "transformer_lm_gpt2_medium": _gpt2(36, 1280, 20),
    "transformer_lm_gpt2_big": _gpt2(48, 1600, 25),
    "transformer_lm_gpt2_big_wide": _gpt2(24, 2048, 32),
    "transformer_lm_gpt2_bigger": _gpt2(48, 2048, 32),
    "base_gpt3": Preset(
        base="base_lm",
        decoder_input_dim=forced(same_as("decoder_embed_dim")),
        decoder_output_dim=forced(same_as("decoder_embed_dim")),
        decoder_ffn_embed_dim=times("decoder_embed_dim", 4),
        decoder_learned_pos=True,
        dropout=0.0,
        attention_dropout=0.0,
        activation_fn="gelu",
        share_decoder_input_output_embed=forced(True),
    ),
    "transformer_lm_gpt3_small": _gpt3(12, 768, 12),
    "transformer_lm_gpt3_medium": _gpt3(24, 1024, 16),
    "transformer_lm_gpt3_large": _gpt3(24, 1536, 16),
    "transformer_lm_gpt3_xl": _gpt3(24, 2048, 32),
    "transformer_lm_gpt3_2_7": _gpt3(32, 2560, 32),
    "transformer_lm_gpt3_6_7": _gpt3(32, 4096, 32),
    "transformer_lm_gpt3_13": _gpt3(40, 5120, 40),
    "transformer_lm_gpt3_175": _gpt3(96, 12288, 96),
}

arch = preset_functions(__name__, model="transformer_lm", presets=PRESETS)
base_lm_architecture = arch("base_lm_architecture", preset="base_lm")
base_gpt3_architecture = arch("base_gpt3_architecture", preset="base_gpt3")
transformer_lm_big = arch("transformer_lm_big")
transformer_lm_baevski_wiki103 = arch(
    "transformer_lm_baevski_wiki103", "transformer_lm_baevski_wiki103", "transformer_lm_wiki103"
)
transformer_lm_baevski_gbw = arch("transformer_lm_baevski_gbw", "transformer_lm_baevski_gbw", "transformer_lm_gbw")
transformer_lm_gpt = arch("transformer_lm_gpt")
transformer_lm_gpt2_small = arch("transformer_lm_gpt2_small")
transformer_lm_gpt2_tiny = arch("transformer_lm_gpt2_tiny")
transformer_lm_gpt2_medium = arch("transformer_lm_gpt2_medium")
transformer_lm_gpt2_big = arch("transformer_lm_gpt2_big")
transformer_lm_gpt2_big_wide = arch("transformer_lm_gpt2_big_wide")
transformer_lm_gpt2_bigger = arch("transformer_lm_gpt2_bigger")
transformer_lm_gpt3_small = arch("transformer_lm_gpt3_small")
transformer_lm_gpt3_medium = arch("transformer_lm_gpt3_medium")
transformer_lm_gpt3_large = arch("transformer_lm_gpt3_large")
transformer_lm_gpt3_xl = arch("transformer_lm_gpt3_xl")
transformer_lm_gpt3_2_7 = arch("transformer_lm_gpt3_2_7")
transformer_lm_gpt3_6_7 = arch("transformer_lm_gpt3_6_7")
transformer_lm_gpt3_13 = arch("transformer_lm_gpt3_13")
transformer_lm_gpt3_175 = arch("transformer_lm_gpt3_175")
