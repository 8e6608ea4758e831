"""Progress over an iterator, and metric lines.

``base``         the interface, number formatting, the logger
``console``      simple, json, tqdm and none formats
``tensorboard`` ``wandb_wrapper`` ``azureml`` ``aim_wrapper``   wrappers that also send the metrics elsewhere
``build``        ``progress_bar``: from options to a bar

Optional packages are imported when a bar that needs one is made. ``SummaryWriter``, ``wandb``, ``Run``, ``AimRepo``
and ``get_aim_run`` are those packages' entry points, or ``None``.
"""

import importlib
from typing import Any

from fairseq._lazy import attach

__all__ = [
    "AimProgressBarWrapper",
    "AzureMLProgressBarWrapper",
    "BaseProgressBar",
    "JsonProgressBar",
    "NoopProgressBar",
    "SimpleProgressBar",
    "TensorboardProgressBarWrapper",
    "TqdmProgressBar",
    "WandBProgressBarWrapper",
    "build_progress_bar",
    "format_stat",
    "progress_bar",
    "rename_logger",
]

_lazy, __dir__ = attach(
    __name__,
    {
        "AimProgressBarWrapper": "aim_wrapper",
        "AverageMeter": "fairseq.logging.meters",
        "AzureMLProgressBarWrapper": "azureml",
        "BaseProgressBar": "base",
        "JsonProgressBar": "console",
        "NoopProgressBar": "console",
        "SimpleProgressBar": "console",
        "StopwatchMeter": "fairseq.logging.meters",
        "TensorboardProgressBarWrapper": "tensorboard",
        "TimeMeter": "fairseq.logging.meters",
        "TqdmProgressBar": "console",
        "WandBProgressBarWrapper": "wandb_wrapper",
        "build_progress_bar": "build",
        "format_stat": "base",
        "logger": "base",
        "progress_bar": "build",
        "rename_logger": "base",
    },
)

_OPTIONAL = {
    "AimRepo": ("aim_wrapper", "find_repo_class"),
    "Run": ("azureml", "find_run_class"),
    "SummaryWriter": ("tensorboard", "find_writer_class"),
    "get_aim_run": ("aim_wrapper", "find_get_run"),
    "wandb": ("wandb_wrapper", "find_wandb"),
}


def __getattr__(name: str) -> Any:
    if name in _OPTIONAL:
        module, finder = _OPTIONAL[name]
        value = getattr(importlib.import_module(f"{__name__}.{module}"), finder)()
        globals()[name] = value
        return value
    return _lazy(name)
