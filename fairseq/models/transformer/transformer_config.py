"""Configuration of the transformer: nested groups for encoder, decoder and quantisation noise.

The nested names (``cfg.encoder.embed_dim``) are what the model reads. The flat names of the command line and of old
checkpoints (``cfg.encoder_embed_dim``) are forwarded, for reading and for writing, so code of either kind works.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Set, Tuple

from fairseq import utils
from fairseq.dataclass.configs import FairseqDataclass
from fairseq.dataclass.constants import ChoiceEnum
from fairseq.dataclass.fields import II, is_interpolation, option

__all__ = [
    "DEFAULT_MAX_SOURCE_POSITIONS",
    "DEFAULT_MAX_TARGET_POSITIONS",
    "DEFAULT_MIN_PARAMS_TO_WRAP",
    "DecoderConfig",
    "EncDecBaseConfig",
    "QuantNoiseConfig",
    "TransformerConfig",
    "int_list",
]

DEFAULT_MAX_SOURCE_POSITIONS = 1024
DEFAULT_MAX_TARGET_POSITIONS = 1024
DEFAULT_MIN_PARAMS_TO_WRAP = int(1e8)

# Flat prefix -> nested group.
_GROUPS = ("encoder", "decoder", "quant_noise")


def int_list(value: Any) -> Optional[List[int]]:
    """``"2,4"``, ``[2, 4]`` or ``None`` as a list of integers; options come in all three forms."""
    if value is None or (isinstance(value, str) and not value):
        return None
    if isinstance(value, str):
        return [int(x) for x in utils.eval_str_list(value, type=int)]
    return [int(x) for x in value]


def _split(name: str) -> Optional[Tuple[str, str]]:
    """``encoder_embed_dim`` -> ``("encoder", "embed_dim")``; ``None`` for names of no group."""
    for group in _GROUPS:
        if name.startswith(group + "_"):
            return group, name[len(group) + 1 :]
    return None


@dataclass
class EncDecBaseConfig(FairseqDataclass):
    """What encoder and decoder have in common."""

    embed_path: Optional[str] = option(None, "text file with pre-trained embeddings")
    embed_dim: Optional[int] = option(512, "width of the layers")
    ffn_embed_dim: int = option(2048, "width inside the feed-forward blocks")
    layers: int = option(6, "number of layers")
    attention_heads: int = option(8, "number of attention heads")
    normalize_before: bool = option(False, "normalise the input of each block instead of its output")
    learned_pos: bool = option(False, "learn the position embeddings instead of computing sinusoids")
    layerdrop: float = option(0, "probability of leaving out a layer in training (LayerDrop)")
    layers_to_keep: Optional[List[int]] = option(None, "load and run only these layers, e.g. 0,2,4")
    xformers_att_config: Optional[str] = option(None, "attention of the xFormers library (refused: use none)")


@dataclass
class DecoderConfig(EncDecBaseConfig):
    """What only decoders have."""

    input_dim: int = II("model.decoder.embed_dim")
    output_dim: int = option(II("model.decoder.embed_dim"), "width of the output features, before the vocabulary")

    def __post_init__(self) -> None:
        """Let the two widths follow ``embed_dim`` where nothing else is said, as the interpolation would."""
        for name in ("input_dim", "output_dim"):
            value = getattr(self, name)
            if is_interpolation(value):
                setattr(self, name, self.embed_dim)
            elif isinstance(value, str):
                # The flag has no type of its own, so its value comes as text.
                setattr(self, name, int(value))


@dataclass
class QuantNoiseConfig(FairseqDataclass):
    """Noise that prepares weights for quantisation (Stock et al. 2020)."""

    pq: float = option(0.0, "share of weight blocks that product-quantisation noise drops in training")
    pq_block_size: int = option(8, "size of those blocks")
    scalar: float = option(0.0, "share of weights that scalar-quantisation noise rounds in training")


@dataclass
class TransformerConfig(FairseqDataclass):
    """Everything a transformer encoder-decoder is built from."""

    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = option(  # type: ignore[valid-type]
        "relu", "activation in the feed-forward blocks"
    )
    dropout: float = option(0.1, "dropout after each block")
    attention_dropout: float = option(0.0, "dropout on attention weights")
    activation_dropout: float = field(
        default=0.0,
        # The flag --relu-dropout belongs to the field of that name below; this is a note for readers of the config.
        metadata={"help": "dropout after the activation in feed-forward blocks", "alias": "--relu-dropout"},
    )
    adaptive_input: bool = False
    encoder: EncDecBaseConfig = field(default_factory=EncDecBaseConfig)
    max_source_positions: int = option(DEFAULT_MAX_SOURCE_POSITIONS, "longest source sequence")
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    max_target_positions: int = option(DEFAULT_MAX_TARGET_POSITIONS, "longest target sequence")
    share_decoder_input_output_embed: bool = option(False, "use the decoder's embeddings as output projection too")
    share_all_embeddings: bool = option(
        False, "one embedding matrix for encoder, decoder and output (needs a joined dictionary)"
    )
    merge_src_tgt_embed: bool = option(
        False, "with one joined dictionary: merge source and target embeddings into one table"
    )
    no_token_positional_embeddings: bool = option(False, "use no position embeddings")
    adaptive_softmax_cutoff: Optional[List[int]] = option(
        None, "band limits of the adaptive softmax, e.g. 4000,20000; goes with the adaptive_loss criterion"
    )
    adaptive_softmax_dropout: float = option(0.0, "dropout in the tails of the adaptive softmax")
    adaptive_softmax_factor: float = option(4, "how much narrower each band of the adaptive softmax is")
    layernorm_embedding: bool = option(False, "normalise the embeddings")
    tie_adaptive_weights: bool = option(False, "share the weights of adaptive input and adaptive softmax")
    tie_adaptive_proj: bool = option(False, "share the projections of adaptive input and adaptive softmax")
    no_scale_embedding: bool = option(False, "do not multiply embeddings by the square root of their width")
    checkpoint_activations: bool = option(
        False, "recompute activations in the backward pass instead of keeping them: less memory, more time"
    )
    offload_activations: bool = option(
        False, "keep checkpointed activations in host memory (implies --checkpoint-activations)"
    )
    no_cross_attention: bool = option(False, "decoder layers without attention to the encoder")
    cross_self_attention: bool = option(False, "one attention over encoder output and target prefix together")
    quant_noise: QuantNoiseConfig = field(default_factory=QuantNoiseConfig)
    min_params_to_wrap: int = option(
        DEFAULT_MIN_PARAMS_TO_WRAP, "smallest layer, in parameters, that is a unit of fully sharded training"
    )
    char_inputs: bool = option(False, "the source consists of character ids")
    relu_dropout: float = 0.0
    base_layers: Optional[int] = option(0, "number of BASE layers (mixture of experts) in the decoder")
    base_sublayers: Optional[int] = option(1, "feed-forward blocks in each BASE layer")
    base_shuffle: Optional[int] = option(1, "shuffle tokens between workers before BASE layers assign them")
    export: bool = option(False, "build layers that trace well: no fused kernels")
    no_decoder_final_norm: bool = option(False, "no normalisation after the last decoder layer")

    def __getattr__(self, name: str) -> Any:
        # Only called for names that are no field: flat spellings of nested ones.
        parts = _split(name)
        if parts is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(getattr(self, parts[0]), parts[1])

    def __setattr__(self, name: str, value: Any) -> None:
        parts = None if name in type(self).__dataclass_fields__ else _split(name)
        if parts is None:
            super().__setattr__(name, value)
        else:
            setattr(getattr(self, parts[0]), parts[1], value)

    @classmethod
    def from_namespace(cls, args: Any) -> Any:
        """Make a nested config from flat options.

        Args:
            args: a namespace, a ``DictConfig`` or any object with attributes; flat names (``encoder_embed_dim``) and
                nested groups (``encoder``) are both understood. A config of this class and ``None`` are returned as
                they are. Options that no field knows (a plugin's) become attributes of the config.
        """
        if args is None or isinstance(args, cls):
            return args
        given = SimpleNamespace(**_as_dict(args))
        config = cls()
        seen: Set[str] = set()
        for item in fields(cls):
            if item.name in _GROUPS:
                # A subclass may have a richer class of decoder options.
                kind = type(getattr(config, item.name))
                setattr(config, item.name, cls._copy_keys(given, kind, item.name, seen))
            elif hasattr(given, item.name):
                setattr(config, item.name, getattr(given, item.name))
                seen.add(item.name)
        for name, value in vars(given).items():
            if name not in seen:
                setattr(config, name, value)
        return config

    @staticmethod
    def _copy_keys(args: Any, cls: Any, prefix: str, seen: Set[str]) -> Any:
        """Build one nested group from flat options and from a group; config classes of plug-ins override it.

        Args:
            args: object with attributes ``PREFIX_NAME`` or ``PREFIX`` (a group: dictionary, config, namespace).
            cls: class of the group.
            prefix: ``encoder``, ``decoder`` or ``quant_noise``.
            seen: receives the names of the attributes that were used.
        """
        known = [item.name for item in fields(cls)]
        values = {name: getattr(args, f"{prefix}_{name}") for name in known if _has_flat(args, prefix, name)}
        seen.update(f"{prefix}_{name}" for name in values)
        nested = getattr(args, prefix, None)
        if nested is not None:
            # Groups win: a YAML file with groups has flat names too, filled in by the architecture.
            values.update((name, value) for name, value in _as_dict(nested).items() if name in known)
        seen.add(prefix)
        return cls(**values)


def _as_dict(args: Any) -> Dict[str, Any]:
    if type(args).__module__.startswith("omegaconf."):
        from omegaconf import OmegaConf
        from omegaconf.errors import InterpolationResolutionError

        values: Dict[str, Any] = {}
        for key in args:
            # A section taken out of its config has references that lead nowhere; the field's default stands then.
            try:
                if not OmegaConf.is_missing(args, key):
                    values[str(key)] = args[key]
            except InterpolationResolutionError:
                continue
        return values
    if hasattr(args, "items"):
        return dict(args.items())
    if is_dataclass(args):
        return {item.name: getattr(args, item.name) for item in fields(args)}
    return {name: value for name, value in vars(args).items() if not name.startswith("__")}


def _has_flat(args: Any, prefix: str, name: str) -> bool:
    # Every config has a _name, which is no option.
    return name != "_name" and hasattr(args, f"{prefix}_{name}")
