"""The module that patched trees import."""

from __future__ import annotations

import argparse
import collections
import importlib.util
import io
import os
import pickle
import sys
import types
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Iterator, List, Optional, Union

import pytest

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def helper() -> Any:
    spec = importlib.util.spec_from_file_location("vendored._modern", ROOT / "patches" / "tree_helper.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Choices(Enum):
    A = "a"


class Cfg:
    """Stands for a class of a fairseq that is not there."""


@pytest.fixture
def foreign() -> Iterator[types.ModuleType]:
    """A module fairseq_gone.configs that exists while a file is written and not when it is read."""
    module = types.ModuleType("fairseq_gone")
    for item in (Choices, Cfg):
        item.__module__ = "fairseq_gone"
        setattr(module, item.__name__, item)
    sys.modules["fairseq_gone"] = module
    yield module
    sys.modules.pop("fairseq_gone", None)


def stored(value: Any, old: bool = False) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not old)
    stream.seek(0)
    return stream


@pytest.mark.parametrize("old", [False, True])
def test_what_checkpoints_hold_is_read(helper: Any, old: bool) -> None:
    numpy = pytest.importorskip("numpy")
    state = {
        "args": argparse.Namespace(arch="lstm", lr=[0.1]),
        "model": collections.OrderedDict(w=torch.ones(2), h=torch.ones(1).half(), p=torch.nn.Parameter(torch.ones(1))),
        "best": numpy.float64(1.5),
        "array": numpy.arange(3),
        "counts": collections.defaultdict(list, a=[1]),
        "path": Path("x"),
        "kind": torch.float16,
        "device": torch.device("cpu"),
        "set": {1},
    }
    back = helper.safe_load(stored(state, old), map_location="cpu")
    assert back["args"] == state["args"] and back["best"] == 1.5 and back["array"].tolist() == [0, 1, 2]
    assert back["model"]["w"].sum() == 2 and back["path"] == Path("x") and back["kind"] is torch.float16


def test_configurations_of_omegaconf_are_read(helper: Any) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    cfg = omegaconf.OmegaConf.create({"a": [1, "x", None], "b": {"c": 2.5}})
    assert helper.safe_load(stored({"cfg": cfg}))["cfg"] == cfg


def test_unknown_enums_become_their_value_and_unknown_classes_bags(helper: Any, foreign: types.ModuleType) -> None:
    cfg = Cfg()
    cfg.x = 3  # type: ignore[attr-defined]
    stream = stored({"choice": Choices.A, "cfg": cfg})
    del sys.modules["fairseq_gone"]
    back = helper.safe_load(stream)
    assert back["choice"] == "a" and back["cfg"].x == 3 and type(back["cfg"]).__name__ == "Cfg"


class Call:
    """Pickles as a call of something that must not be called."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "attack",
    [
        Call(os.system, "true"),
        Call(eval, "1"),
        Call(getattr, str, "join"),
        Call(getattr, argparse.Namespace, "__init__"),
        Call(torch.load, "x"),
        Call(importlib.import_module, "this"),
        Call(print, "x"),
    ],
)
def test_nothing_else_is_called(helper: Any, attack: Call, old: bool) -> None:
    with pytest.raises(pickle.UnpicklingError):
        helper.safe_load(stored({"x": attack}, old))


def test_an_attack_inside_a_nested_storage_is_refused_too(helper: Any) -> None:
    inner = stored({"x": Call(os.system, "true")}).getvalue()
    with pytest.raises(pickle.UnpicklingError):
        helper.safe_load(stored({"x": Call(torch.storage._load_from_bytes, inner)}))


def test_more_is_allowed_by_name(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fractions

    stream = stored({"x": fractions.Fraction(1, 2)})
    with pytest.raises(pickle.UnpicklingError, match="FAIRSEQ_ALLOW_GLOBALS=fractions.Fraction"):
        helper.safe_load(stream)
    stream.seek(0)
    monkeypatch.setenv("FAIRSEQ_ALLOW_GLOBALS", "fractions.Fraction")
    assert helper.safe_load(stream)["x"] == fractions.Fraction(1, 2)


def test_a_field_default_comes_from_its_factory(helper: Any) -> None:
    @dataclass
    class Some:
        a: int
        b: int = 2
        c: List[int] = field(default_factory=lambda: [3])

    from dataclasses import MISSING

    assert [helper.field_default(item) for item in fields(Some)] == [MISSING, 2, [3]]


def test_types_print_as_they_did(helper: Any) -> None:
    assert helper.type_text(Optional[int]) == "typing.Optional[int]"
    assert helper.type_text(int | None) == "typing.Optional[int]"
    assert helper.type_text(Optional[List[str]]) == "typing.Optional[typing.List[str]]"
    assert helper.type_text(Union[int, str]) == "typing.Union[int, str]"
    assert helper.type_text(int) == "<class 'int'>"


def test_the_small_replacements_do_what_they_replace(helper: Any, tmp_path: Path) -> None:
    assert [helper.strtobool(word) for word in ("Yes", "off")] == [1, 0]
    with pytest.raises(ValueError):
        helper.strtobool("maybe")
    (tmp_path / "m.py").write_text("x = 5\n")
    assert helper.load_source("some_module", str(tmp_path / "m.py")).x == 5
    assert helper.resource_filename("json", "decoder.py").endswith(os.path.join("json", "decoder.py"))
    assert helper.fork_context(0) is None


def test_types_print_as_they_did_on_python_3_8(helper: Any) -> None:
    assert helper.union_text(Optional[int]) == "typing.Union[int, NoneType]"
    assert helper.union_text(List[int]) == "typing.List[int]"
