"""Errors of NumPy say which file they are about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fairseq.data.audio.audio_utils import get_features_from_npy_or_audio
from fairseq.data.audio.feature_transforms.global_cmvn import GlobalCMVN


@pytest.mark.parametrize("body", [b"", b"no array", b"\x80\x04K\x01.", b"PK\x03\x04broken"])
def test_an_array_file_that_cannot_be_read_is_named(body: bytes, tmp_path: Path) -> None:
    for name in ("features.npy", "stats.npz"):
        path = tmp_path / name
        path.write_bytes(body)
        with pytest.raises(ValueError, match=f"{path} cannot be read as a file of NumPy arrays: "):
            get_features_from_npy_or_audio(str(path)) if name.endswith(".npy") else GlobalCMVN(str(path))


def test_an_archive_without_the_expected_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "stats.npz", mean=np.zeros(2))
    with pytest.raises(ValueError, match=r"stats\.npz cannot be read as a file of NumPy arrays: std"):
        GlobalCMVN(str(tmp_path / "stats.npz"))
