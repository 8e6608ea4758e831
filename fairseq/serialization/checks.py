"""Is what a file holds shaped like a fairseq checkpoint?

The rest of the program takes the layout for granted; a file in which a list is a number must be an error that names the
file, not one from deep inside. Options get more care, since OmegaConf gives some texts a meaning: ``${name:...}`` calls
a resolver, which may read the environment or run anything a program has registered.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from fairseq.serialization.errors import CorruptCheckpointError, UnsafeOptionError, shown
from fairseq.serialization.trees import measure

__all__ = ["asks_resolver", "check_history", "check_options", "check_paths", "check_weights"]

_MAX_DEPTH = 40
_MAX_SIZE = 1_000_000
# A reference to another option; anything else behind ``${`` is left to no parser.
_REFERENCE = re.compile(r"\$\{[\w.\[\]-]*\}")

_SECTIONS: dict[str, tuple[type, ...]] = {
    "args": (Namespace, dict, type(None)),
    "cfg": (Namespace, dict, type(None)),
    "model": (dict,),
    "criterion": (dict, type(None)),
    "optimizer_history": (list,),
    "task_state": (dict, type(None)),
    "extra_state": (dict, type(None)),
    "last_optimizer_state": (dict, type(None)),
}
_HISTORY: dict[str, tuple[type, ...]] = {
    "criterion_name": (str, type(None)),
    "optimizer_name": (str, type(None)),
    "lr_scheduler_state": (dict, type(None)),
    "num_updates": (int, type(None)),
}
_POSITION: dict[str, tuple[type, ...]] = {
    "version": (int,),
    "epoch": (int, type(None)),
    "iterations_in_epoch": (int, type(None)),
    "shuffle": (bool, type(None)),
}


def asks_resolver(text: str) -> bool:
    """Whether OmegaConf would do more with a text than look up another option."""
    return "${" in text and "${" in _REFERENCE.sub("", text)


def _texts(tree: Any) -> Iterator[tuple[str, str]]:
    """``(dotted key, text)`` of a config; it is known to be finite."""
    todo: list[tuple[str, Any]] = [("", tree)]
    while todo:
        key, node = todo.pop()
        if isinstance(node, str):
            yield key, node
        elif isinstance(node, Namespace):
            todo.extend((f"{key}.{name}", value) for name, value in vars(node).items())
        elif isinstance(node, dict):
            todo.extend((f"{key}.{name}", value) for name, value in node.items())
        elif isinstance(node, (list, tuple)):
            todo.extend((f"{key}[{index}]", value) for index, value in enumerate(node))


def _expect(path: str, what: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
        raise CorruptCheckpointError(
            f"{path} is no fairseq checkpoint, or damaged: {what} is of type {type(value).__name__}, not {wanted}"
        )


def check_options(path: str, state: dict[Any, Any], *, trusted: bool = False) -> None:
    """Check the parts of a state as it was read, the options among them.

    Args:
        path: for messages.
        state: changed in no way.
        trusted: the caller asked for unchecked loading; resolvers may be called.

    Raises:
        CorruptCheckpointError: a part is of the wrong kind, or its options hold themselves.
        UnsafeOptionError: an option calls a resolver.
    """
    for name, kinds in _SECTIONS.items():
        # Unchecked loading gives configs of OmegaConf's own class.
        if name in state and not (trusted and name in ("args", "cfg")):
            _expect(path, name, state[name], kinds)
    if any(not isinstance(name, str) for name in state.get("model") or ()):
        raise CorruptCheckpointError(f"{path} is no fairseq checkpoint, or damaged: model has keys that are no text")
    if trusted:
        return
    for name in ("args", "cfg"):
        options = state.get(name)
        found = measure(options)
        if found.is_cyclic or found.depth > _MAX_DEPTH or found.size > _MAX_SIZE:
            raise CorruptCheckpointError(f"{path} is damaged: {name} holds itself, or is nested without end")
        for key, text in _texts(options):
            if asks_resolver(text):
                raise UnsafeOptionError(path, f"{name}{key}", text)


# Sections of a config whose options may name files that are read when the model is used.
_READING = ("task", "model", "bpe", "tokenizer", "generation", "scoring")


def check_paths(path: str, cfg: Any, given: Mapping[str, Any]) -> None:
    """Refuse options that name a device, a pipe or a socket: reading such a one need not come to an end.

    Args:
        path: of the checkpoint, for messages.
        cfg: the config in it, as a tree of dictionaries, lists and namespaces.
        given: options that the caller has set, not the file; they may name what they like.

    Raises:
        UnsafeOptionError: one does.
    """
    own = {value for value in given.values() if isinstance(value, str)}
    sections = cfg if isinstance(cfg, dict) else {}
    texts = [(f"{name}{key}", text) for name in _READING for key, text in _texts(sections.get(name))]
    if any("${" in text for _, text in texts):
        texts = [(key.removeprefix("."), text) for key, text in _texts(sections)]  # a reference may lead anywhere
    for key, text in texts:
        # Files with initial weights are not opened at all.
        if "/" not in text or text in own or text == os.devnull or key.endswith("_embed_path"):
            continue
        with contextlib.suppress(OSError, ValueError):
            mode = os.stat(text).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UnsafeOptionError(path, key, text, "is no file")


def check_weights(path: str, state: dict[Any, Any]) -> None:
    """Check that a state holds a model, and that it consists of tensors.

    Raises:
        CorruptCheckpointError: it does not.
    """
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise CorruptCheckpointError(f"{path} holds no model")
    for name, value in state["model"].items():
        _expect(path, f"parameter {shown(str(name))}", value, (torch.Tensor,))


def check_history(path: str, state: dict[Any, Any]) -> None:
    """Check what training reads, in a state of today's layout.

    Raises:
        CorruptCheckpointError: a part is missing or of the wrong kind.
    """
    history = state["optimizer_history"]
    for entry in history:
        _expect(path, "an entry of optimizer_history", entry, (dict,))
    for name, kinds in _HISTORY.items():
        if history and name in history[-1]:
            _expect(path, f"optimizer_history: {name}", history[-1][name], kinds)
    schedule = (history[-1].get("lr_scheduler_state") if history else None) or {}
    if "lr" in schedule:
        _expect(path, "lr_scheduler_state: lr", schedule["lr"], (int, float, list))
    _check_moments(path, state.get("last_optimizer_state") or {})
    extra = state.get("extra_state") or {}
    for name in ("best", "val_loss"):
        _expect(path, f"extra_state: {name}", extra.get(name), (int, float, torch.Tensor, np.number, type(None)))
    position = extra.get("train_iterator")
    if position is not None:
        _expect(path, "extra_state: train_iterator", position, (dict,))
        for name, kinds in _POSITION.items():
            if name in position:
                _expect(path, f"train_iterator: {name}", position[name], kinds)


_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta", "exp_inf", "sum")


def _check_moments(path: str, optimizer: dict[Any, Any]) -> None:
    """The well-known states of optimizers are tensors; those of plugins may be anything."""
    states = optimizer.get("state")
    for state in states.values() if isinstance(states, dict) else ():
        if isinstance(state, dict):
            for name in _MOMENTS:
                _expect(path, f"last_optimizer_state: {name}", state.get(name), (torch.Tensor, type(None)))
