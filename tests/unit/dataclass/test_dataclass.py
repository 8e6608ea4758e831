"""Config classes, options made from them, and the config made from options."""

from __future__ import annotations

import argparse
import dataclasses
import pickle
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any, List, Optional, Tuple

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.configs import II, DatasetConfig, FairseqConfig
from fairseq.dataclass.convert import convert_value, dataclass_values, resolve_references
from fairseq.dataclass.utils import (
    convert_namespace_to_omegaconf,
    eval_str_list,
    gen_parser_from_dataclass,
    interpret_dc_type,
    merge_with_parent,
    override_module_args,
    overwrite_args_by_name,
)


@dataclass
class Inner(FairseqDataclass):
    depth: int = field(default=3, metadata={"help": "how deep"})


@dataclass
class Toy(FairseqDataclass):
    data: Any = field(default=None, metadata={"help": "where"})
    size: int = field(default=4, metadata={"help": "100% of it"})
    rates: List[float] = field(default_factory=lambda: [0.5, 0.25], metadata={"help": "several"})
    pair: Tuple[int, int] = field(default=(1, 2), metadata={"help": "two"})
    colour: ChoiceEnum(["red", "blue"]) = field(default="red", metadata={"help": "one of two"})
    left: bool = field(default=True, metadata={"help": "turns it off"})
    fast: bool = field(default=False, metadata={"help": "turns it on", "argparse_alias": "--quick"})
    limit: Optional[int] = field(default=None, metadata={"help": "or none"})
    post: Optional[str] = field(default=None, metadata={"help": "or none", "argparse_const": "x"})
    follows: int = II("dataset.max_tokens")
    follows_openly: Optional[int] = field(default=II("dataset.max_tokens"), metadata={"help": "told"})
    inner: Inner = field(default_factory=Inner)


def parse(*words: str, **kwargs: Any) -> Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    gen_parser_from_dataclass(parser, Toy(), **kwargs)
    return parser.parse_args(words)


def test_fields_become_options_of_their_type() -> None:
    args = parse("corpus", "--size", "7", "--rates", "[1, 2]", "--pair", "3,4", "--left", "--quick", "--post")
    assert (args.data, args.size, args.rates, args.pair) == ("corpus", 7, [1.0, 2.0], [3, 4])
    assert (args.left, args.fast, args.post, args.limit) == (False, True, "x", None)
    assert parse("corpus").rates == [0.5, 0.25]


def test_a_followed_field_is_an_option_only_if_it_is_documented() -> None:
    args = parse("corpus")
    assert not hasattr(args, "follows") and args.follows_openly is None


def test_options_without_defaults_stay_out_of_the_namespace_they_are_not_given_in() -> None:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    gen_parser_from_dataclass(parser, Toy(), delete_default=True, with_prefix="toy-")
    args = parser.parse_args(["--toy-size", "2", "--toy-inner-depth", "9"])
    assert (args.toy_size, args.toy_inner_depth) == (2, 9) and not hasattr(args, "toy_rates")


def test_a_choice_that_is_none_of_the_choices_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("corpus", "--colour", "green")
    assert stop.value.code == 2 and "green" in capsys.readouterr().err


def test_a_postponed_annotation_is_explained() -> None:
    with pytest.raises(RuntimeError, match="field should be a type"):
        interpret_dc_type("Optional[int]")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [("1,2", float, [1.0, 2.0]), ("[1]", int, [1]), ("3", int, [3]), ("", float, []), (None, int, None), (2, int, [2])],
)
def test_lists_are_read_in_every_spelling(text: Any, kind: type, expected: Any) -> None:
    assert eval_str_list(text, kind) == expected


def test_list_options_never_run_code() -> None:
    with pytest.raises(ValueError):
        eval_str_list("__import__('os').system('true')", str)


def test_choices_compare_print_and_hash_like_their_text_and_survive_a_copy() -> None:
    first, second = ChoiceEnum(["a", "b"]), ChoiceEnum(["a", "b"])
    assert first.a == "a" and str(first.a) == "a" and {first.a: 1}["a"] == 1
    assert isinstance(second.a, first) and not isinstance(ChoiceEnum(["a"]).a, first)


def test_every_default_config_is_its_own() -> None:
    one, two = FairseqConfig(), FairseqConfig()
    one.dataset.max_tokens = 5
    one.optimization.lr.append(1.0)
    assert two.dataset.max_tokens is None and two.optimization.lr == [0.25]
    assert pickle.loads(pickle.dumps(two)) == two


def test_from_namespace_takes_known_names_only() -> None:
    made = DatasetConfig.from_namespace(Namespace(max_tokens=3, unknown=1))
    assert made.max_tokens == 3 and DatasetConfig.from_namespace(made) is made


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("3", int, 3), ("0.5", float, 0.5), (1, bool, True), ((1, 2), List[float], [1.0, 2.0]), (None, int, None),
        ("", Optional[int], ""), ("${a.b}", int, "${a.b}"), ("abc", str, "abc"), ("7", str, "7"),
        ({"a": 1}, Any, {"a": 1}),
    ],
)  # fmt: skip
def test_values_are_brought_to_their_type(value: Any, kind: Any, expected: Any) -> None:
    assert convert_value(value, kind) == expected


def test_a_list_of_numbers_with_something_else_in_it_names_the_option() -> None:
    with pytest.raises(ValueError, match=r"--lr: expected a list of float, got \['a'\]"):
        convert_value(["a"], List[float], "--lr")


def test_references_are_resolved_also_through_namespaces_and_missing_ones_are_none() -> None:
    tree = {"a": {"x": "${b.y}", "z": "${c.nothing}", "l": ["${a.x}"]}, "b": {"y": "${c.w}"}, "c": Namespace(w=8)}
    assert resolve_references(tree)["a"] == {"x": 8, "z": None, "l": [8]}
    with pytest.raises(ValueError, match="circle"):
        resolve_references({"a": {"x": "${a.y}", "y": "${a.x}"}})


def base_args(**more: Any) -> Namespace:
    return Namespace(max_tokens=100, lr="0.1,0.2", log_format="json", task=None, arch=None, **more)


def test_a_namespace_becomes_a_locked_nested_config_of_plain_values() -> None:
    cfg = convert_namespace_to_omegaconf(base_args())
    assert cfg.dataset.max_tokens_valid == 100 and cfg.optimization.lr == [0.1, 0.2]
    assert type(cfg.common.log_format) is str and cfg.distributed_training.ddp_backend == "pytorch_ddp"
    assert cfg.model is None and cfg.bpe is None
    with pytest.raises(ConfigAttributeError):
        cfg.dataset.nothing  # noqa: B018


def test_the_same_options_as_hydra_overrides() -> None:
    overrides, deletes = override_module_args(base_args(save_dir="it's"))
    assert "dataset.max_tokens=100" in overrides and r"checkpoint.save_dir='it\'s'" in overrides
    assert "model" in deletes and "bpe" in deletes


def test_a_section_is_completed_locked_and_keeps_its_parent() -> None:
    cfg = OmegaConf.create({"dataset": {"max_tokens": 9}, "toy": {"_name": "toy", "size": 5, "pair": None}})
    merged = merge_with_parent(Toy(), cfg.toy)
    assert (merged.size, merged.follows, merged.inner.depth) == (5, 9, 3) and merged._name == "toy"
    with pytest.raises(ConfigAttributeError):
        merged.nothing  # noqa: B018


def test_fields_that_are_gone_are_refused_or_dropped() -> None:
    cfg = OmegaConf.create({"size": 5, "old": 1, "inner": {"depth": 2, "older": 3}})
    with pytest.raises(ConfigKeyError):
        merge_with_parent(Toy(), cfg)
    merged = merge_with_parent(Toy(), cfg, remove_missing=True)
    assert merged.size == 5 and merged.inner.depth == 2 and "old" not in merged


def test_an_old_null_for_a_number_is_kept() -> None:
    assert merge_with_parent(Toy(), OmegaConf.create({"size": None})).size is None


def test_what_is_no_config_is_returned_as_it_is() -> None:
    args = Namespace(size=1)
    assert merge_with_parent(Toy(), args) is args


def test_overrides_reach_every_section_and_namespace() -> None:
    tree = {
        "task": {"data": "a", "deep": {"data": "b"}},
        "model": Namespace(data="c"),
        "bpe": None,
        "generation": {"beam": 5},
    }
    cfg = OmegaConf.create(tree, flags={"allow_objects": True})
    OmegaConf.set_struct(cfg, True)
    overwrite_args_by_name(cfg, {"data": "new", "generation": {"beam": 2, "extra": 1}})
    assert cfg.task.data == cfg.task.deep.data == cfg.model.data == "new"
    assert cfg.generation == {"beam": 2, "extra": 1}


def test_dataclass_values_follow_the_instance_and_then_the_given_options() -> None:
    values = dataclass_values(Toy(size=6), Namespace(depth=1, colour=Toy().colour))
    assert values["size"] == 6 and values["inner"]["depth"] == 1 and values["colour"] == "red"
    assert {f.name for f in dataclasses.fields(Toy)} == set(values)
