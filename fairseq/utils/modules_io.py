"""Attributes that may be missing, evaluation mode, random state, ensembles."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

__all__ = [
    "deprecation_warning",
    "get_incremental_state",
    "get_rng_state",
    "has_parameters",
    "hotreload_function",
    "load_ensemble_for_inference",
    "model_eval",
    "reset_logging",
    "safe_getattr",
    "safe_hasattr",
    "set_incremental_state",
    "set_rng_state",
    "set_torch_seed",
]

LOG_FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


def safe_getattr(obj: Any, k: str, default: Any = None) -> Any:
    """``getattr`` for configs: a key that is absent, ``None`` or cannot be resolved gives ``default``."""
    from omegaconf import OmegaConf

    if OmegaConf.is_config(obj):
        value = obj[k] if k in obj and obj[k] is not None else None
    else:
        value = getattr(obj, k, None)
    return default if value is None else value


def safe_hasattr(obj: Any, k: str) -> bool:
    """Whether ``obj`` has ``k`` with a value other than ``None``."""
    return safe_getattr(obj, k) is not None


def deprecation_warning(message: str, stacklevel: int = 3) -> None:
    """Warn about an old name. A plain ``UserWarning``, because Python hides deprecation warnings by default."""
    warnings.warn(message, stacklevel=stacklevel)


@contextlib.contextmanager
def model_eval(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def has_parameters(module: nn.Module) -> bool:
    """Whether a module or a child of it has at least one parameter."""
    return next(module.parameters(), None) is not None


def get_rng_state() -> dict[str, Any]:
    """Torch's random state: the CPU generator and the current CUDA device's, where there is one."""
    state: dict[str, Any] = {"torch_rng_state": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng_state"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what ``get_rng_state`` returned."""
    torch.set_rng_state(state["torch_rng_state"])
    if "cuda_rng_state" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng_state"])


class set_torch_seed:
    """Seed torch now; as a context manager, put the former random state back on leaving.

    Only the CPU generator and the current CUDA device are touched, so numpy's stream goes on.

    Raises:
        AssertionError: the seed is no ``int``.
    """

    def __init__(self, seed: int) -> None:
        if not isinstance(seed, int):
            # The class is part of the contract.
            raise AssertionError(f"the seed must be an int, got {type(seed).__name__}: {seed!r}")
        self.rng_state = get_rng_state()
        # torch.manual_seed would also seed every visible CUDA device; the generators below are those that are restored.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed(seed)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        set_rng_state(self.rng_state)


def get_incremental_state(module: Any, incremental_state: dict[str, Any] | None, key: str) -> Any:
    """``module.get_incremental_state(...)``, as a function for old callers."""
    return module.get_incremental_state(incremental_state, key)


def set_incremental_state(module: Any, incremental_state: dict[str, Any] | None, key: str, value: Any) -> Any:
    """``module.set_incremental_state(...)``; returns the state dictionary. Does nothing when that is ``None``."""
    if incremental_state is None:
        return None
    updated = module.set_incremental_state(incremental_state, key, value)
    return incremental_state if updated is None else updated


def load_ensemble_for_inference(
    filenames: list[str], task: Any, model_arg_overrides: dict[str, Any] | None = None
) -> Any:
    """Old name of ``checkpoint_utils.load_model_ensemble``."""
    from fairseq import checkpoint_utils

    deprecation_warning(
        "utils.load_ensemble_for_inference is deprecated. Please use checkpoint_utils.load_model_ensemble instead."
    )
    return checkpoint_utils.load_model_ensemble(filenames, arg_overrides=model_arg_overrides, task=task)


def reset_logging() -> None:
    """Replace the root logger's handlers by one on stdout, in the format of the command-line tools.

    The level comes from ``$LOGLEVEL`` (default INFO).
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(os.environ.get("LOGLEVEL", "INFO").upper())
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter(LOG_FORMAT, DATE_FORMAT))
    root.addHandler(console)


def hotreload_function(name: str | None = None) -> Callable[[Callable], Callable]:
    """Decorator: edits of the function's source take effect in the running process (for debugging long jobs).

    Args:
        name: how the function is called in the log; its own name by default.

    Raises:
        ImportError: the ``jurigged`` package, which does the work, is not installed.
    """
    try:
        import jurigged  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("hotreload_function needs the jurigged package: pip install jurigged") from error

    def decorate(function: Callable) -> Callable:
        label = name or function.__qualname__
        logger = logging.getLogger(function.__module__)
        jurigged.watch(
            pattern=sys.modules[function.__module__].__file__,
            logger=lambda event: logger.info("hot reload of %s: %s", label, event),
        )
        return function

    return decorate
