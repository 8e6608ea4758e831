"""``--wandb-project``: metrics as ``TAG/metric`` in Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairseq.logging.progress_bar.base import BaseProgressBar, WrappedProgressBar, logger, scalars, step_of

__all__ = ["WandBProgressBarWrapper", "find_wandb"]


def find_wandb() -> Any:
    """The ``wandb`` module, or ``None``."""
    try:
        import wandb
    except ImportError:
        return None
    return wandb


class WandBProgressBarWrapper(WrappedProgressBar):
    """Send scalars to a wandb run, which is started here unless one is active.

    Args:
        wandb_project: project name.
        run_name: name of the run; wandb makes one up without it.
    """

    def __init__(self, wrapped_bar: BaseProgressBar, wandb_project: str, run_name: str | None = None) -> None:
        from fairseq.logging import progress_bar

        super().__init__(wrapped_bar)
        self._wandb = progress_bar.wandb
        if self._wandb is None:
            logger.warning("wandb not found, pip install wandb")
        elif getattr(self._wandb, "run", None) is None:
            self._wandb.init(project=wandb_project, name=run_name)

    def send(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        if self._wandb is None:
            return
        prefix = "" if tag is None else tag + "/"
        self._wandb.log({prefix + key: value for key, value in scalars(stats)}, step=step_of(stats, step))

    def update_config(self, config: Mapping[str, Any]) -> None:
        if self._wandb is not None:
            self._wandb.config.update(config, allow_val_change=True)
        super().update_config(config)
