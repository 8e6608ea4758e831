"""Recurrent and convolutional families against recorded numbers: outputs, decoding steps, losses, gradients, presets.

``golden/models_core.json`` holds small models of each family. Their weights follow a rule: a parameter is ``scale``
times standard normal numbers from ``numpy.random.RandomState(crc32(its name))``. ``golden/models_core_presets.json``
holds what each architecture function sets on an empty namespace.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fairseq.criterions import build_criterion
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, build_model

GOLDEN = Path(__file__).parent / "golden"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "models_core.json").read_text(encoding="utf-8"))}
PRESETS = json.loads((GOLDEN / "models_core_presets.json").read_text(encoding="utf-8"))


def array(record: dict[str, Any], dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(record["values"], dtype=dtype).view(record["shape"])


def option_defaults(arch: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    return vars(parser.parse_args([]))


class Case:
    """A model of the record with its weights, and what it is fed."""

    def __init__(self, name: str) -> None:
        self.record = CASES[name]
        dictionaries = {key: self._dictionary(spec) for key, spec in self.record["dicts"].items()}
        self.task = SimpleNamespace(**{name: dictionaries[key] for name, key in self.record["attrs"].items()})
        arch = self.record["arch"]
        args = argparse.Namespace(arch=arch, **option_defaults(arch))
        vars(args).update(copy.deepcopy(self.record["args"]))
        self.model = build_model(args, self.task)
        self.inputs = {key: array(value, torch.int64) for key, value in self.record["inputs"].items()}
        self._load()

    @staticmethod
    def _dictionary(spec: dict[str, Any]) -> Dictionary:
        dictionary = Dictionary()
        for index in range(spec["n"]):
            dictionary.add_symbol(f"{spec.get('prefix', 'w')}{index}")
        return dictionary

    def _load(self) -> None:
        state = self.model.state_dict()
        for key, shape in self.record["parameters"].items():
            seed = zlib.crc32(self.record["tied"].get(key, key).encode()) & 0x7FFFFFFF
            values = self.record["scale"] * np.random.RandomState(seed).standard_normal(tuple(shape))
            state[key] = torch.tensor(values, dtype=torch.float32)
        self.model.load_state_dict({key: value.clone() for key, value in state.items()}, strict=True)

    def net_input(self) -> dict[str, Tensor]:
        names = ("src_tokens", "src_lengths", "prev_output_tokens")
        return {name: self.inputs[name] for name in names if name in self.inputs}

    def sample(self) -> dict[str, Any]:
        return {
            "id": self.inputs["id"],
            "net_input": self.net_input(),
            "nsentences": 2,
            "ntokens": self.record["ntokens"],
            "target": self.inputs["target"],
        }


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_parameter_names_and_shapes_are_those_of_checkpoints(case: Case) -> None:
    parameters = {name: list(value.shape) for name, value in case.model.named_parameters()}
    assert parameters == case.record["parameters"]


def test_logits_are_the_recorded_ones(case: Case) -> None:
    case.model.eval()
    with torch.no_grad():
        logits = case.model(**case.net_input())[0]
    torch.testing.assert_close(logits, array(case.record["logits"]), rtol=1e-4, atol=1e-4)


def test_decoding_step_by_step_gives_the_recorded_scores_and_follows_reordering(case: Case) -> None:
    if case.record["steps"] is None:
        pytest.skip("not recorded: the decoder takes whole prefixes")
    model = case.model.eval()
    tokens, order = case.inputs["inc_tokens"], case.inputs["inc_order"]
    state: dict[str, Any] = {}
    kwargs: dict[str, Any] = {}
    with torch.no_grad():
        if hasattr(model, "encoder"):
            kwargs["encoder_out"] = model.encoder(case.inputs["src_tokens"], src_lengths=case.inputs["src_lengths"])
        whole = model.decoder(tokens, **kwargs)[0]
        steps = [
            model.decoder(tokens[:, :length], incremental_state=state, **kwargs)[0]
            for length in range(1, tokens.size(1) + 1)
        ]
        stepwise = torch.cat(steps, dim=1)
        torch.testing.assert_close(stepwise, array(case.record["steps"]), rtol=1e-4, atol=1e-4)
        if case.record["same"]:
            torch.testing.assert_close(stepwise, whole, rtol=1e-3, atol=1e-4)
        model.decoder.reorder_incremental_state_scripting(state, order)
        if kwargs:
            kwargs["encoder_out"] = model.encoder.reorder_encoder_out(kwargs["encoder_out"], order)
        longer = torch.cat([tokens, tokens.new_full((len(tokens), 1), 5)], dim=1).index_select(0, order)
        after = model.decoder(longer, incremental_state=state, **kwargs)[0]
    torch.testing.assert_close(after, array(case.record["after_reorder"]), rtol=1e-4, atol=1e-4)


def test_cross_entropy_is_the_recorded_one(case: Case) -> None:
    criterion = build_criterion(argparse.Namespace(criterion="cross_entropy", sentence_avg=False), case.task)
    loss, sample_size, _ = criterion(case.model.train(), case.sample())
    assert loss.item() == pytest.approx(case.record["cross_entropy"], rel=1e-4)
    assert sample_size == case.record["ntokens"]


def test_label_smoothed_loss_and_gradient_norms_are_the_recorded_ones(case: Case) -> None:
    args = argparse.Namespace(
        criterion="label_smoothed_cross_entropy",
        sentence_avg=False,
        label_smoothing=0.1,
        ignore_prefix_size=0,
        report_accuracy=True,
    )
    criterion = build_criterion(args, case.task)
    loss, _, logged = criterion(case.model.train(), case.sample())
    assert loss.item() == pytest.approx(case.record["label_smoothed"], rel=1e-4)
    assert int(logged["n_correct"]) == case.record["n_correct"]
    loss.backward()
    norms = {n: float(p.grad.norm()) for n, p in case.model.named_parameters() if p.grad is not None}
    largest = max(case.record["gradients"].values())
    for name, norm in case.record["gradients"].items():
        assert norms.get(name, 0.0) == pytest.approx(norm, rel=1e-3, abs=1e-5 * largest), name


@pytest.mark.parametrize("arch", sorted(PRESETS))
def test_architecture_sets_the_recorded_values_on_an_empty_namespace(arch: str) -> None:
    args = argparse.Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    wanted = PRESETS[arch]["values"]
    assert {name: getattr(args, name) for name in wanted} == wanted


@pytest.mark.parametrize("arch", sorted(PRESETS))
def test_architecture_leaves_what_the_user_gave_and_values_follow_it(arch: str) -> None:
    forced = PRESETS[arch].get("forced", [])
    numbers = {n: v for n, v in PRESETS[arch]["values"].items() if type(v) is int and n not in forced}
    for name, value in numbers.items():
        if name.endswith("_layers") and arch.startswith("lightconv"):
            continue  # another number of layers needs other kernel sizes
        given = argparse.Namespace(**{name: value + 77})
        ARCH_CONFIG_REGISTRY[arch](given)
        assert getattr(given, name) == value + 77
        for follower, leaders in PRESETS[arch].get("follows", {}).items():
            if name in leaders:
                assert getattr(given, follower) == value + 77, f"{follower} does not follow {name}"


@pytest.mark.parametrize("arch", sorted(PRESETS))
def test_architecture_function_pickles_by_its_public_name(arch: str) -> None:
    function = ARCH_CONFIG_REGISTRY[arch]
    assert pickle.loads(pickle.dumps(function)) is function
