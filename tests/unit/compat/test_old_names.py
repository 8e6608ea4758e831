"""Names of older releases give what stands for them today."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fairseq.compat.names import OLD_NAMES, homes_of, module_alias

ALIASES = [
    f"{package}.{name}" for package in OLD_NAMES for name in homes_of(package) if module_alias(f"{package}.{name}")
]


def test_whole_modules_have_old_names() -> None:
    assert {"fairseq.metrics", "fairseq.meters", "fairseq.data.masked_lm_dictionary"} <= set(ALIASES)
    assert module_alias("fairseq.trainer.metrics") is None  # lent, but no submodule
    assert module_alias("fairseq.data.BertDictionary") is None


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("first", ["import {alias}", "from {package} import {name}", "import {home}"])
def test_an_old_module_is_the_module_of_today_in_a_fresh_process(alias: str, first: str) -> None:
    package, _, name = alias.rpartition(".")
    home = module_alias(alias)
    code = (
        f"{first.format(alias=alias, package=package, name=name, home=home)}\n"
        f"import sys, {alias}, {home} as today\nfrom {package} import {name}\n"
        f"assert sys.modules['{alias}'] is today and {name} is today is {alias}\n"
        f"assert today.__spec__.name == today.__name__ == '{home}' and '{name}' in dir({package})\n"
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
