"""A language model of lightweight or dynamic convolutions: the ``lightconv`` decoder without a source."""

from __future__ import annotations

from typing import Any

from torch import nn

from fairseq import utils
from fairseq.compat.arch import Preset, forced, preset_functions, same_as
from fairseq.models import register_model
from fairseq.models.fairseq_model import FairseqLanguageModel
from fairseq.models.lightconv import Embedding, LightConvDecoder
from fairseq.models.lightconv.options import CONVOLUTION_OPTIONS
from fairseq.models.lightconv.presets import one_kernel_size_per_layer
from fairseq.modules.adaptive_input import AdaptiveInput
from fairseq.modules.character_token_embedder import CharacterTokenEmbedder

__all__ = ["OPTIONS", "PRESETS", "LightConvLanguageModel", "base_lm_architecture", "lightconv_lm_gbw"]

PRESETS = {
    "lightconv_lm": Preset(
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=2048,
        decoder_layers=6,
        decoder_attention_heads=8,
        attention_dropout=0.0,
        adaptive_softmax_cutoff=None,
        adaptive_softmax_dropout=0,
        adaptive_softmax_factor=4,
        decoder_learned_pos=False,
        character_embeddings=False,
        decoder_output_dim=same_as("decoder_embed_dim"),
        decoder_input_dim=same_as("decoder_embed_dim"),
        decoder_conv_dim=same_as("decoder_embed_dim"),
        # Training is not stable without.
        decoder_normalize_before=forced(True),
        adaptive_input=False,
        adaptive_input_factor=4,
        adaptive_input_cutoff=None,
        tie_adaptive_weights=False,
        tie_adaptive_proj=False,
        decoder_kernel_size_list=[3, 7, 15, 31, 31, 31],
        input_dropout=0.1,
        weight_dropout=same_as("attention_dropout"),
        decoder_glu=True,
        after=(one_kernel_size_per_layer("decoder"),),
    ),
    "lightconv_lm_gbw": Preset(
        base="lightconv_lm",
        decoder_embed_dim=512,
        dropout=0.1,
        attention_dropout=0.1,
        decoder_ffn_embed_dim=4096,
        decoder_attention_heads=16,
    ),
}

_RATE = {"type": float, "metavar": "P"}
_SIZE = {"type": int, "metavar": "N"}
_FILTERS = "[(1, 64), (2, 128), (3, 192), (4, 256), (5, 256), (6, 256), (7, 256)]"

OPTIONS: dict[str, dict[str, Any]] = {
    "--dropout": {**_RATE, "default": 0.1, "help": "dropout on embeddings and on the output of each block"},
    "--attention-dropout": {**_RATE, "default": 0.0, "help": "default of --weight-dropout; there is no attention"},
    "--relu-dropout": {**_RATE, "default": 0.0, "help": "dropout after the ReLU of feed-forward blocks"},
    "--input-dropout": {**_RATE, "help": "dropout on the input of convolution blocks"},
    "--decoder-embed-dim": {**_SIZE, "help": "width of the model"},
    "--decoder-output-dim": {**_SIZE, "help": "width before the output layer"},
    "--decoder-input-dim": {**_SIZE, "help": "width of word vectors"},
    "--decoder-ffn-embed-dim": {**_SIZE, "help": "inner width of feed-forward blocks"},
    "--decoder-layers": {**_SIZE, "help": "number of layers"},
    "--decoder-attention-heads": {**_SIZE, "help": "heads (different kernels) of convolutions"},
    "--decoder-normalize-before": {"action": "store_true", "help": "always on: normalise the input of blocks"},
    "--adaptive-softmax-cutoff": {"metavar": "N,N,...", "help": "where the bands of an adaptive softmax begin"},
    "--adaptive-softmax-dropout": {**_RATE, "help": "dropout inside the adaptive softmax"},
    "--adaptive-softmax-factor": {"type": float, "metavar": "N", "help": "each band is so many times narrower"},
    "--no-token-positional-embeddings": {"action": "store_true", "help": "do not add position vectors"},
    "--share-decoder-input-output-embed": {"action": "store_true", "help": "use the word vectors as output layer"},
    "--character-embeddings": {"action": "store_true", "help": "compute word vectors from characters"},
    "--character-filters": {
        "type": str,
        "metavar": "LIST",
        "default": _FILTERS,
        "help": "(width, channels) of the convolutions over characters",
    },
    "--character-embedding-dim": {**_SIZE, "default": 4, "help": "width of character vectors"},
    "--char-embedder-highway-layers": {**_SIZE, "default": 2, "help": "highway layers over those convolutions"},
    "--adaptive-input": {"action": "store_true", "help": "give rare words narrower vectors"},
    "--adaptive-input-factor": {"type": float, "metavar": "N", "help": "each band is so many times narrower"},
    "--adaptive-input-cutoff": {"metavar": "N,N,...", "help": "where the bands of an adaptive input begin"},
    "--tie-adaptive-weights": {"action": "store_true", "help": "share vectors of adaptive input and softmax"},
    "--tie-adaptive-proj": {"action": "store_true", "help": "share their projections, too"},
    "--decoder-learned-pos": {"action": "store_true", "help": "learn the position vectors"},
    **CONVOLUTION_OPTIONS,
}


@register_model("lightconv_lm")
class LightConvLanguageModel(FairseqLanguageModel):
    """Convolutions over the words so far."""

    def __init__(self, decoder: LightConvDecoder) -> None:
        super().__init__(decoder)

    @staticmethod
    def add_args(parser: Any) -> None:  # type: ignore[override]
        """Add the options of the model."""
        for flag, settings in OPTIONS.items():
            parser.add_argument(flag, **settings)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> LightConvLanguageModel:
        """Build an instance from a namespace and the task's dictionary.

        Raises:
            AssertionError: shared adaptive weights that do not fit.
        """
        base_lm_architecture(args)
        for side in ("source", "target"):
            if getattr(args, f"max_{side}_positions", None) is None:
                setattr(args, f"max_{side}_positions", args.tokens_per_sample)
        if args.tie_adaptive_weights:
            _check_tied(args)
        embedding = _word_vectors(args, task)
        decoder = LightConvDecoder(args, task.output_dictionary, embedding, no_encoder_attn=True, final_norm=False)
        return cls(decoder)


def _word_vectors(args: Any, task: Any) -> Any:
    dictionary = task.dictionary
    if args.character_embeddings:
        return CharacterTokenEmbedder(
            dictionary,
            utils.parse_literal(args.character_filters),
            args.character_embedding_dim,
            args.decoder_embed_dim,
            args.char_embedder_highway_layers,
        )
    if args.adaptive_input:
        return AdaptiveInput(
            len(dictionary),
            dictionary.pad(),
            args.decoder_input_dim,
            args.adaptive_input_factor,
            args.decoder_embed_dim,
            utils.eval_str_list(args.adaptive_input_cutoff, type=int) or [],
        )
    embedding: nn.Embedding = Embedding(len(dictionary), args.decoder_input_dim, dictionary.pad())
    return embedding


def _check_tied(args: Any) -> None:
    if not args.adaptive_input:
        raise AssertionError("--tie-adaptive-weights needs --adaptive-input")
    for name in ("factor", "cutoff"):
        of_input, of_softmax = getattr(args, f"adaptive_input_{name}"), getattr(args, f"adaptive_softmax_{name}")
        if of_input != of_softmax:
            raise AssertionError(
                f"--tie-adaptive-weights: --adaptive-input-{name} {of_input} and --adaptive-softmax-{name} "
                f"{of_softmax} should be the same"
            )
    if args.decoder_input_dim != args.decoder_output_dim:
        raise AssertionError(
            f"--tie-adaptive-weights: --decoder-input-dim {args.decoder_input_dim} and --decoder-output-dim "
            f"{args.decoder_output_dim} should be the same"
        )


_arch = preset_functions(__name__, "lightconv_lm", PRESETS)
base_lm_architecture = _arch("base_lm_architecture", "lightconv_lm")
lightconv_lm_gbw = _arch("lightconv_lm_gbw")
