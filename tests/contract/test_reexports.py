"""Names that plugins import from modules which have them only by accident upstream."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from fairseq.compat.reexports import PLACES, REEXPORTS, reexported_names


@pytest.mark.parametrize("module", sorted(REEXPORTS))
def test_every_borrowed_name_is_found(module: str) -> None:
    lender = importlib.import_module(module)
    for name in reexported_names(module):
        place, colon, attribute = PLACES[name].partition(":")
        expected = importlib.import_module(place)
        assert getattr(lender, name) is (getattr(expected, attribute or name) if colon else expected), name


def test_every_place_is_used() -> None:
    assert {name for module in REEXPORTS for name in reexported_names(module)} == set(PLACES)


def test_other_names_stay_unknown() -> None:
    for module in ("fairseq.trainer", "fairseq.models.lstm", "fairseq_cli.train"):
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
