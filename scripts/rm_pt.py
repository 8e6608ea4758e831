#!/usr/bin/env python3
"""The script of this name that recipes call; docs/recipes.md tells what does its job."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from fairseq_cli._console import run_command
from fairseq_cli.recipes.scripts import run

if __name__ == "__main__":
    run_command(lambda: run(Path(__file__).stem, sys.argv[1:]))
