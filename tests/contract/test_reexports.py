"""The table of ``fairseq.compat.names``: names that plugins import from modules which only lend them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from fairseq.compat.names import HOMES, OLD_NAMES, UPSTREAM_IMPORTS, homes_of


@pytest.mark.parametrize("module", sorted({*OLD_NAMES, *UPSTREAM_IMPORTS}))
def test_every_lent_name_is_the_object_at_its_home(module: str) -> None:
    lender = importlib.import_module(module)
    assert homes_of(module)
    for name, home in homes_of(module).items():
        place, colon, attribute = home.partition(":")
        expected = importlib.import_module(place)
        assert getattr(lender, name) is (getattr(expected, attribute or name) if colon else expected), name


def test_every_home_is_used() -> None:
    assert {name for module in {*OLD_NAMES, *UPSTREAM_IMPORTS} for name in homes_of(module)} == set(HOMES)


@pytest.mark.parametrize("table", [OLD_NAMES, UPSTREAM_IMPORTS])
def test_rows_and_names_are_sorted_and_stand_once(table: dict[str, str]) -> None:
    assert list(table) == sorted(table)
    for module, names in table.items():
        assert names.split() == sorted(set(names.split())), module
        assert table is OLD_NAMES or not set(names.split()) & set(homes_of(module, OLD_NAMES)), module


def test_other_names_stay_unknown() -> None:
    for module in ("fairseq", "fairseq.binarizer", "fairseq.data", "fairseq.trainer", "fairseq_cli.train"):
        with pytest.raises(AttributeError, match="nothing_like_it"):
            importlib.import_module(module).nothing_like_it  # noqa: B018


def test_plugins_import_them_in_a_fresh_process() -> None:
    program = (
        "from fairseq_cli.train import checkpoint_utils, main\n"
        "from fairseq.trainer import metrics, Trainer\n"
        "from fairseq.tasks.translation import metrics as same, load_langpair_dataset\n"
        "from fairseq.models.lstm import FairseqEncoder, LSTMEncoder\n"
        "import fairseq.logging.metrics as here\n"
        "assert metrics is same is here\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
