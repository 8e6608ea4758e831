"""Registries know built-in names without importing them, and treat plugins as they always did."""

from __future__ import annotations

import subprocess
import sys
import types
from argparse import Namespace
from collections.abc import Iterator

import pytest

from fairseq import registry as registry_module
from fairseq.registry import LazyRegistry, class_names, setup_registry


@pytest.fixture
def toys() -> Iterator[types.ModuleType]:
    module = types.ModuleType("lazy_toys")
    exec("class Bear: pass\nclass Duck: pass\n", module.__dict__)
    for name in ("Bear", "Duck"):
        getattr(module, name).__module__ = "lazy_toys"
    yield module
    sys.modules.pop("lazy_toys", None)


@pytest.fixture
def lazy(toys: types.ModuleType) -> LazyRegistry:
    return LazyRegistry({"bear": "lazy_toys:Bear", "duck": "lazy_toys:Duck"})


def test_names_are_listed_without_importing_anything(lazy: LazyRegistry) -> None:
    assert sorted(lazy) == ["bear", "duck"] == list(lazy.keys())
    assert "bear" in lazy and len(lazy) == 2 and "lazy_toys" not in sys.modules


def test_a_value_is_imported_when_it_is_asked_for(lazy: LazyRegistry, toys: types.ModuleType) -> None:
    sys.modules["lazy_toys"] = toys
    assert lazy["bear"] is toys.Bear
    assert dict(lazy) == {"bear": toys.Bear, "duck": toys.Duck} == {**lazy}
    assert isinstance(lazy, dict)


def test_an_unknown_name_is_a_key_error_and_get_gives_the_default(lazy: LazyRegistry) -> None:
    with pytest.raises(KeyError, match="cat"):
        lazy["cat"]
    assert lazy.get("cat", 5) == 5


def test_entries_can_be_taken_out(lazy: LazyRegistry, toys: types.ModuleType) -> None:
    sys.modules["lazy_toys"] = toys
    assert lazy.pop("bear") is toys.Bear and "bear" not in lazy
    del lazy["duck"]
    assert not lazy
    with pytest.raises(KeyError):
        del lazy["duck"]


@pytest.fixture
def animal() -> Iterator[tuple]:
    made = setup_registry("--zoo-animal", base_class=dict, default="cat")
    assert made is not None
    yield made
    del registry_module.REGISTRIES["zoo_animal"]


def test_a_second_set_up_of_the_same_name_changes_nothing(animal: tuple) -> None:
    assert setup_registry("--zoo-animal") is None


def test_registering_builds_and_refuses(animal: tuple) -> None:
    build, register, names, _ = animal

    @register("cat")
    class Cat(dict):
        def __init__(self, cfg: object) -> None:
            super().__init__(cfg=cfg)

    assert names["cat"] is Cat and class_names(names) == {"Cat"}
    assert isinstance(build("cat"), Cat)
    args = Namespace(zoo_animal="cat")
    assert build(args)["cfg"] is args
    assert build(Namespace(zoo_animal=None)) is None
    with pytest.raises(ValueError, match="duplicate zoo_animal .cat."):
        register("cat")(type("Tiger", (dict,), {}))
    with pytest.raises(ValueError, match="duplicate class name .Cat."):
        register("tiger")(type("Cat", (dict,), {}))
    with pytest.raises(ValueError, match="Stone must extend dict"):
        register("stone")(type("Stone", (), {}))
    with pytest.raises(ValueError, match="must extend FairseqDataclass"):
        register("lion", dataclass=int)(type("Lion", (dict,), {}))
    with pytest.raises(ValueError, match=r"cta.*Did you mean: cat\?.*--user-dir"):
        build("cta")


def test_importing_fairseq_and_naming_its_registries_imports_no_family() -> None:
    program = (
        "import sys, fairseq\n"
        "from fairseq.models import MODEL_REGISTRY, ARCH_MODEL_REGISTRY\n"
        "from fairseq.tasks import TASK_REGISTRY\n"
        "from fairseq.registry import REGISTRIES\n"
        "sorted(MODEL_REGISTRY.keys()), sorted(ARCH_MODEL_REGISTRY), sorted(TASK_REGISTRY), sorted(REGISTRIES)\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'omegaconf', 'hydra')]\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
