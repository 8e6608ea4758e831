#!/usr/bin/env python3
"""``fairseq-validate`` with Hydra's config files and overrides (``python -m fairseq_cli.hydra_validate``)."""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from typing import Any

from fairseq_cli._console import run_command
from fairseq_cli.hydra_train import CONFIG_FOLDER, config_name_from, help_text, plain_config, user_dir_from, wants_help

__all__ = ["cli_main", "console_main", "hydra_main", "validate"]

logger = logging.getLogger("fairseq_cli.hydra_validate")


def hydra_main(cfg: Any) -> None:
    """Validate as a composed config says; ``common_eval.path`` names the checkpoint."""
    from fairseq import utils
    from fairseq.dataclass.initialize import add_defaults
    from fairseq.distributed import utils as distributed_utils

    cfg = plain_config(cfg)
    utils.import_user_module(cfg.common)
    add_defaults(cfg)
    if cfg.common.reset_logging:
        utils.reset_logging()
    try:
        distributed_utils.call_main(cfg, validate)
    except Exception as error:
        if not cfg.common.suppress_crashes:
            raise
        logger.error("Crashed! %s", error)


def validate(cfg: Any) -> None:
    """Load the model and log the metrics of each validation subset; a given ``task.data`` replaces the saved one."""
    from fairseq_cli.validate import main

    data = cfg.task.get("data") if cfg.task is not None else None
    main(cfg, override_args=Namespace(data=data) if data not in (None, "???") else None)


def cli_main() -> None:
    """Hand the command line to Hydra, which composes the config and calls ``hydra_main``."""
    if wants_help(sys.argv[1:]):
        print(help_text(os.path.basename(sys.argv[0])))
        return
    from fairseq import utils
    from fairseq.compat.hydra_version import run_with_hydra
    from fairseq.dataclass.initialize import hydra_init

    utils.import_user_module(Namespace(user_dir=user_dir_from(sys.argv[1:])))
    hydra_init(config_name_from(sys.argv[1:]))
    run_with_hydra(hydra_main, CONFIG_FOLDER, "config")


def console_main() -> None:
    """``cli_main`` with errors as one line."""
    run_command(cli_main)


if __name__ == "__main__":
    console_main()
