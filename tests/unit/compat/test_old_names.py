"""Names of older releases give what stands for them today."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from fairseq.compat.aliases import ALIASES
from fairseq.compat.old_names import OLD_NAMES

ROWS = [(module, name, target) for module, names in OLD_NAMES.items() for name, target in names.items()]


@pytest.mark.parametrize(("module", "name", "target"), ROWS)
def test_an_old_name_is_the_object_of_today(module: str, name: str, target: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert found is getattr(importlib.import_module(target), name)
    assert callable(found)


@pytest.mark.parametrize("module", OLD_NAMES)
def test_other_names_are_still_missing(module: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module(module).no_such_name  # noqa: B018


@pytest.mark.parametrize(("alias", "module"), ALIASES.items())
def test_an_old_module_is_the_module_of_today_in_a_fresh_process(alias: str, module: str) -> None:
    package, _, name = alias.rpartition(".")
    code = (
        f"import {alias}; from {package} import {name}; import {module} as today, sys; "
        f"assert sys.modules['{alias}'] is today and {name} is today"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("symbol", "sentence", "joined"),
    [
        (None, "a@@ b c", "a@@ b c"),
        ("@@ ", "a@@ b c@@", "ab c"),
        ("##", "a## b", "a b"),
        ("sentencepiece", "▁a b ▁c", "ab c"),
    ],
)
def test_subwords_are_joined_by_the_old_function_too(symbol: str | None, sentence: str, joined: str) -> None:
    from fairseq.data.data_utils import process_bpe_symbol

    assert process_bpe_symbol(sentence, symbol) == joined
