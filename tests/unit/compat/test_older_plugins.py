"""Plugins and scripts of fairseq 0.9 and 0.10: option names, option clashes, older signatures, names to import."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, List, Optional

import pytest
import torch

from fairseq import options
from fairseq.compat.flags import translate_old_options
from fairseq.compat.signatures import call_build_generator, fitting
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.utils import convert_namespace_to_omegaconf, gen_parser_from_dataclass

SCRIPT = ["data", "--arch", "transformer_iwslt_de_en", "--optimizer", "adam", "--lr", "0.1"]


@pytest.fixture
def registered() -> Iterator[Any]:
    """``registered(registry, name, cls)`` for the time of a test."""
    done: list[tuple[Any, str]] = []

    def add(registry: Any, name: str, cls: Any) -> None:
        registry[name] = cls
        done.append((registry, name))

    yield add
    for registry, name in done:
        del registry[name]


def parse(*words: str) -> Namespace:
    return options.parse_args_and_arch(options.get_training_parser(), [*SCRIPT, *words])  # type: ignore[no-any-return]


# ------------------------------------------------------------------ options


def test_a_script_of_release_09_is_understood() -> None:
    args = parse("--lr-scheduler", "inverse_sqrt", "--min-lr", "1e-09", "--raw-text", "--max-sentences", "8")
    assert (args.stop_min_lr, args.dataset_impl, args.batch_size) == (1e-9, "raw", 8)


def test_min_lr_of_a_schedule_that_has_it_stays_its_own() -> None:
    args = parse("--lr-scheduler", "cosine", "--min-lr", "1e-09", "--max-update", "5")
    assert args.min_lr == 1e-9 and args.stop_min_lr == -1.0


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--left-pad-source", "False"], False), (["--left-pad-source=True"], True), (["--left-pad-source"], False)],
)
def test_flags_that_took_a_value_still_do(words: list[str], expected: bool) -> None:
    assert parse(*words).left_pad_source is expected


def test_options_that_a_plugin_declares_are_not_translated() -> None:
    parser = ArgumentParser()
    parser.add_argument("--raw-text", type=str)
    assert translate_old_options(["--raw-text", "False"], parser._option_string_actions) == ["--raw-text", "False"]


def test_a_task_may_declare_an_option_of_the_model(registered: Any) -> None:
    from fairseq.tasks import TASK_REGISTRY, LegacyFairseqTask

    class OldTask(LegacyFairseqTask):
        @staticmethod
        def add_args(parser: ArgumentParser) -> None:
            parser.add_argument("data")
            parser.add_argument("--max-source-positions", default=77, type=int)

    registered(TASK_REGISTRY, "old_task_of_tests", OldTask)
    assert parse("--task", "old_task_of_tests").max_source_positions == 77
    assert parse("--task", "old_task_of_tests", "--max-source-positions", "5").max_source_positions == 5


def test_a_component_that_catches_the_clash_keeps_the_option_that_was_there(registered: Any) -> None:
    from argparse import ArgumentError

    from fairseq.tasks import TASK_REGISTRY, LegacyFairseqTask

    class CarefulTask(LegacyFairseqTask):
        @staticmethod
        def add_args(parser: ArgumentParser) -> None:
            parser.add_argument("data")
            with contextlib.suppress(ArgumentError):
                parser.add_argument("--dropout", default=0.9, type=float)

    registered(TASK_REGISTRY, "careful_task_of_tests", CarefulTask)
    assert parse("--task", "careful_task_of_tests").dropout == 0.1


@dataclass
class Lists(FairseqDataclass):
    words: Optional[List[str]] = field(default_factory=lambda: ["a", "b"], metadata={"help": "words"})
    numbers: List[int] = field(default_factory=lambda: [1], metadata={"help": "numbers"})


def test_lists_of_words_need_no_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    gen_parser_from_dataclass(parser, Lists())
    assert parser.parse_args([]).words == ["a", "b"]
    assert parser.parse_args(["--words", "x, y"]).words == parser.parse_args(["--words", "['x', 'y']"]).words
    with pytest.raises(SystemExit):
        parser.parse_args(["--numbers", "x"])
    assert "invalid list of int value: 'x'" in capsys.readouterr().err


def test_a_tokenizer_without_a_config_class_gets_its_options(registered: Any) -> None:
    from fairseq.data.encoders import build_bpe
    from fairseq.registry import REGISTRIES

    class Dash:
        def __init__(self, args: Any) -> None:
            self.mark = args.dash_mark

        @staticmethod
        def add_args(parser: ArgumentParser) -> None:
            parser.add_argument("--dash-mark", default="-")

    registered(REGISTRIES["bpe"]["registry"], "dash_of_tests", Dash)
    args = parse("--bpe", "dash_of_tests", "--dash-mark", "~")
    assert build_bpe(convert_namespace_to_omegaconf(args).bpe).mark == "~"


# ------------------------------------------------------------------ signatures


class OldTask09:
    def build_generator(self, args: Any) -> Any:
        return ("built", args.beam)

    def load_dataset(self, split: str, combine: bool = False) -> None: ...

    def build_dataset_for_inference(self, src_tokens: Any, src_lengths: Any) -> None: ...

    def anything(self, **keywords: Any) -> None: ...


def test_overrides_get_what_they_take(caplog: pytest.LogCaptureFixture) -> None:
    task = OldTask09()
    assert fitting(task.load_dataset, epoch=3, combine=True, task_cfg=object()) == {"combine": True}
    assert fitting(task.anything, epoch=3) == {"epoch": 3}
    assert fitting(task.build_dataset_for_inference, constraints=None) == {}
    assert not caplog.records
    assert fitting(task.build_dataset_for_inference, constraints=[1]) == {}
    assert "build_dataset_for_inference takes no constraints" in caplog.text


def test_pairs_may_be_told_their_longest_lengths() -> None:
    words = Dictionary()
    pairs = LanguagePairDataset([torch.tensor([4, 2])], [2], words, max_source_positions=7, max_target_positions=7)
    assert len(pairs) == 1


def test_a_generator_of_release_09_is_built_from_its_options() -> None:
    assert call_build_generator(OldTask09(), ["model"], Namespace(beam=4), {}) == ("built", 4)


# ------------------------------------------------------------------ names


def test_copies_of_train_py_import_and_megatron_says_what_to_do() -> None:
    program = (
        "from fairseq.data.plasma_utils import PlasmaStore\n"
        "from fairseq.model_parallel.megatron_trainer import MegatronTrainer\n"
        "MegatronTrainer(None, None, None, None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: --model-parallel-size above 1" in done.stderr
