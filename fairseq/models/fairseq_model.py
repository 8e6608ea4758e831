"""The model contracts that trainer, generators and checkpoints rely on."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fairseq.models.fairseq_decoder import FairseqDecoder
from fairseq.models.fairseq_encoder import FairseqEncoder
from fairseq.models.feature_forward import ends_with_output_layer

__all__ = [
    "BaseFairseqModel",
    "FairseqEncoderDecoderModel",
    "FairseqEncoderModel",
    "FairseqLanguageModel",
    "FairseqModel",
    "FairseqMultiModel",
    "check_type",
]

logger = logging.getLogger(__name__)


def check_type(module: Any, expected_type: type) -> None:
    """Refuse a part of the wrong kind.

    Raises:
        AssertionError: ``module`` (or, if it is a wrapper, what it holds in ``module``) is no ``expected_type``.
    """
    inner = getattr(module, "unwrapped_module", module)
    if not isinstance(inner, expected_type):
        raise AssertionError(f"{type(inner)} != {expected_type}")


class BaseFairseqModel(nn.Module):
    """Base class of all models."""

    def __init__(self) -> None:
        super().__init__()
        self._is_generation_fast = False

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the model's options to an argparse parser; a model with a config class gets those of its fields."""
        dataclass = getattr(cls, "__dataclass", None)
        if dataclass is not None:
            from fairseq.dataclass.utils import gen_parser_from_dataclass

            # Without defaults, so that an architecture can tell what the user gave.
            gen_parser_from_dataclass(parser, dataclass(), delete_default=True)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> BaseFairseqModel:
        """Build an instance from options (a namespace or a config section) and the task's dictionaries."""
        raise NotImplementedError("Model must implement the build_model method")

    def get_targets(self, sample: dict[str, Any], net_output: Any) -> Tensor:
        """What the criterion compares the output with: ``sample["target"]``, ``(batch, tgt_len)``."""
        return sample["target"]

    def get_normalized_probs(
        self,
        net_output: tuple[Tensor, dict[str, list[Tensor | None]] | None],
        log_probs: bool,
        sample: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(Log-)probabilities, float32, from what ``forward`` returned."""
        return self.get_normalized_probs_scriptable(net_output, log_probs, sample)

    # TorchScript has no super(), so the work is done under a second name that subclasses leave alone.
    def get_normalized_probs_scriptable(
        self,
        net_output: tuple[Tensor, dict[str, list[Tensor | None]] | None],
        log_probs: bool,
        sample: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Ask the decoder if there is one; else normalise a bare tensor of logits."""
        if hasattr(self, "decoder"):
            return self.decoder.get_normalized_probs(net_output, log_probs, sample)  # type: ignore
        if torch.is_tensor(net_output):
            logits = net_output.float()
            return F.log_softmax(logits, dim=-1) if log_probs else F.softmax(logits, dim=-1)
        raise NotImplementedError(
            f"{type(self).__name__}.get_normalized_probs: the model has no decoder and its output is no tensor"
        )

    def extract_features(self, *args: Any, **kwargs: Any) -> Any:
        """As ``forward``, but stop before the output layer, where a model tells the two apart."""
        return self(*args, **kwargs)

    def max_positions(self) -> Any:
        """Longest input, in tokens: a number, a pair, a dictionary, or ``None`` for no limit."""
        return None

    def load_state_dict(  # type: ignore[override]
        self,
        state_dict: dict[str, Any],
        strict: bool = True,
        model_cfg: Any = None,
        args: Namespace | None = None,
    ) -> Any:
        """Load parameters, after upgrading old names and dropping layers that the config drops.

        Args:
            state_dict: as saved; changed in place by upgrades.
            strict: refuse missing and unexpected names.
            model_cfg: the ``model`` section; ``--encoder-layers-to-keep`` and its like are read from it.
            args: the same as a flat namespace; used when ``model_cfg`` is not given.

        Returns:
            What ``nn.Module.load_state_dict`` returns.
        """
        if model_cfg is None and args is not None:
            from fairseq.dataclass.utils import convert_namespace_to_omegaconf

            logger.warning("load_state_dict(args=...) is deprecated: pass model_cfg, the model section of a config")
            model_cfg = convert_namespace_to_omegaconf(args).model
        self.upgrade_state_dict(state_dict)
        if model_cfg is not None:
            # Upwards in the layer table: only the checkpoint side knows how to renumber layers.
            from fairseq.checkpoint_utils import prune_state_dict

            state_dict = prune_state_dict(state_dict, model_cfg)
        return super().load_state_dict(state_dict, strict)

    def upgrade_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Bring an old state dict up to date, in place."""
        self.upgrade_state_dict_named(state_dict, "")

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Let every part of the model upgrade its entries, parents first.

        A part is asked through ``upgrade_state_dict_named(state_dict, dotted name)`` or, if it lacks that, through
        ``upgrade_state_dict(state_dict)``.
        """
        root = name + "." if name else ""
        # A shared part has entries under each of its names.
        for path, module in self.named_modules(remove_duplicate=False):
            if module is self:
                continue
            if hasattr(module, "upgrade_state_dict_named"):
                module.upgrade_state_dict_named(state_dict, root + path)
            elif hasattr(module, "upgrade_state_dict"):
                module.upgrade_state_dict(state_dict)

    def set_num_updates(self, num_updates: int) -> None:
        """Tell every part that wants to know how many updates were made."""
        for module in self.modules():
            if module is not self and hasattr(module, "set_num_updates"):
                module.set_num_updates(num_updates)  # type: ignore[operator]

    def set_epoch(self, epoch: int) -> None:
        """Tell every part that wants to know which epoch it is, counted from 1."""
        for module in self.modules():
            if module is not self and hasattr(module, "set_epoch"):
                module.set_epoch(epoch)  # type: ignore[operator]

    def prepare_for_inference_(self, cfg: Any) -> None:
        """Make the model ready for generation, as the ``generation`` section of a config wants it."""
        generation = cfg.generation
        options: dict[str, Any] = {
            "beamable_mm_beam_size": None if getattr(generation, "no_beamable_mm", False) else generation.beam,
            "need_attn": bool(getattr(generation, "print_alignment", False))
            or getattr(generation, "replace_unk", None) is not None,
        }
        if getattr(generation, "retain_dropout", False):
            options["retain_dropout"] = generation.retain_dropout
            options["retain_dropout_modules"] = generation.retain_dropout_modules
        self.make_generation_fast_(**options)

    def make_generation_fast_(self, **kwargs: Any) -> None:
        """Trade the ability to train for speed; once, and for good.

        Weight normalisation is folded into plain weights, and every part that has a ``make_generation_fast_`` is called
        with ``name=`` its dotted path and ``kwargs``. Afterwards ``train()`` raises ``RuntimeError``.
        """
        if getattr(self, "_is_generation_fast", False):
            return
        self._is_generation_fast = True
        for module in self.modules():
            _remove_weight_norm(module)
        for path, module in self.named_modules():
            # A model inside this one would only visit the same parts again.
            if module is self or getattr(type(module), "make_generation_fast_", None) in (None, _BASE_FAST):
                continue
            module.make_generation_fast_(name=path, **kwargs)

        self.eval()

    def train(self, mode: bool = True) -> BaseFairseqModel:
        """As ``nn.Module.train``, but refuse to train a model that was made fast for generation."""
        if mode and getattr(self, "_is_generation_fast", False):
            raise RuntimeError("cannot train after make_generation_fast")
        return super().train(mode)

    def prepare_for_onnx_export_(self, **kwargs: Any) -> None:
        """Let every part take the ways through its code that ONNX can trace."""
        for module in self.modules():
            if module is not self and hasattr(module, "prepare_for_onnx_export_"):
                module.prepare_for_onnx_export_(**kwargs)  # type: ignore[operator]

    @classmethod
    def from_pretrained(
        cls,
        model_name_or_path: str,
        checkpoint_file: str = "model.pt",
        data_name_or_path: str = ".",
        **kwargs: Any,
    ) -> Any:
        """Load a trained model together with its task, ready to translate or to score.

        Args:
            model_name_or_path: a name of ``hub_models()``, a URL, an archive or a folder.
            checkpoint_file: file name in that folder; several, joined by ``os.pathsep``, make an ensemble.
            data_name_or_path: where the dictionaries are; relative to the model if it begins with a dot.
            kwargs: options that override those saved in the checkpoint.

        Returns:
            A :class:`fairseq.hub_utils.GeneratorHubInterface`.
        """
        # Upwards in the layer table: loading builds tasks and models.
        from fairseq import hub_utils

        loaded = hub_utils.from_pretrained(
            model_name_or_path, checkpoint_file, data_name_or_path, archive_map=cls.hub_models(), **kwargs
        )
        logger.info(loaded["args"])
        return hub_utils.GeneratorHubInterface(loaded["args"], loaded["task"], loaded["models"])

    @classmethod
    def hub_models(cls) -> dict[str, Any]:
        """Published models: name -> URL, or a dictionary with ``path`` and options."""
        return {}


_BASE_FAST = BaseFairseqModel.make_generation_fast_


def _remove_weight_norm(module: nn.Module) -> None:
    """Fold weight normalisation of this module (not of its children), of fairseq's or torch's making."""
    from torch.nn.utils import parametrize

    from fairseq.modules.weight_norm import WeightNorm, remove_weight_norm

    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif type(hook).__name__ == "WeightNorm":
            # torch's own, of the older kind
            hook.remove(module)  # type: ignore[attr-defined]
            del module._forward_pre_hooks[key]
    if parametrize.is_parametrized(module):
        for name, chain in list(module.parametrizations.items()):  # type: ignore[union-attr, operator]
            if any(type(step).__name__ == "_WeightNorm" for step in chain):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


class FairseqEncoderDecoderModel(BaseFairseqModel):
    """Base class of sequence-to-sequence models.

    Args:
        encoder: a :class:`FairseqEncoder`.
        decoder: a :class:`FairseqDecoder`.
    """

    def __init__(self, encoder: FairseqEncoder, decoder: FairseqDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        check_type(self.encoder, FairseqEncoder)
        check_type(self.decoder, FairseqDecoder)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **kwargs: Any) -> Any:
        """Encode the source and score the target under teacher forcing.

        Args:
            src_tokens: ``(batch, src_len)``.
            src_lengths: ``(batch,)``.
            prev_output_tokens: ``(batch, tgt_len)``, the target shifted right by one.

        Returns:
            What the decoder returns: ``((batch, tgt_len, vocab), extra)``.
        """
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths, **kwargs)
        return self.decoder(prev_output_tokens, encoder_out=encoder_out, **kwargs)

    def forward_decoder(self, prev_output_tokens: Tensor, **kwargs: Any) -> Any:
        """Run the decoder alone; ``encoder_out`` is among ``kwargs``."""
        return self.decoder(prev_output_tokens, **kwargs)

    def extract_features(  # type: ignore[override]
        self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **kwargs: Any
    ) -> Any:
        """As ``forward``, but stop before the output layer: ``((batch, tgt_len, embed_dim), extra)``."""
        encoder_out = self.encoder(src_tokens, src_lengths=src_lengths, **kwargs)
        return self.decoder.extract_features(prev_output_tokens, encoder_out=encoder_out, **kwargs)

    def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Project features to the vocabulary."""
        return self.decoder.output_layer(features, **kwargs)

    def max_positions(self) -> Any:
        """``(longest source, longest target)``, in tokens."""
        return (self.encoder.max_positions(), self.decoder.max_positions())

    def max_decoder_positions(self) -> Any:
        """Longest target, in tokens."""
        return self.decoder.max_positions()


class FairseqModel(FairseqEncoderDecoderModel):
    """Old name of :class:`FairseqEncoderDecoderModel`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        from fairseq import utils

        utils.deprecation_warning(
            "FairseqModel is deprecated: derive from FairseqEncoderDecoderModel or BaseFairseqModel", stacklevel=4
        )


class FairseqMultiModel(BaseFairseqModel):
    """Several encoder-decoder pairs, one per key (a language pair, usually), that may share parts.

    Args:
        encoders: key -> encoder.
        decoders: key -> decoder, with the same keys.
    """

    def __init__(self, encoders: dict[str, FairseqEncoder], decoders: dict[str, FairseqDecoder]) -> None:
        super().__init__()
        if encoders.keys() != decoders.keys():
            raise AssertionError(f"encoders for {list(encoders)}, but decoders for {list(decoders)}")
        self.keys = list(encoders.keys())
        for key in self.keys:
            check_type(encoders[key], FairseqEncoder)
            check_type(decoders[key], FairseqDecoder)
        self.models = nn.ModuleDict(
            {key: FairseqEncoderDecoderModel(encoders[key], decoders[key]) for key in self.keys}
        )

    @staticmethod
    def build_shared_embeddings(
        dicts: dict[str, Any],
        langs: list[str],
        embed_dim: int,
        build_embedding: Callable[..., nn.Embedding],
        pretrained_embed_path: str | None = None,
    ) -> nn.Embedding:
        """Build one embedding for several languages.

        Args:
            dicts: language -> dictionary.
            langs: the languages that share.
            embed_dim: width of the embedding.
            build_embedding: ``f(dictionary, embed_dim, path)``.
            pretrained_embed_path: a text file with vectors to begin with.

        Raises:
            ValueError: the languages have different dictionaries.
        """
        shared = dicts[langs[0]]
        if any(dicts[lang] != shared for lang in langs):
            raise ValueError(
                f"--share-*-embeddings requires a joined dictionary, but {', '.join(langs)} have different ones; "
                "prepare the data with one dictionary for all languages that share"
            )
        return build_embedding(shared, embed_dim, pretrained_embed_path)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **kwargs: Any) -> Any:
        """Run the batch through every pair: key -> decoder output."""
        outputs = {}
        for key in self.keys:
            pair = self.models[key]
            encoder_out = pair.encoder(src_tokens, src_lengths, **kwargs)  # type: ignore[operator, union-attr]
            outputs[key] = pair.decoder(prev_output_tokens, encoder_out, **kwargs)  # type: ignore[operator, union-attr]
        return outputs

    def max_positions(self) -> dict[str, Any]:  # type: ignore[override]
        """Key -> ``(longest source, longest target)``."""
        return {
            key: (self.models[key].encoder.max_positions(), self.models[key].decoder.max_positions())  # type: ignore
            for key in self.keys
        }

    def max_decoder_positions(self) -> Any:
        """Longest target that every decoder takes."""
        return min(pair.decoder.max_positions() for pair in self.models.values())  # type: ignore

    @property
    def encoder(self) -> Any:
        """The encoder of the first key."""
        return self.models[self.keys[0]].encoder

    @property
    def decoder(self) -> Any:
        """The decoder of the first key."""
        return self.models[self.keys[0]].decoder

    def forward_decoder(self, prev_output_tokens: Tensor, **kwargs: Any) -> Any:
        """Run the decoder of the first key."""
        return self.decoder(prev_output_tokens, **kwargs)


class FairseqLanguageModel(BaseFairseqModel):
    """Base class of decoder-only models.

    Args:
        decoder: a :class:`FairseqDecoder`.
    """

    def __init__(self, decoder: FairseqDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        check_type(self.decoder, FairseqDecoder)

    def __prepare_scriptable__(self) -> nn.Module:
        # A model with a forward of its own is compiled as it is.
        return ScriptableLanguageModel(self.decoder) if type(self).forward is FairseqLanguageModel.forward else self

    def forward(self, src_tokens: Tensor, **kwargs: Any) -> Any:
        """Score the next token at every position.

        Args:
            src_tokens: ``(batch, seq_len)``.

        Returns:
            ``((batch, seq_len, vocab), extra)``.
        """
        return self.decoder(src_tokens, **kwargs)

    def forward_decoder(self, prev_output_tokens: Tensor, **kwargs: Any) -> Any:
        """As ``forward``; the name that generation uses."""
        return self.decoder(prev_output_tokens, **kwargs)

    def extract_features(self, src_tokens: Tensor, **kwargs: Any) -> Any:  # type: ignore[override]
        """As ``forward``, but stop before the output layer: ``((batch, seq_len, embed_dim), extra)``."""
        return self.decoder.extract_features(src_tokens, **kwargs)

    def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
        """Project features to the vocabulary."""
        return self.decoder.output_layer(features, **kwargs)

    def max_positions(self) -> Any:
        """Longest sequence, in tokens."""
        return self.decoder.max_positions()

    def max_decoder_positions(self) -> Any:
        """Longest sequence, in tokens."""
        return self.decoder.max_positions()

    @property
    def supported_targets(self) -> set[str]:
        """Kinds of targets that the model can be trained on: ``"self"``, ``"past"``, ``"future"``."""
        return {"future"}


class ScriptableLanguageModel(nn.Module):
    """What ``torch.jit.script`` compiles in place of a language model, whose ``**kwargs`` TorchScript does not know."""

    def __init__(self, decoder: FairseqDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    # The result is the decoder's, whose type differs between families: TorchScript infers it.
    def forward(  # type: ignore[no-untyped-def]
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
    ):
        """See ``FairseqLanguageModel.forward``; ``src_lengths`` is not used, padding is told from the tokens."""
        return self.decoder(src_tokens, incremental_state=incremental_state)

    @torch.jit.export
    def get_normalized_probs(
        self,
        net_output: tuple[Tensor, dict[str, list[Tensor | None]] | None],
        log_probs: bool,
        sample: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """(Log-)probabilities, float32."""
        return self.decoder.get_normalized_probs(net_output, log_probs, sample)


class FairseqEncoderModel(BaseFairseqModel):
    """Base class of encoder-only models.

    Args:
        encoder: a :class:`FairseqEncoder`.
    """

    def __init__(self, encoder: FairseqEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        check_type(self.encoder, FairseqEncoder)

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, **kwargs: Any) -> Any:
        """Encode a batch of ``(batch, src_len)`` tokens with ``(batch,)`` lengths."""
        return self.encoder(src_tokens, src_lengths, **kwargs)

    def get_normalized_probs(self, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
        """(Log-)probabilities, float32, from the ``encoder_out`` entry of the output."""
        encoder_out = net_output["encoder_out"]
        if torch.is_tensor(encoder_out):
            logits = encoder_out.float()
            return F.log_softmax(logits, dim=-1) if log_probs else F.softmax(logits, dim=-1)
        raise NotImplementedError(f"{type(self).__name__}.get_normalized_probs: encoder_out is no tensor")

    def max_positions(self) -> Any:
        """Longest input, in tokens."""
        return self.encoder.max_positions()


ends_with_output_layer(FairseqEncoderDecoderModel.forward, "extract_features")
ends_with_output_layer(FairseqLanguageModel.forward, "extract_features")
