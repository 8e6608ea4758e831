"""The former place of ``fairseq prepare``, for scripts that call ``plugins.tutorial_lstm.prepare``."""

import sys
from pathlib import Path

if __package__ in (None, ""):
    # Run by its path, perhaps from a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fairseq_cli.prepare.command import console_main, main, prepare_iwslt14, prepare_numbers, prepare_text

__all__ = ["main", "prepare_iwslt14", "prepare_numbers", "prepare_text"]

if __name__ == "__main__":
    console_main()
