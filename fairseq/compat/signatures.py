"""Overrides of an older signature: plugins of fairseq 0.9 and 0.10 override methods that have gained arguments since.

``build_generator(self, args)``, ``train_step`` without ``update_num``, ``load_dataset(self, split, combine=False)``,
``build_dataset_for_inference(self, src_tokens, src_lengths)``: the callers pass what such an override takes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["call_build_generator", "fitting"]

logger = logging.getLogger(__name__)

# What upstream's later callers (and ours: report) pass for their own bookkeeping; an override that knows nothing of it
# loses nothing.
UNMISSED = frozenset(
    {"data_buffer_size", "data_selector", "disable_iterator_cache", "epoch", "report", "task_cfg", "update_num"}
)


@lru_cache(maxsize=256)
def _names(function: Callable[..., Any]) -> frozenset[str] | None:
    """Parameters that can be given by name; ``None`` if any name can."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def _names_of(method: Callable[..., Any]) -> frozenset[str] | None:
    return _names(getattr(method, "__func__", method))


@lru_cache(maxsize=256)
def _warn(method: str, name: str) -> None:
    logger.warning("%s takes no %s: it is left out", method, name)


def fitting(method: Callable[..., Any], **keywords: Any) -> dict[str, Any]:
    """Those of the keywords that a method takes, for ``method(..., **fitting(method, a=1))``.

    One that is left out although it says something (neither ``None``, false nor empty) is warned about, once.
    """
    names = _names_of(method)
    if names is None or names.issuperset(keywords):
        return keywords
    for name, value in keywords.items():
        if name not in names and name not in UNMISSED and value is not None and value is not False and value != {}:
            _warn(getattr(method, "__qualname__", repr(method)), name)
    return {name: value for name, value in keywords.items() if name in names}


def call_build_generator(task: Any, models: Any, options: Any, extra: dict[str, Any], **more: Any) -> Any:
    """``task.build_generator(models, options, extra_gen_cls_kwargs=extra)``, or what its override takes of it."""
    method = task.build_generator
    names = _names_of(method)
    if names is not None and "models" not in names and names & {"args", "cfg"}:
        return method(options)
    return method(models, options, **fitting(method, extra_gen_cls_kwargs=extra, **more))
