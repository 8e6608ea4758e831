"""The command lines of all tools: which options there are, and what a command line means.

``get_training_parser`` and its siblings   the options every run of a tool has
``parse_args_and_arch``                    adds the options of the chosen model, task, ..., parses, applies the preset

Names and choices come from the registries' index, so that making a parser, or showing ``--help``, imports no model,
task or criterion. Parsing a real command line imports just those that were chosen.
"""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from fairseq import _index
from fairseq.compat.flags import normalise_flags, translate_old_options
from fairseq.compat.suggest import Parser, near_options, unknown_name
from fairseq.dataclass.configs import (
    CheckpointConfig,
    CommonConfig,
    CommonEvalConfig,
    DatasetConfig,
    DistributedTrainingConfig,
    EMAConfig,
    EvalLMConfig,
    GenerationConfig,
    InteractiveConfig,
    OptimizationConfig,
)
from fairseq.dataclass.constants import DATASET_IMPL_CHOICES
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.registry import REGISTRIES
from fairseq.serialization.allowed import add_cli_options as add_trust_options

__all__ = [
    "add_checkpoint_args",
    "add_common_eval_args",
    "add_dataset_args",
    "add_distributed_training_args",
    "add_ema_args",
    "add_eval_lm_args",
    "add_generation_args",
    "add_interactive_args",
    "add_model_args",
    "add_optimization_args",
    "add_preprocess_args",
    "add_speech_generation_args",
    "get_args",
    "get_eval_lm_parser",
    "get_generation_parser",
    "get_interactive_generation_parser",
    "get_parser",
    "get_preprocessing_parser",
    "get_speech_generation_parser",
    "get_training_parser",
    "get_validation_parser",
    "parse_args_and_arch",
]

HELP_FLAGS = ("-h", "--help")


class _HelpFormatter(argparse.HelpFormatter):
    """Adds the default to a help text, where there is one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        told = action.default not in (None, False, argparse.SUPPRESS, "", []) and action.option_strings
        if text and told and "%(default)" not in text and not isinstance(action.default, bool):
            text += " (default: %(default)s)"
        return text


class _Parser(Parser):
    """An argument parser whose complaint about an unknown name says which names come close."""

    # Options whose choices are registered names: to be suggested, not listed by the hundred.
    registered = ("arch", "task", "criterion", "optimizer", "lr_scheduler", "bpe", "tokenizer", "scoring")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args(translate_old_options(words, self._option_string_actions), namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and action.dest in self.registered and value not in action.choices:
            raise argparse.ArgumentError(None, unknown_name(action.option_strings[0], str(value), action.choices))
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        # The full usage of a training tool is two screens long; the message would be lost below it.
        message = self.with_suggestions(message)
        sys.stderr.write(f"usage: {self.prog} [options]  (all of them: {self.prog} --help)\n")
        self.exit(2, f"{self.prog}: error: {message}\n")


# ------------------------------------------------------------------ parsers


def get_parser(desc: str, default_task: str | None = "translation") -> argparse.ArgumentParser:
    """A parser with the options common to all tools.

    A ``--user-dir`` in ``sys.argv`` is imported first, so that its names are among the choices.
    """
    import_user_dir_of(sys.argv[1:])
    parser = _Parser(description=desc or None, allow_abbrev=False, formatter_class=_HelpFormatter)
    gen_parser_from_dataclass(parser, CommonConfig())
    for name in REGISTRIES:
        choices, default = _registry_names(name)
        if not choices:
            # Nothing to choose from yet; programs that look for the option find it unset.
            parser.set_defaults(**{name: None})
            continue
        parser.add_argument(
            "--" + name.replace("_", "-"),
            default=default,
            choices=choices,
            metavar="NAME",
            help=_one_of(choices),
        )
    from fairseq.tasks import TASK_REGISTRY

    parser.add_argument(
        "--task", metavar="TASK", default=default_task, choices=TASK_REGISTRY.keys(), help=_one_of(TASK_REGISTRY)
    )
    # What checkpoints may contain is decided by who loads them; every tool but preprocess does.
    add_trust_options(parser)
    return parser


def _registry_names(name: str) -> tuple[Iterable[str], str | None]:
    # A built-in registry that is not imported yet is answered from the index alone.
    if dict.__contains__(REGISTRIES, name):
        return REGISTRIES[name]["registry"].keys(), REGISTRIES[name]["default"]
    return _index.ENTRIES.get(name, {}).keys(), _index.REGISTRIES[name]["default"]


def _one_of(names: Iterable[str]) -> str:
    return "one of: " + ", ".join(sorted(names)).replace("%", "%%")


def import_user_dir_of(argv: Sequence[str]) -> None:
    """Import the plugin that a command line names, if it names one."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--user-dir", default=None)
    found, _ = finder.parse_known_args(list(argv))
    if found.user_dir is not None:
        from fairseq import utils

        utils.import_user_module(found)


def get_preprocessing_parser(default_task: str = "translation") -> argparse.ArgumentParser:
    """Options of fairseq-preprocess."""
    parser = get_parser("Build dictionaries and binarise text.", default_task)
    add_preprocess_args(parser)
    return parser


def get_training_parser(default_task: str = "translation") -> argparse.ArgumentParser:
    """Options of fairseq-train."""
    parser = get_parser("Train a model on one or several devices.", default_task)
    add_dataset_args(parser, train=True)
    add_distributed_training_args(parser)
    add_model_args(parser)
    add_optimization_args(parser)
    add_checkpoint_args(parser)
    add_ema_args(parser)
    return parser


def get_generation_parser(interactive: bool = False, default_task: str = "translation") -> argparse.ArgumentParser:
    """Options of fairseq-generate; with ``interactive``, of fairseq-interactive."""
    parser = get_parser("Translate, continue or score sentences with a trained model.", default_task)
    add_dataset_args(parser, gen=True)
    add_distributed_training_args(parser, default_world_size=1)
    add_generation_args(parser)
    add_checkpoint_args(parser)
    if interactive:
        add_interactive_args(parser)
    return parser


def get_speech_generation_parser(default_task: str = "text_to_speech") -> argparse.ArgumentParser:
    """Options of programs that make speech from text with a trained model."""
    parser = get_parser("Make speech from text with a trained model.", default_task)
    add_dataset_args(parser, gen=True)
    add_distributed_training_args(parser, default_world_size=1)
    add_speech_generation_args(parser)
    return parser


def get_interactive_generation_parser(default_task: str = "translation") -> argparse.ArgumentParser:
    """Options of fairseq-interactive."""
    return get_generation_parser(interactive=True, default_task=default_task)


def get_eval_lm_parser(default_task: str = "language_modeling") -> argparse.ArgumentParser:
    """Options of fairseq-eval-lm."""
    parser = get_parser("Score text with a language model.", default_task)
    add_dataset_args(parser, gen=True)
    add_distributed_training_args(parser, default_world_size=1)
    add_eval_lm_args(parser)
    return parser


def get_validation_parser(default_task: str | None = None) -> argparse.ArgumentParser:
    """Options of fairseq-validate."""
    parser = get_parser("Compute the validation loss of a trained model.", default_task)
    add_dataset_args(parser, train=True)
    add_distributed_training_args(parser, default_world_size=1)
    add_common_eval_args(parser.add_argument_group("Evaluation"))
    return parser


# ------------------------------------------------------------------ groups


def add_dataset_args(parser: Any, train: bool = False, gen: bool = False) -> Any:
    """Add the options of the ``dataset`` section, as a group."""
    group = parser.add_argument_group("dataset_data_loading")
    gen_parser_from_dataclass(group, DatasetConfig())
    return group


def add_distributed_training_args(parser: Any, default_world_size: int | None = None) -> Any:
    """Add the options of the ``distributed_training`` section, as a group."""
    group = parser.add_argument_group("distributed_training")
    if default_world_size is None:
        default_world_size = _device_count()
    gen_parser_from_dataclass(group, DistributedTrainingConfig(distributed_world_size=default_world_size))
    return group


def _device_count() -> int:
    if any(flag in sys.argv for flag in HELP_FLAGS):
        return 1  # --help need not wait for torch and CUDA
    import torch

    return max(1, torch.cuda.device_count())


def add_optimization_args(parser: Any) -> Any:
    """Add the options of the ``optimization`` section, as a group."""
    group = parser.add_argument_group("optimization")
    gen_parser_from_dataclass(group, OptimizationConfig())
    return group


def add_checkpoint_args(parser: Any) -> Any:
    """Add the options of the ``checkpoint`` section, as a group."""
    group = parser.add_argument_group("checkpoint")
    gen_parser_from_dataclass(group, CheckpointConfig())
    return group


def add_ema_args(parser: Any) -> None:
    """Add the options of the ``ema`` section, as a group."""
    gen_parser_from_dataclass(parser.add_argument_group("EMA configuration"), EMAConfig())


def add_common_eval_args(group: Any) -> None:
    """Add the options of the ``common_eval`` section to a group."""
    gen_parser_from_dataclass(group, CommonEvalConfig())


def add_eval_lm_args(parser: Any) -> None:
    """Add the options of the ``eval_lm`` section, as a group."""
    group = parser.add_argument_group("LM Evaluation")
    add_common_eval_args(group)
    gen_parser_from_dataclass(group, EvalLMConfig())


def add_generation_args(parser: Any) -> Any:
    """Add the options of the ``generation`` section, as a group."""
    group = parser.add_argument_group("Generation")
    add_common_eval_args(group)
    gen_parser_from_dataclass(group, GenerationConfig())
    return group


def add_speech_generation_args(parser: Any) -> Any:
    """Add the options of speech generation, as a group."""
    group = parser.add_argument_group("Speech Generation")
    add_common_eval_args(group)
    # The underscores are the public spelling of this flag.
    group.add_argument(
        "--eos_prob_threshold",
        default=0.5,
        type=float,
        metavar="P",
        help="end an utterance at the first frame whose probability of being the last one is above this",
    )
    return group


def add_interactive_args(parser: Any) -> None:
    """Add the options of the ``interactive`` section, as a group."""
    gen_parser_from_dataclass(parser.add_argument_group("Interactive"), InteractiveConfig())


def add_model_args(parser: Any) -> Any:
    """Add ``--arch``, as a group; the chosen architecture's own options come while parsing."""
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY

    group = parser.add_argument_group("Model configuration")
    group.add_argument(
        "--arch",
        "-a",
        metavar="ARCH",
        choices=ARCH_MODEL_NAME_REGISTRY.keys(),
        help="architecture, " + _one_of(ARCH_MODEL_NAME_REGISTRY),
    )
    return group


# flags, settings: fairseq-preprocess has no config class, its options are a table
PREPROCESS_OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("-s", "--source-lang"), {"metavar": "SRC", "help": "suffix of the source files, e.g. de"}),
    (("-t", "--target-lang"), {"metavar": "TRG", "help": "suffix of the target files, e.g. en"}),
    (("--trainpref",), {"metavar": "FP", "help": "training files are FP.SRC and FP.TRG; dictionaries come from them"}),
    (("--validpref",), {"metavar": "FP", "help": "validation files, several prefixes separated by commas"}),
    (("--testpref",), {"metavar": "FP", "help": "test files, several prefixes separated by commas"}),
    (("--align-suffix",), {"metavar": "FP", "help": "binarise the word alignments in FP.SUFFIX as well"}),
    (("--destdir",), {"metavar": "DIR", "default": "data-bin", "help": "folder to write to"}),
    (("--thresholdtgt",), {"metavar": "N", "default": 0, "type": int, "help": "target words rarer than N are unknown"}),
    (("--thresholdsrc",), {"metavar": "N", "default": 0, "type": int, "help": "source words rarer than N are unknown"}),
    (("--tgtdict",), {"metavar": "FP", "help": "use this target dictionary instead of counting words"}),
    (("--srcdict",), {"metavar": "FP", "help": "use this source dictionary instead of counting words"}),
    (("--nwordstgt",), {"metavar": "N", "default": -1, "type": int, "help": "size of the target dictionary at most"}),
    (("--nwordssrc",), {"metavar": "N", "default": -1, "type": int, "help": "size of the source dictionary at most"}),
    (("--alignfile",), {"metavar": "ALIGN", "help": "alignments of the training data, to list word translations"}),
    (("--joined-dictionary",), {"action": "store_true", "help": "one dictionary for both languages"}),
    (("--only-source",), {"action": "store_true", "help": "process the source side only"}),
    (("--padding-factor",), {"metavar": "N", "default": 8, "type": int, "help": "round dictionary sizes up to N"}),
    (("--workers",), {"metavar": "N", "default": 1, "type": int, "help": "number of processes"}),
    (("--dict-only",), {"action": "store_true", "help": "stop after the dictionaries"}),
]


def add_preprocess_args(parser: Any) -> Any:
    """Add the options of fairseq-preprocess, as a group."""
    group = parser.add_argument_group("Preprocessing")
    for flags, settings in PREPROCESS_OPTIONS:
        group.add_argument(*flags, **settings)
    parser.add_argument(
        "--dataset-impl",
        metavar="FORMAT",
        default="mmap",
        choices=[member.value for member in DATASET_IMPL_CHOICES],
        help="format of the binarised files: mmap, lazy, cached, raw, ...",
    )
    return group


# ------------------------------------------------------------------ parsing


def parse_args_and_arch(
    parser: argparse.ArgumentParser,
    input_args: Sequence[str] | None = None,
    parse_known: bool = False,
    suppress_defaults: bool = False,
    modify_parser: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Any:
    """Parse a command line whose options depend on the model, task, ... that it chooses.

    Args:
        parser: from one of the ``get_*_parser`` functions.
        input_args: the words of the command line; those of the process if ``None``.
        parse_known: return ``(namespace, unknown words)`` instead of refusing unknown options.
        suppress_defaults: return only what was given explicitly, no defaults and no preset.
        modify_parser: called before and after the chosen components have added their options.

    Raises:
        RuntimeError: no ``--arch``, although the parser has one, or one that is registered nowhere.
        ValueError: options that contradict each other.
    """
    argv = normalise_flags(sys.argv[1:] if input_args is None else [str(word) for word in input_args])
    import_user_dir_of(argv)
    if modify_parser is not None:
        modify_parser(parser)
    wants_help = any(word in HELP_FLAGS for word in argv)
    words = [word for word in argv if word not in HELP_FLAGS]
    chosen, unknown = parser.parse_known_args(words)
    _refuse_mistyped_arch(parser, chosen, unknown)
    _add_chosen_options(parser, chosen, words if wants_help else None)
    if modify_parser is not None:
        modify_parser(parser)
    if suppress_defaults:
        return _given_only(parser, argv, parse_known)
    if parse_known:
        args, extra = parser.parse_known_args(argv)
    else:
        args, extra = parser.parse_args(argv), None
    _post_process(args)
    from fairseq.models import ARCH_CONFIG_REGISTRY

    if getattr(args, "arch", None) in ARCH_CONFIG_REGISTRY:
        ARCH_CONFIG_REGISTRY[args.arch](args)
    return (args, extra) if parse_known else args


def _refuse_mistyped_arch(parser: argparse.ArgumentParser, chosen: Namespace, unknown: Sequence[str]) -> None:
    """``--archh NAME`` is no missing architecture but a mistyped option."""
    if getattr(chosen, "arch", "") is None and any("--arch" in near_options(word, ("--arch",)) for word in unknown):
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")


def _named(words: Sequence[str] | None, *flags: str) -> bool:
    # While help is asked for (words given), only what the command line names is imported.
    return words is None or any(word == flag or word.startswith(flag + "=") for word in words for flag in flags)


def _add_chosen_options(parser: argparse.ArgumentParser, chosen: Namespace, help_words: Sequence[str] | None) -> None:
    """Add the options of each chosen component to the parser."""
    if hasattr(chosen, "arch") and _named(help_words, "--arch", "-a"):
        _add_model_options(parser, chosen.arch)
    if getattr(chosen, "task", None) is not None and _named(help_words, "--task"):
        from fairseq.tasks import TASK_REGISTRY

        _add_options_of(TASK_REGISTRY[chosen.task], parser)
    if getattr(chosen, "use_bmuf", False):
        from fairseq.optim.bmuf import FairseqBMUF

        FairseqBMUF.add_args(parser)
    for name in REGISTRIES:
        choice = getattr(chosen, name, None)
        if choice is None or not _named(help_words, "--" + name.replace("_", "-")):
            continue
        cls = REGISTRIES[name]["registry"][choice]
        if hasattr(cls, "add_args"):
            _add_options_of(cls, parser)
        elif getattr(cls, "__dataclass", None) is not None:
            gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")())


def _add_options_of(component: Any, parser: argparse.ArgumentParser) -> None:
    """Call ``component.add_args(parser)``; an option that another component has added is replaced by this one's.

    Tasks and losses written before models had config classes declare options that belong to the model today
    (``--max-source-positions``). A component that knows about it and catches the ``ArgumentError`` keeps the option
    that was there, because it is asked in the strict way first.
    """
    before, groups = list(parser._actions), list(parser._action_groups)
    try:
        component.add_args(parser)
        return
    except argparse.ArgumentError:
        added = [action for action in parser._actions if action not in before]
    for action in added:
        action.container._remove_action(action)  # type: ignore[attr-defined]
        for flag in action.option_strings:
            parser._option_string_actions.pop(flag, None)
    parser._action_groups[:] = groups
    strict = [(container, container.conflict_handler) for container in (parser, *groups)]
    for container, _ in strict:
        container.conflict_handler = "resolve"
    try:
        component.add_args(parser)
    finally:
        for container, handler in strict:
            container.conflict_handler = handler


def _add_model_options(parser: argparse.ArgumentParser, arch: str | None) -> None:
    from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY

    if arch is not None and arch in ARCH_MODEL_REGISTRY:
        model = ARCH_MODEL_REGISTRY[arch]
    elif arch is not None and arch in MODEL_REGISTRY:
        model = MODEL_REGISTRY[arch]
    elif arch is not None and arch == parser.get_default("arch"):
        return  # an evaluation tool's default, for a model that is not there: nothing to add
    else:
        known = ARCH_MODEL_REGISTRY.keys()
        raise RuntimeError(
            unknown_name("--arch", arch, known) if arch else "--arch is missing: which architecture is to be trained?"
        )
    # Options that are not given must stay out of the namespace, so that the preset can fill them.
    group = parser.add_argument_group("Model-specific configuration", argument_default=argparse.SUPPRESS)
    model.add_args(group)


def _given_only(parser: argparse.ArgumentParser, argv: list[str], parse_known: bool) -> Any:
    """Parse with every default taken away, so that only given options are in the namespace."""
    saved = [(action, action.default) for action in parser._actions]
    saved_defaults, parser._defaults = parser._defaults, {}
    try:
        for action, _ in saved:
            action.default = argparse.SUPPRESS
        return parser.parse_known_args(argv) if parse_known else parser.parse_args(argv)
    finally:
        parser._defaults = saved_defaults
        for action, default in saved:
            action.default = default


def _post_process(args: Namespace) -> None:
    """Let options follow each other and refuse what cannot go together."""
    given = vars(args)
    if "batch_size_valid" in given and args.batch_size_valid is None:
        args.batch_size_valid = args.batch_size
    if "max_tokens_valid" in given and args.max_tokens_valid is None:
        args.max_tokens_valid = args.max_tokens
    for short in ("fp16", "bf16"):
        if given.get(f"memory_efficient_{short}"):
            setattr(args, short, True)
    if given.get("tpu"):
        if given.get("fp16"):
            raise ValueError("Cannot combine --fp16 and --tpu, use --bf16 on TPUs")
        raise ValueError("--tpu: TPUs are not supported; leave the option out to use the GPU or the CPU")
    if given.get("seed") is None:
        args.seed = 1
        args.no_seed_provided = True
    else:
        args.no_seed_provided = False
    if "update_epoch_batch_itr" in given and args.update_epoch_batch_itr is None:
        args.update_epoch_batch_itr = given.get("grouped_shuffling", False)
    for name in ("max_tokens_valid", "batch_size_valid"):
        # Options that follow another one carry no type of their own.
        if isinstance(given.get(name), str):
            setattr(args, name, _integer(name, given[name]))


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--{name.replace('_', '-')} {text}: expected a whole number") from None


def get_args(data: Any, task: str = "translation", arch: str = "transformer", **overrides: Any) -> Namespace:
    """The flat options of a training run with everything at its default but what is given here."""
    parser = get_training_parser(task)
    args = parse_args_and_arch(parser, [os.fspath(data), "--task", task, "--arch", arch])
    for name, value in overrides.items():
        setattr(args, name, value)
    return args


# Converters of option values live in fairseq.utils, which needs torch; plugins look for them here.
CONVERTERS = ("csv_str_list", "eval_bool", "eval_str_dict", "eval_str_list")


def __getattr__(name: str) -> Any:
    if name in CONVERTERS:
        from fairseq import utils

        return getattr(utils, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
