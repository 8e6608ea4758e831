"""Hydra with the rules of its version 1.1.

Who needs it: config folders written for Hydra 1.0 and 1.1, upstream's own examples among them. Their files begin with
``# @package _group_``, override launchers without saying ``override``, expect to be checked against the schema of the
same name, and expect a run to work in a folder of its own. Hydra 1.3 still does all that when it is asked to; 1.4 is
announced to stop, which is why the requirement ends below it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["run_with_hydra"]

# Hydra's advice to the author of a program and of its configs; a person who trains can do nothing about it.
ADVICE = (
    r"(?s).*selects Hydra 1\.1 compatibility behavior",
    r"(?s).*Usage of deprecated keyword in package header",
    r"(?s).*is validated against ConfigStore schema with the same name",
)


def run_with_hydra(main: Callable[[Any], Any], config_path: str, config_name: str) -> None:
    """Let Hydra read the command line, compose the config (one or several), and call ``main`` with each.

    Args:
        main: takes the composed config.
        config_path: folder of the shipped configs, relative to the module of ``main``.
        config_name: the primary config, unless the command line names another.
    """
    import hydra
    from hydra.core.config_store import ConfigStore

    # The rule of 1.1, which warns where it is not spelt out; a config or the command line may say otherwise.
    ConfigStore.instance().repo["hydra"]["config.yaml"].node.job.chdir = True
    # Errors reach the tool, which shows one line, instead of Hydra's printer, which shows a traceback.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with warnings.catch_warnings():
        for message in ADVICE:
            warnings.filterwarnings("ignore", message=message)
        hydra.main(config_path=config_path, config_name=config_name, version_base="1.1")(main)()
