"""``--azureml-logging``: metrics as rows of an Azure ML run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairseq.logging.progress_bar.base import BaseProgressBar, WrappedProgressBar, logger, scalars, step_of

__all__ = ["AzureMLProgressBarWrapper", "find_run_class"]


def find_run_class() -> Any:
    """``azureml.core.Run``, or ``None``."""
    try:
        from azureml.core import Run
    except ImportError:
        return None
    return Run


class AzureMLProgressBarWrapper(WrappedProgressBar):
    """Send scalars to the Azure ML run that this process belongs to."""

    def __init__(self, wrapped_bar: BaseProgressBar) -> None:
        from fairseq.logging import progress_bar

        super().__init__(wrapped_bar)
        self.run: Any = None
        if progress_bar.Run is None:
            logger.warning("azureml.core not found, pip install azureml-core")
        else:
            self.run = progress_bar.Run.get_context()

    def __exit__(self, *exc: Any) -> Any:
        if self.run is not None:
            self.run.complete()
        return super().__exit__(*exc)

    def send(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        if self.run is None:
            return
        at = step_of(stats, step)
        for key, value in scalars(stats):
            name = key if tag is None else f"{tag}/{key}"
            self.run.log_row(name=name, **{"num_updates": at, key: value})
