"""What upstream offers and this package has: import paths, options, signatures and state-dict keys stay as they are.

``scripts/freeze_contract.py`` writes the golden files and says how a new family joins them. ``DIFFERENCES`` holds what
differs on purpose.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import surface
import test_models_core
import tiny_models
from omegaconf import OmegaConf

from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY, build_model

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


IMPORTS, FLAGS, SIGNATURES, STATES = map(golden, ("import_paths", "flags", "signatures", "state_dict_keys"))

# What the report below says -> why it is so. ``docs/differences.md`` tells users.
DIFFERENCES: Mapping[str, str] = {
    "criterion model --log-keys: default is [], not ''": "an empty list of metrics is a list",
    "criterion model --log-keys: type": "one name needs no quotes",
    "task denoising --permute-sentences: type": "a share of sentences; upstream reads it as an integer, so 0 or 1",
}


def report(where: str, problems: list[str]) -> list[str]:
    found = [f"{where}: {problem}" for problem in problems]
    return [text for text in found if not any(text.startswith(known) for known in DIFFERENCES)]


# Import paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] or name for name in IMPORTS["modules"]}))
def test_every_public_name_is_found_under_its_path(package: str) -> None:
    missing = []
    for name, names in IMPORTS["modules"].items():
        if (name.rpartition(".")[0] or name) == package:
            if surface.module(name) is None:
                missing.append(name)
            else:
                missing += [f"{name}.{public}" for public in names if not surface.has_name(name, public)]
    assert missing == []


@pytest.mark.parametrize("old", IMPORTS["aliases"])
def test_a_second_name_of_a_module_gives_the_same_module(old: str) -> None:
    assert surface.module(old) is not None
    assert surface.module(old) is surface.module(IMPORTS["aliases"][old])


@pytest.mark.parametrize("entry", IMPORTS["registered"])
def test_a_registered_name_gives_the_class_at_the_path_of_upstream(entry: str) -> None:
    kind, name = entry.split(" ")
    assert surface.registry(kind)[name] is surface.member(IMPORTS["registered"][entry])


def test_every_architecture_belongs_to_its_model() -> None:
    assert {arch: ARCH_MODEL_NAME_REGISTRY.get(arch) for arch in IMPORTS["archs"]} == IMPORTS["archs"]


# Options ------------------------------------------------------------------------------------------------------------


def option_report(where: str, recorded: dict[str, Any], parser: argparse.ArgumentParser) -> list[str]:
    found = []
    options = surface.options_of(parser)
    for key, facts in recorded.items():
        name = facts["flags"][-1] if facts["flags"] else key
        now = surface.find_option(facts, options.get(key.partition("#")[0], []))
        problems = ["is gone"] if now is None else surface.option_problems(facts, now, FLAGS["types"])
        found += report(f"{where} {name}", problems)
    return found


@pytest.mark.parametrize("tool", FLAGS["tools"])
def test_a_tool_takes_the_frozen_options(tool: str) -> None:
    assert option_report(tool, FLAGS["parsers"][FLAGS["tools"][tool]], surface.parser_of(tool)) == []


@pytest.mark.parametrize("name", [name for name in FLAGS["parsers"] if name.startswith("get_")])
def test_a_parser_of_the_library_takes_the_frozen_options(name: str) -> None:
    assert option_report(name, FLAGS["parsers"][name], surface.library_parser(name)) == []


@pytest.mark.parametrize("entry", FLAGS["entries"])
def test_a_registered_class_adds_the_frozen_options(entry: str) -> None:
    kind, name = entry.split(" ")
    assert option_report(entry, FLAGS["entries"][entry], surface.entry_parser(surface.registry(kind)[name])) == []


@pytest.mark.parametrize("dotted", FLAGS["configs"])
def test_a_config_class_has_the_frozen_fields_in_order(dotted: str) -> None:
    recorded = FLAGS["configs"][dotted]
    fields = surface.config_fields(surface.member(dotted))
    assert [name for name in fields if name in recorded] == list(recorded)
    differing = [f"{name} is {fields[name]!r}" for name in recorded if not surface.same(recorded[name], fields[name])]
    assert report(dotted, differing) == []


@pytest.mark.parametrize("arch", FLAGS["presets"])
def test_an_architecture_sets_the_frozen_values(arch: str) -> None:
    args = argparse.Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    recorded = FLAGS["presets"][arch]
    assert {name: surface.plain(getattr(args, name, "<missing>")) for name in recorded} == recorded


# Signatures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functions", "methods"])
def test_calls_written_for_upstream_still_fit(kind: str) -> None:
    found = []
    for dotted, recorded in SIGNATURES[kind].items():
        try:
            now = surface.member(dotted)
        except AttributeError:
            found += report(dotted, ["is gone"])
            continue
        if not isinstance(now, type):  # a function that became a class
            found += report(dotted, surface.signature_problems(recorded, surface.signature(now)))
    assert found == []


# State dicts --------------------------------------------------------------------------------------------------------


def recorded_model(name: str) -> Any:
    """The model whose state dict upstream wrote."""
    case = STATES["recorded"][name]
    if "build" not in case:
        return test_models_core.Case(name).model
    build = case["build"]
    dictionaries = {key: _dictionary(facts) for key, facts in case["dicts"].items()}
    task = _object(case["task"]["attrs"], dictionaries)
    values = copy.deepcopy(build["args"])
    if build["style"] == "config":
        return build_model(OmegaConf.create({**_defaults(build["arch"]), **values, "_name": build["arch"]}), task)
    defaults = test_models_core.option_defaults(build["arch"]) if build.get("cli_defaults", True) else {}
    return build_model(argparse.Namespace(**{**defaults, "arch": build["arch"], **values}), task)


def _defaults(arch: str) -> dict[str, Any]:
    from fairseq.models import MODEL_DATACLASS_REGISTRY

    return dict(surface.config_fields(MODEL_DATACLASS_REGISTRY[arch]))


def _dictionary(facts: dict[str, Any]) -> Dictionary:
    dictionary = Dictionary()
    for symbol in [*(f"{facts.get('prefix', 'w')}{index}" for index in range(facts["n"])), *facts.get("extra", ())]:
        dictionary.add_symbol(symbol)
    return dictionary


def _object(attributes: dict[str, Any], dictionaries: dict[str, Dictionary]) -> SimpleNamespace:
    """An object with recorded attributes; a dict with one key of ``$`` stands for something else."""

    def value(recorded: Any) -> Any:
        if not isinstance(recorded, dict) or len(recorded) != 1 or not next(iter(recorded)).startswith("$"):
            return recorded
        ((kind, content),) = recorded.items()
        return dictionaries[content] if kind == "$dict" else _object(content, dictionaries)

    return SimpleNamespace(**{name: value(recorded) for name, recorded in attributes.items()})


@pytest.mark.parametrize("name", STATES["recorded"])
def test_a_state_dict_has_the_keys_shapes_and_shared_weights_of_upstream(name: str) -> None:
    assert tiny_models.state_rows(recorded_model(name), by_name=True) == STATES["recorded"][name]["state"]


def test_every_difference_is_one_and_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(len(reason.split()) >= 4 for reason in DIFFERENCES.values())
    known = list(DIFFERENCES)
    monkeypatch.setitem(globals(), "DIFFERENCES", {})
    found = []
    for entry, recorded in FLAGS["entries"].items():
        kind, name = entry.split(" ")
        found += option_report(entry, recorded, surface.entry_parser(surface.registry(kind)[name]))
    assert [text for text in known if not any(line.startswith(text) for line in found)] == []
