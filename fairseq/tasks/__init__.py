"""Tasks: what is learnt, from which data, scored how. One module per task, imported when its name is asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from fairseq import _index
from fairseq._lazy import attach
from fairseq.registry import LazyRegistry, check_dataclass, class_names, logger, same_source, store_dataclass

__all__ = ["FairseqTask", "LegacyFairseqTask", "get_task", "import_tasks", "register_task", "setup_task"]

TASK_REGISTRY = LazyRegistry(_index.ENTRIES.get("task"))
TASK_DATACLASS_REGISTRY = LazyRegistry(_index.DATACLASSES.get("task"))
TASK_CLASS_NAMES: set[str] = class_names(TASK_REGISTRY)

tasks_dir = os.path.dirname(__file__)

__getattr__, __dir__ = attach(
    __name__,
    {
        "FairseqDataclass": "fairseq.dataclass.configs",
        "FairseqTask": "fairseq_task",
        "LegacyFairseqTask": "fairseq_task",
        "merge_with_parent": "fairseq.dataclass.utils",
    },
)


def setup_task(cfg: Any, **kwargs: Any) -> Any:
    """Set up the task that ``cfg._name`` (config section) or ``cfg.task`` (flat namespace) names.

    ``kwargs`` go to the class's ``setup_task``; ``from_checkpoint=True`` among them drops fields that today's config
    class does not know.

    Raises:
        AssertionError: no such task (an upstream contract; the message lists the known ones).
    """
    from fairseq.dataclass.utils import merge_with_parent

    name: Any = getattr(cfg, "task", None)
    if isinstance(name, str):
        if name in TASK_DATACLASS_REGISTRY:
            cfg = TASK_DATACLASS_REGISTRY[name].from_namespace(cfg)
    else:
        name = getattr(cfg, "_name", None)
        if name in TASK_DATACLASS_REGISTRY:
            remove_missing = bool(kwargs.get("from_checkpoint", False))
            cfg = merge_with_parent(TASK_DATACLASS_REGISTRY[name](), cfg, remove_missing)
    if name not in TASK_REGISTRY:
        from fairseq.compat.suggest import unknown_name

        hint = unknown_name("--task", str(name), TASK_REGISTRY)
        raise AssertionError(f"Could not infer task type from {cfg}. {hint}")
    return TASK_REGISTRY[name].setup_task(cfg, **kwargs)


def register_task(name: str, dataclass: type | None = None) -> Callable[[type], type]:
    """Class decorator that makes a task available as ``--task name``.

    A name that exists already keeps its class: the existing one is returned, and a warning says so.

    Raises:
        ValueError: wrong base class, class name taken by another task, or a dataclass of the wrong kind.
    """

    def register(cls: type) -> type:
        from fairseq.tasks.fairseq_task import FairseqTask

        ours = TASK_REGISTRY.is_home_of(name, cls)
        if name in TASK_REGISTRY and not (ours and not dict.__contains__(TASK_REGISTRY, name)):
            if not same_source(TASK_REGISTRY[name], cls):
                logger.warning(
                    "task %s is registered already; %s.%s is ignored", name, cls.__module__, cls.__qualname__
                )
            return TASK_REGISTRY[name]
        if not issubclass(cls, FairseqTask):
            raise ValueError(f"Task ({name}: {cls.__name__}) must extend FairseqTask")
        if not ours and cls.__name__ in TASK_CLASS_NAMES:
            raise ValueError(f"Cannot register task with duplicate class name ({cls.__name__})")
        check_dataclass(dataclass)
        TASK_REGISTRY[name] = cls
        TASK_CLASS_NAMES.add(cls.__name__)
        if dataclass is not None:
            TASK_DATACLASS_REGISTRY[name] = dataclass
        store_dataclass("task", name, dataclass, cls)
        return cls

    return register


def get_task(name: str) -> Any:
    """The task class registered under ``name``."""
    return TASK_REGISTRY[name]


def import_tasks(tasks_dir: str, namespace: str) -> None:
    """Import every module and package of a folder as ``namespace.name``, so that their decorators run."""
    for name in sorted(os.listdir(tasks_dir)):
        path = os.path.join(tasks_dir, name)
        if name[0] not in "._" and (name.endswith(".py") or os.path.isdir(path)):
            importlib.import_module(f"{namespace}.{name.removesuffix('.py')}")
