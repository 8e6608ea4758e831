"""``fairseq-prepare``: from raw text to a data folder; the tutorial's preparation, wherever the plugin is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from fairseq_cli._console import run_command

__all__ = ["cli_main", "console_main", "tutorial_module"]


def tutorial_module(name: str) -> ModuleType:
    """A module of the shipped tutorial plugin.

    An installation has the plugins as ``fairseq_plugins``, a checkout that is not installed as ``plugins``.

    Raises:
        ImportError: neither is there.
    """
    for package in ("fairseq_plugins", "plugins"):
        try:
            return import_module(f"{package}.tutorial_lstm.{name}")
        except ModuleNotFoundError as error:
            if error.name not in (package, f"{package}.tutorial_lstm"):
                raise
    raise ImportError("the tutorial's plugin is not installed; install fairseq again: pip install 'fairseq[tutorial]'")


def cli_main(argv: Sequence[str] | None = None) -> None:
    """Run the preparation."""
    tutorial_module("prepare").main(argv)


def console_main() -> None:
    """The ``fairseq-prepare`` command: ``cli_main`` with errors as one line."""
    run_command(cli_main, needs="SOURCE --destdir FOLDER")


if __name__ == "__main__":
    console_main()
