"""May a fast path take the place of an object's methods?

A fast path computes what a module computes without calling some of its methods. Plug-ins override methods in
subclasses, replace them on instances or classes, and register hooks; a fast path must then stand aside, or the plug-in
would silently not run. ``uses_default_methods`` answers that question for every fast path in this package. It compares
*all* functions of a class, so a method that is added later is guarded without an entry anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules import module as torch_module

__all__ = ["EXEMPT", "fast_paths_enabled", "is_unhooked", "package_class", "uses_default_methods"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
# A class that changes how calls or attributes are looked up may change any method.
_LOOKUP = ("__call__", "__getattr__", "__getattribute__")

_CONSTRUCTION = "runs before; the parts that it makes are examined themselves"
_STATE_DICT = "about loading and saving weights, which fast paths read when they run"
_WEIGHTS = "changes weights once, outside of a forward pass"
_REGISTRY = "called on the class, before there is an object"
_LIMIT = "asked by the caller of the fast path as well"
_SETTING = "called between batches whichever path is taken; what it sets is examined itself"

# Method -> why overriding it concerns no fast path.
EXEMPT: Mapping[str, str] = {
    "__init__": _CONSTRUCTION,
    "__repr__": "for people",
    "extra_repr": "for people",
    "build_fc1": _CONSTRUCTION,
    "build_fc2": _CONSTRUCTION,
    "build_self_attention": _CONSTRUCTION,
    "build_encoder_attention": _CONSTRUCTION,
    "build_encoder_layer": _CONSTRUCTION,
    "build_decoder_layer": _CONSTRUCTION,
    "build_output_projection": _CONSTRUCTION,
    "build_embedding": _CONSTRUCTION,
    "_build_embeddings": _CONSTRUCTION,
    "build_shared_embeddings": _CONSTRUCTION,
    "build_encoder": _CONSTRUCTION,
    "build_decoder": _CONSTRUCTION,
    "build_model": _REGISTRY,
    "build_criterion": _REGISTRY,
    "add_args": _REGISTRY,
    "from_pretrained": _REGISTRY,
    "hub_models": _REGISTRY,
    "reset_parameters": _WEIGHTS,
    "_get_fc_rank": _WEIGHTS,
    "_prune_fc_layer": _WEIGHTS,
    "_get_reserve_head_index": _WEIGHTS,
    "_adaptive_prune_heads": _WEIGHTS,
    "load_state_dict": _STATE_DICT,
    "upgrade_state_dict": _STATE_DICT,
    "upgrade_state_dict_named": _STATE_DICT,
    "max_positions": _LIMIT,
    "max_decoder_positions": _LIMIT,
    "set_num_updates": _SETTING,
    "set_epoch": _SETTING,
    "train": _SETTING,
    "make_generation_fast_": _SETTING,
    "prepare_for_inference_": _SETTING,
    "prepare_for_onnx_export_": _SETTING,
    "_set_skip_embed_dim_check": _SETTING,
    "reduce_metrics": "about logging outputs, after the loss",
    "logging_outputs_can_be_summed": "about logging outputs, after the loss",
}


def fast_paths_enabled() -> bool:
    """False with ``FAIRSEQ_FAST_PATHS=0``: every model is then computed by the plain code of its modules."""
    return os.environ.get("FAIRSEQ_FAST_PATHS", "1") != "0"


def package_class(obj: Any) -> type:
    """The most derived class of an object that this package defines (``object`` if there is none)."""
    return next((cls for cls in type(obj).__mro__ if cls.__module__.startswith("fairseq.")), object)


def uses_default_methods(obj: Any, base: type, ignore: Collection[str] = ()) -> bool:
    """Whether ``obj`` behaves as ``base`` was written.

    Args:
        obj: an instance of ``base`` or of a subclass; another object gives ``False``.
        base: a class of this package (or of PyTorch). The functions compared are its own and those of its bases in
            this package.
        ignore: methods that the fast path calls itself, or that call the fast path; ``EXEMPT`` is ignored always. With
            ``forward`` in it hooks are allowed too: calling the module runs them.

    Returns:
        ``False`` if a subclass overrides a function, if one was replaced on the instance or on a class after the class
        was written, or if the module has hooks. Also ``False`` inside ``torch.compile``, which makes its own fast code.
    """
    if not isinstance(obj, base) or torch.compiler.is_compiling():
        return False
    cls, own = type(obj), vars(obj)
    methods = _written_methods(base)
    if methods is None:
        return False
    for name, function in methods.items():
        if name in ignore:
            continue
        found = getattr(cls, name, None)
        if name in own or getattr(found, "__func__", found) is not function:
            return False
    if any(getattr(cls, name, None) is not getattr(base, name, None) for name in _LOOKUP):
        return False
    return "forward" in ignore or not isinstance(obj, nn.Module) or is_unhooked(obj)


_WRITTEN: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


def _written_methods(base: type) -> dict[str, Any] | None:
    """Name -> function of ``base`` as its source code has it; ``None`` while a function is replaced."""
    methods = _WRITTEN.get(base)
    if methods is None:
        methods = _read_methods(base)
        if methods is not None:
            _WRITTEN[base] = methods
    return methods


def _read_methods(base: type) -> dict[str, Any] | None:
    methods: dict[str, Any] = {}
    for cls in base.__mro__:
        if cls is not base and not cls.__module__.startswith("fairseq."):
            continue
        for name, value in vars(cls).items():
            function = getattr(value, "__func__", value)
            if name in methods or name in EXEMPT or name in _LOOKUP:
                continue
            if not isinstance(function, (FunctionType, property)):
                continue
            if isinstance(function, FunctionType) and not _is_written_in(function, cls):
                return None
            methods[name] = function
    return methods


def _is_written_in(function: FunctionType, cls: type) -> bool:
    # Dataclasses and decorators of this package make functions too; what counts is that none is foreign.
    home = function.__module__.partition(".")[0]
    return home == cls.__module__.partition(".")[0] and not hasattr(function, "__wrapped__")


def is_unhooked(*modules: nn.Module | None) -> bool:
    """Whether calling modules runs the ``forward`` of their classes and nothing else.

    Hooks may look at what goes in or comes out, change it, or prepare weights just before (pruning, weight norm).
    """
    if torch.compiler.is_compiling():  # the compiler guards the rest, and cannot follow it
        return all(m is None or not (m._forward_hooks or m._forward_pre_hooks) for m in modules)
    if any(getattr(torch_module, name, None) for name in _GLOBAL_HOOKS):
        return False
    for module in modules:
        if module is None:
            continue
        own = vars(module)
        if "forward" in own or any(own.get(name) for name in _HOOKS):
            return False
        if type(module).__call__ is not nn.Module.__call__:
            return False
    return True
