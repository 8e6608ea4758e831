"""A tiny model of every architecture, with a task, a batch and a loss, for ``test_every_architecture.py``.

The options of an architecture are set as its command line would set them. Then ``SIZES`` makes every width and depth
small; what an architecture says about structure (norms, sharing, adaptive vocabularies, kernels) stays. Encoder-decoder
models and language models need nothing more. A family with another task, another batch or other sizes adds a row to
``RECIPES``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_NAME_REGISTRY,
    ARCH_MODEL_REGISTRY,
    FairseqEncoderDecoderModel,
    FairseqLanguageModel,
)
from fairseq.modules import FairseqDropout

NUM_SYMBOLS = 24
# A probability that drops nothing. Where it is zero, dropout, sum and norm are not one operation.
NEGLIGIBLE = 1e-12
LENGTHS = torch.tensor([6, 5, 4])
LEFT_PADDED = torch.tensor([[4, 5, 6, 7, 8, 2], [1, 12, 13, 14, 15, 2], [1, 1, 9, 10, 11, 2]])
PREVIOUS = torch.tensor([[2, 5, 16, 17, 8], [2, 18, 19, 1, 1], [2, 20, 21, 9, 1]])
TARGET = torch.tensor([[5, 16, 17, 8, 2], [18, 19, 2, 1, 1], [20, 21, 9, 2, 1]])

Size = Callable[[Any], Any]


def _channels(expression: str) -> str:
    """Layers of a convolutional model, ``[(512, 3)] * 9``: a 32nd of the channels, each group once."""
    fewer = re.sub(r"\*\s*\d+", "* 1", expression)
    return re.sub(r"\((\d+)", lambda match: f"({max(8, int(match.group(1)) // 32)}", fewer)


# Options by name and type; the first row that matches counts. Values that are off (None, 0, booleans) stay.
SIZES: tuple[tuple[str, type, Size], ...] = (
    (r"layers", int, lambda value: min(value, 2)),
    (r"layers", str, _channels),
    (r"ffn_embed_dim", int, lambda _: 24),
    (r"heads", int, lambda value: min(value, 2)),
    (r"(dim|hidden_size)", int, lambda _: 16),
    (r"kernel_size_list", list, lambda value: value[:2]),
    (r"adaptive_(softmax|input)_cutoff", str, lambda _: "8,16"),
)


def translation_sample() -> dict[str, Any]:
    """Three sentence pairs, padded."""
    return {
        "id": torch.arange(3),
        "nsentences": 3,
        "ntokens": int(TARGET.ne(1).sum()),
        "net_input": {"src_tokens": LEFT_PADDED, "src_lengths": LENGTHS, "prev_output_tokens": PREVIOUS},
        "target": TARGET,
    }


def language_model_sample() -> dict[str, Any]:
    """Three sentences, padded, with the next tokens as targets."""
    return {
        "id": torch.arange(3),
        "nsentences": 3,
        "ntokens": int(TARGET.ne(1).sum()),
        "net_input": {"src_tokens": PREVIOUS, "src_lengths": torch.tensor([5, 3, 4])},
        "target": TARGET,
    }


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the models of a family need besides their architecture.

    Attributes:
        words: command line after the data folder (which holds ``dict.txt``, ``dict.aa.txt``, ``dict.bb.txt``).
        sample: makes a batch as the task would.
        sizes: option -> small value, for what ``SIZES`` does not shrink, or shrinks too far.
        prepare: completes the task (dictionaries of further streams).
        decodes: ``"generate"`` (the generator of the task), ``"score"`` (the scorer of given tokens) or
            ``"probabilities"`` (neither exists; the normalised outputs are compared).
        scripts: what TorchScript compiles: ``"model"``, ``"decoder"`` (a language model's ``forward`` takes any
            keyword, which TorchScript refuses, here and upstream), or nothing.
        script_options: option -> value for that; TorchScript refuses adaptive vocabularies.
    """

    words: tuple[str, ...]
    sample: Callable[[], dict[str, Any]]
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    prepare: Callable[[Any], None] | None = None
    decodes: str = "generate"
    scripts: str = ""
    script_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


PLAIN_VOCABULARY = {"adaptive_softmax_cutoff": None, "adaptive_input": False, "tie_adaptive_weights": False}
TRANSLATION = Recipe(
    words=("--task", "translation", "-s", "aa", "-t", "bb", "--criterion", "label_smoothed_cross_entropy"),
    sample=translation_sample,
)
LANGUAGE_MODEL = Recipe(words=("--task", "language_modeling"), sample=language_model_sample)
SCRIPTED_TRANSLATION = dataclasses.replace(TRANSLATION, scripts="model", script_options=PLAIN_VOCABULARY)
SCRIPTED_LANGUAGE_MODEL = dataclasses.replace(LANGUAGE_MODEL, scripts="decoder", script_options=PLAIN_VOCABULARY)


def _alignment_sample() -> dict[str, Any]:
    # Position in the padded source, position in all targets of the batch joined.
    links = torch.tensor([[0, 0], [1, 1], [2, 5], [3, 10]])
    return {**translation_sample(), "alignments": links, "align_weights": torch.ones(len(links))}


def _unit_sample() -> dict[str, Any]:
    units, padding = language_model_sample(), PREVIOUS.eq(1)
    durations = torch.arange(15.0).view(3, 5) / 4
    pitch = durations.flip(0) - 1
    net_input = {**units["net_input"], "dur_src": durations, "f0_src": pitch}
    masks = {"mask": padding, "dur_mask": padding, "f0_mask": padding}
    return {**units, **masks, "net_input": net_input, "dur_target": durations + 1, "f0_target": pitch / 2}


def _add_unit_streams(task: Any) -> None:
    """The streams that the task of speech units gives its model."""
    flags = ("discrete_duration", "discrete_f0", "ignore_duration_input", "ignore_f0_input")
    task.cfg = SimpleNamespace(**dict.fromkeys(flags, False))
    task.source_duration_dictionary = task.source_f0_dictionary = None
    task.channel_names, task.channel_sizes = ["token", "duration", "f0"], [len(task.source_dictionary), 1, 1]


# Model (not architecture) -> recipe, where the class of the model does not say it all.
RECIPES: dict[str, Recipe] = {
    "dummy_model": dataclasses.replace(
        LANGUAGE_MODEL, sizes={"num_layers": 1, "embed_dim": 8}, decodes="probabilities"
    ),
    "lightconv": SCRIPTED_TRANSLATION,
    "lightconv_lm": SCRIPTED_LANGUAGE_MODEL,
    "lstm": SCRIPTED_TRANSLATION,
    "lstm_lm": SCRIPTED_LANGUAGE_MODEL,
    "transformer": SCRIPTED_TRANSLATION,
    "transformer_align": Recipe(
        words=(*TRANSLATION.words[:-1], "label_smoothed_cross_entropy_with_alignment"),
        sample=_alignment_sample,
        sizes={"alignment_layer": 1},
    ),
    "transformer_lm": SCRIPTED_LANGUAGE_MODEL,
    "transformer_ulm": Recipe(
        words=("--task", "language_modeling", "--criterion", "speech_unit_lm_criterion"),
        sample=_unit_sample,
        prepare=_add_unit_streams,
        decodes="probabilities",
    ),
}


def recipe_of(arch: str) -> Recipe:
    """The recipe for the model of an architecture.

    Raises:
        LookupError: the model is of another kind and has no row in ``RECIPES``.
    """
    name, cls = ARCH_MODEL_NAME_REGISTRY[arch], ARCH_MODEL_REGISTRY[arch]
    if name in RECIPES:
        return RECIPES[name]
    if issubclass(cls, FairseqLanguageModel):
        return LANGUAGE_MODEL
    if issubclass(cls, FairseqEncoderDecoderModel):
        return TRANSLATION
    raise LookupError(f"add a recipe for the model {name!r} to RECIPES in tests/contract/tiny_models.py")


def architectures() -> list[str]:
    """All registered architectures of this package, without those of plug-ins that other tests load."""
    return sorted(arch for arch in ARCH_MODEL_REGISTRY if ARCH_CONFIG_REGISTRY[arch].__module__.startswith("fairseq."))


@functools.lru_cache(maxsize=1)
def _data() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="tiny_models_")
    dictionary = Dictionary()
    for index in range(NUM_SYMBOLS):
        dictionary.add_symbol(f"w{index}")
    for name in ("dict.txt", "dict.aa.txt", "dict.bb.txt"):
        dictionary.save(str(Path(folder.name) / name))
    return folder


def _tiny(name: str, value: Any, fixed: Mapping[str, Any], dropout: bool) -> Any:
    if name in fixed:
        return fixed[name]
    if not dropout and "drop" in name and type(value) in (int, float):
        return NEGLIGIBLE if name == "dropout" else 0.0
    for pattern, kind, size in SIZES:
        if type(value) is kind and value and re.search(rf"(^|_){pattern}$", name):
            return size(value)
    return value


def shrink(model_options: Any, fixed: Mapping[str, Any], dropout: bool) -> None:
    """Make the options of a model tiny, in place.

    Args:
        model_options: a namespace or a config node.
        fixed: values of options that ``SIZES`` does not decide.
        dropout: keep the probabilities of dropping; otherwise nothing is dropped.
    """
    for name in list(vars(model_options) if isinstance(model_options, Namespace) else model_options):
        value = getattr(model_options, name)
        small = _tiny(name, value, fixed, dropout)
        if small is not value:
            setattr(model_options, name, small)


class Tiny:
    """A tiny model of an architecture.

    Args:
        arch: a registered architecture.
        dropout: keep the probabilities of the architecture; otherwise nothing is dropped.
        fixed: further options of the model.
    """

    def __init__(self, arch: str, dropout: bool = False, **fixed: Any) -> None:
        self.recipe = recipe_of(arch)
        words = [_data().name, "--arch", arch, *self.recipe.words, "--optimizer", "adam", "--lr", "0.01"]
        args = options.parse_args_and_arch(options.get_training_parser(), words)
        if getattr(args, "adaptive_softmax_cutoff", None):
            words += ["--criterion", "adaptive_loss", "--ddp-backend", "legacy_ddp"]
            args = options.parse_args_and_arch(options.get_training_parser(), words)
        self.cfg = convert_namespace_to_omegaconf(args)
        shrink(self.cfg.model, {**self.recipe.sizes, **fixed}, dropout)
        self.task = tasks.setup_task(self.cfg.task)
        if self.recipe.prepare is not None:
            self.recipe.prepare(self.task)
        self.dropout = dropout
        self.model = self.build()
        self.criterion = self.task.build_criterion(self.cfg.criterion)

    def build(self, seed: int = 1) -> nn.Module:
        """A model with the initial weights of a seed."""
        torch.manual_seed(seed)
        model = self.task.build_model(self.cfg.model)
        for module in model.modules():
            if not self.dropout and isinstance(module, (nn.Dropout, FairseqDropout)) and module.p > NEGLIGIBLE:
                module.p = 0.0  # a model may have probabilities that no option sets
        return model

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the batch in training mode, and the gradients by name."""
        self.model.train()
        self.criterion.train()
        self.model.zero_grad()
        loss, _, _ = self.criterion(self.model, self.recipe.sample())
        loss.backward()
        return loss.detach(), {n: p.grad for n, p in self.model.named_parameters() if p.grad is not None}

    def outputs(self, model: nn.Module | None = None) -> list[Tensor]:
        """All floating tensors that ``forward`` returns in evaluation mode."""
        model = self.model if model is None else model
        with torch.no_grad():
            return floating_tensors(model.eval()(**self.recipe.sample()["net_input"]))

    def decode(self) -> list[Any]:
        """What inference makes of the batch: tokens and scores of each hypothesis, or probabilities."""
        self.model.eval()
        sample = self.recipe.sample()
        if self.recipe.decodes == "probabilities":
            with torch.no_grad():
                out = self.model(**sample["net_input"])
                logits = next(iter(floating_tensors(out)))
                return [logits.log_softmax(-1)]
        self.cfg.generation.beam = 2
        self.cfg.generation.max_len_b = 6
        self.cfg.generation.score_reference = self.recipe.decodes == "score"
        generator = self.task.build_generator([self.model], self.cfg.generation)
        found = self.task.inference_step(generator, [self.model], sample)
        return [[(h["tokens"].tolist(), h["positional_scores"]) for h in best] for best in found]


def floating_tensors(value: Any) -> list[Tensor]:
    """The floating tensors of a nested result, in order."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in floating_tensors(part)]
    return []


def state_row(key: str, shape: Sequence[int], dtype: str) -> str:
    """``key 3x4``, with the dtype where it is not float32."""
    row = f"{key} {'x'.join(map(str, shape)) or 'scalar'}"
    return row if dtype == "float32" else f"{row} {dtype}"


def state_rows(model: nn.Module, by_name: bool = False) -> list[str]:
    """A row for each entry of a state dict; ``= key`` where it shares its storage with an earlier one.

    The order is that of the state dict, or alphabetical with ``by_name``.
    """
    rows, owners = [], dict[int, str]()
    items = model.state_dict().items()
    for key, value in sorted(items) if by_name else items:
        row = state_row(key, value.shape, str(value.dtype).removeprefix("torch."))
        first = owners.setdefault(value.data_ptr(), key) if value.numel() else key
        rows.append(row if first == key else f"{row} = {first}")
    return rows


def frozen_rows(states: Mapping[str, Any], arch: str) -> list[str]:
    """The rows of an architecture in a table where a name stands for an architecture with the same rows."""
    rows = states[arch]
    return states[rows] if isinstance(rows, str) else rows
