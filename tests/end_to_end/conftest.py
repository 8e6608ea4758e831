"""Data that several files of runs share."""

from __future__ import annotations

import pytest
import toy_training


@pytest.fixture(scope="session")
def toy_pairs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of binarised sentence pairs, ``aa`` and ``bb``."""
    return toy_training.make_data(tmp_path_factory.mktemp("pairs"))
