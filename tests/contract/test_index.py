"""``fairseq/_index.py`` lists what importing everything registers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="scripts are part of the checkout only")
def test_the_index_is_current() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_index.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
