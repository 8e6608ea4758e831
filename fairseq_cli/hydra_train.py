#!/usr/bin/env python3
"""``fairseq-hydra-train``: ``fairseq-train`` with Hydra's config files, overrides and sweeps."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from fairseq_cli._console import run_command

__all__ = ["cli_main", "console_main", "hydra_main"]

logger = logging.getLogger("fairseq_cli.hydra_train")

CONFIG_FOLDER = os.path.join("..", "fairseq", "config")


def hydra_main(cfg: Any) -> float:
    """Train as a composed config says.

    Returns:
        The best value of ``checkpoint.best_checkpoint_metric``, which sweepers minimise or maximise.
    """
    return _hydra_main(cfg)


def _hydra_main(cfg: Any, **_: Any) -> float:
    """As ``hydra_main``; the name that programs call which bring a config of their own."""
    from fairseq import checkpoint_utils, utils
    from fairseq.dataclass.initialize import add_defaults
    from fairseq.dataclass.lenient import complete
    from fairseq.distributed import utils as distributed_utils
    from fairseq.logging import metrics
    from fairseq.training_loop.run import main

    cfg = plain_config(cfg)
    complete(cfg)
    utils.import_user_module(cfg.common)
    add_defaults(cfg)
    if cfg.common.reset_logging:
        utils.reset_logging()
    try:
        distributed_utils.call_main(cfg, main)
    except BaseException as error:
        if not cfg.common.suppress_crashes or isinstance(error, KeyboardInterrupt):
            raise
        logger.error("Crashed! %s", error)
    # Spawned ranks train in other processes: only a run in this one knows its best value.
    best = getattr(checkpoint_utils.save_checkpoint, "best", None)
    if best is None:
        stats = metrics.get_meters("valid")
        meter = stats.get(cfg.checkpoint.best_checkpoint_metric) if stats else None
        best = getattr(meter, "smoothed_value", None)
    return float(best) if best is not None else float("nan")


def plain_config(cfg: Any) -> Any:
    """The composed config with references resolved and enums as text, open for components' own fields."""
    from omegaconf import OmegaConf

    container = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    plain = OmegaConf.create(container, flags={"allow_objects": True})
    OmegaConf.set_struct(plain, True)
    return plain


def config_name_from(argv: list[str]) -> str:
    """What ``--config-name`` says, or ``"config"``."""
    for index, word in enumerate(argv):
        if word in ("--config-name", "-cn") and index + 1 < len(argv):
            return argv[index + 1]
        if word.startswith("--config-name="):
            return word.partition("=")[2]
    return "config"


def user_dir_from(argv: list[str]) -> str | None:
    """``common.user_dir=DIR`` among the overrides: its config classes must be known before Hydra composes."""
    for word in argv:
        key, _, value = word.partition("=")
        if key.lstrip("+") == "common.user_dir" and value:
            return value.strip("'\"")
    return None


def wants_help(argv: list[str]) -> bool:
    """Whether ``help_text`` answers the command line. A plug-in's own groups are known to Hydra only."""
    return any(word in ("-h", "--help") for word in argv) and user_dir_from(argv) is None


def help_text(program: str) -> str:
    """The help of a Hydra tool, from the index of registered names.

    Hydra's own ``--help`` composes the config first, for which every component with a config class is imported.
    """
    from pathlib import Path

    import fairseq
    from fairseq import _index

    lines = [
        f"usage: {program} [--config-dir DIR] [--config-name NAME] [--multirun] [KEY=VALUE ...]",
        "",
        "Options come from YAML files and overrides: task.data=/path optimization.lr=[0.0005] model=transformer_lm",
        "",
        "  --config-dir DIR, --config-name NAME   the folder and the name (without .yaml) of a config file",
        "  --multirun, -m                         one run for each combination of values: optimization.lr=[0.1],[0.2]",
        "  --cfg job                              print the composed config and stop: all keys, with their values",
        "  --info                                 print which files and overrides it was composed from",
        "  --hydra-help                           the options of Hydra itself",
        "",
        "groups (GROUP=NAME):",
    ]
    groups = {group: sorted(names) for group, names in _index.DATACLASSES.items()}
    root = Path(fairseq.__file__).parent / "config"
    for path in sorted(root.glob("*/**/*.yaml")):
        names = groups.setdefault(path.parent.relative_to(root).as_posix(), [])
        if path.stem not in names:
            names.append(path.stem)
    return "\n".join([*lines, *(f"  {group}: {', '.join(names)}" for group, names in sorted(groups.items()))])


def cli_main() -> None:
    """Hand the command line to Hydra, which composes the config (one or several) and calls ``hydra_main``."""
    if wants_help(sys.argv[1:]):
        print(help_text(os.path.basename(sys.argv[0])))
        return
    from argparse import Namespace

    from fairseq import utils
    from fairseq.compat.hydra_version import run_with_hydra
    from fairseq.dataclass.initialize import hydra_init

    utils.import_user_module(Namespace(user_dir=user_dir_from(sys.argv[1:])))
    name = config_name_from(sys.argv[1:])
    # The file in the user's folder gives values; ours under the same name gives fields and types.
    hydra_init(name)
    run_with_hydra(hydra_main, CONFIG_FOLDER, "config")


def console_main() -> None:
    """The ``fairseq-hydra-train`` command: ``cli_main`` with errors as one line; it saves and leaves on signals."""
    from fairseq.training_loop import preemption

    with preemption.command():
        run_command(cli_main, needs="task=NAME task.data=FOLDER model=NAME")


if __name__ == "__main__":
    console_main()
