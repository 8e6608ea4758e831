"""Models: the contracts they are written against, and the registry that finds them by name.

``fairseq_model`` ``fairseq_encoder`` ``fairseq_decoder`` ``fairseq_incremental_decoder``   base classes
``register_model`` ``register_model_architecture``   decorators, for built-ins and plugins alike
``build_model``                                      from a config or a flat namespace to an instance

Every other module here is one model family. None is imported before one of its names is asked for.
"""

from __future__ import annotations

import importlib
import os
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from fairseq import _index
from fairseq._lazy import attach
from fairseq.registry import LazyRegistry, check_dataclass, logger, same_source, store_dataclass

__all__ = [
    "BaseFairseqModel",
    "CompositeEncoder",
    "DistributedFairseqModel",
    "FairseqDecoder",
    "FairseqEncoder",
    "FairseqEncoderDecoderModel",
    "FairseqEncoderModel",
    "FairseqIncrementalDecoder",
    "FairseqLanguageModel",
    "FairseqModel",
    "FairseqMultiModel",
]

MODEL_REGISTRY = LazyRegistry(_index.ENTRIES.get("model"))
MODEL_DATACLASS_REGISTRY = LazyRegistry(_index.DATACLASSES.get("model"))
# Three views of the architectures: to the model class, to the model's name, to the function that applies the preset.
ARCH_MODEL_REGISTRY = LazyRegistry({a: _index.ENTRIES["model"][m] for a, (m, _) in _index.ARCHS.items()})
ARCH_MODEL_NAME_REGISTRY: dict[str, str] = {a: m for a, (m, _) in _index.ARCHS.items()}
ARCH_CONFIG_REGISTRY = LazyRegistry({a: function for a, (_, function) in _index.ARCHS.items()})
ARCH_MODEL_INV_REGISTRY: dict[str, list[str]] = {}
for _arch, (_model, _) in _index.ARCHS.items():
    ARCH_MODEL_INV_REGISTRY.setdefault(_model, []).append(_arch)

models_dir = os.path.dirname(__file__)

__getattr__, __dir__ = attach(
    __name__,
    {
        "BaseFairseqModel": "fairseq_model",
        "CompositeEncoder": "composite_encoder",
        "DistributedFairseqModel": "distributed_fairseq_model",
        "FairseqDataclass": "fairseq.dataclass.configs",
        "FairseqDecoder": "fairseq_decoder",
        "FairseqEncoder": "fairseq_encoder",
        "FairseqEncoderDecoderModel": "fairseq_model",
        "FairseqEncoderModel": "fairseq_model",
        "FairseqIncrementalDecoder": "fairseq_incremental_decoder",
        "FairseqLanguageModel": "fairseq_model",
        "FairseqModel": "fairseq_model",
        "FairseqMultiModel": "fairseq_model",
        "merge_with_parent": "fairseq.dataclass.utils",
    },
)


def register_model(name: str, dataclass: type | None = None) -> Callable[[type], type]:
    """Class decorator that makes a model available as ``--arch name`` (with a dataclass) or to architectures.

    A name that exists already keeps its class: the existing one is returned, and a warning says so.

    Raises:
        ValueError: the class does not extend ``BaseFairseqModel``, or the dataclass not ``FairseqDataclass``.
    """

    def register(cls: type) -> type:
        from fairseq.models.fairseq_model import BaseFairseqModel

        ours = MODEL_REGISTRY.is_home_of(name, cls)
        if name in MODEL_REGISTRY and not (ours and not dict.__contains__(MODEL_REGISTRY, name)):
            if not same_source(MODEL_REGISTRY[name], cls):
                logger.warning(
                    "model %s is registered already; %s.%s is ignored", name, cls.__module__, cls.__qualname__
                )
            return MODEL_REGISTRY[name]
        if not issubclass(cls, BaseFairseqModel):
            raise ValueError(f"Model ({name}: {cls.__name__}) must extend BaseFairseqModel")
        check_dataclass(dataclass)
        MODEL_REGISTRY[name] = cls
        store_dataclass("model", name, dataclass, cls)
        if dataclass is not None:
            MODEL_DATACLASS_REGISTRY[name] = dataclass
            register_model_architecture(name, name)(_keep_dataclass_defaults)
        return cls

    return register


def _keep_dataclass_defaults(_: Any) -> None:
    """The architecture function of a dataclass model: its defaults are those of the dataclass."""


def register_model_architecture(model_name: str, arch_name: str) -> Callable[[Callable], Callable]:
    """Decorator of a function ``f(args)`` that fills in what ``--arch arch_name`` implies and the user left open.

    Raises:
        ValueError: unknown model, taken architecture name, or not a callable.
    """

    def register(fn: Callable) -> Callable:
        if model_name not in MODEL_REGISTRY:
            raise ValueError(f"Cannot register model architecture for unknown model type ({model_name})")
        ours = _index.ARCHS.get(arch_name, ("", ""))[0] == model_name and (
            ARCH_CONFIG_REGISTRY.is_home_of(arch_name, fn)
            or getattr(fn, "index_target", None) == ARCH_CONFIG_REGISTRY.target(arch_name)
        )
        if arch_name in ARCH_MODEL_REGISTRY and not (ours and not dict.__contains__(ARCH_CONFIG_REGISTRY, arch_name)):
            if same_source(ARCH_CONFIG_REGISTRY[arch_name], fn):
                return fn
            raise ValueError(f"Cannot register duplicate model architecture ({arch_name})")
        if not callable(fn):
            raise ValueError(f"Model architecture must be callable ({arch_name})")
        ARCH_MODEL_REGISTRY[arch_name] = MODEL_REGISTRY[model_name]
        ARCH_MODEL_NAME_REGISTRY[arch_name] = model_name
        archs = ARCH_MODEL_INV_REGISTRY.setdefault(model_name, [])
        if arch_name not in archs:
            archs.append(arch_name)
        ARCH_CONFIG_REGISTRY[arch_name] = fn
        return fn

    return register


def build_model(cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
    """Build the model that ``cfg._name`` (config) or ``cfg.arch`` (flat namespace) names.

    Args:
        cfg: the ``model`` section of a config, or a namespace with all options.
        task: given to the class's ``build_model``.
        from_checkpoint: drop fields that today's config class does not know instead of refusing them.
    """
    from fairseq.dataclass.utils import merge_with_parent

    name: Any = getattr(cfg, "_name", None) or getattr(cfg, "arch", None)
    if not name and len(cfg) == 1:
        # A config with the model's name as its single key: {"transformer_lm": {...}}.
        name = next(iter(cfg))
        if name not in MODEL_DATACLASS_REGISTRY:
            known = sorted(MODEL_DATACLASS_REGISTRY)
            raise KeyError(f"Could not infer model type from {cfg}. Available models: {known}")
        cfg = cfg[name]
    model_name = ARCH_MODEL_NAME_REGISTRY.get(name, name)
    if model_name not in MODEL_REGISTRY:
        from fairseq.compat.suggest import unknown_name

        # The whole config would bury the name.
        raise AssertionError(f"Could not infer model type from {unknown_name('--arch', str(name), MODEL_REGISTRY)}")
    if model_name in MODEL_DATACLASS_REGISTRY and not isinstance(cfg, Namespace):
        cfg = merge_with_parent(MODEL_DATACLASS_REGISTRY[model_name](), cfg, from_checkpoint)
    elif name in ARCH_CONFIG_REGISTRY:
        ARCH_CONFIG_REGISTRY[name](cfg)
    return MODEL_REGISTRY[model_name].build_model(cfg, task)


def import_models(models_dir: str, namespace: str) -> None:
    """Import every module and package of a folder as ``namespace.name``, so that their decorators run."""
    for name in sorted(os.listdir(models_dir)):
        path = os.path.join(models_dir, name)
        if name[0] not in "._" and (name.endswith(".py") or os.path.isdir(path)):
            importlib.import_module(f"{namespace}.{name.removesuffix('.py')}")
