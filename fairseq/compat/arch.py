"""Architecture presets: tables of numbers, and the public functions that plugins call.

A family lists its presets as data::

    PRESETS = {
        "toy": Preset(embed_dim=512, ffn_dim=2048, hidden_dim=same_as("embed_dim")),
        "toy_tiny": Preset(base="toy", embed_dim=64, ffn_dim=times("embed_dim", 4)),
    }

and turns them into functions next to its model class::

    arch = preset_functions(__name__, model="toy", presets=PRESETS)
    base_architecture = arch("base_architecture", "toy")
    toy_tiny = arch("toy_tiny")

A function fills what the user left open: a preset's own values first, in the order of the table, then those of its
base. It works on an ``argparse.Namespace``, on a ``DictConfig`` and on anything else with plain attributes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = [
    "Derived",
    "Preset",
    "apply_preset",
    "derived",
    "fill",
    "forced",
    "is_given",
    "preset_functions",
    "same_as",
    "times",
]

_ABSENT = object()
_NO_VALUE = ("MissingMandatoryValue", "InterpolationKeyError", "InterpolationToMissingValueError")
Rule = Callable[[Any], None]


class Derived:
    """A value computed from the options that are known when its turn comes."""

    def __init__(self, compute: Callable[[Any], Any], label: str) -> None:
        self.compute = compute
        self.label = label

    def __repr__(self) -> str:
        return self.label


class Forced:
    """A value that is set whatever the user asked for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"forced({self.value!r})"


def same_as(name: str) -> Derived:
    """The value of another option, which must be known by then (listed above, or in the preset that builds on this)."""
    return Derived(lambda args: getattr(args, name), f"same_as({name!r})")


def times(name: str, factor: int) -> Derived:
    """A multiple of another option."""
    return Derived(lambda args: factor * getattr(args, name), f"times({name!r}, {factor})")


def derived(compute: Callable[[Any], Any]) -> Derived:
    """Whatever ``compute(args)`` returns; for the few values that neither follow nor scale another one."""
    return Derived(compute, f"derived({getattr(compute, '__name__', compute)})")


def forced(value: Any) -> Forced:
    """Overrule the user: ``forced(True)``, ``forced(same_as("embed_dim"))``."""
    return Forced(value)


class Preset:
    """One row of a preset table.

    Args:
        base: the preset whose values fill what this one leaves open: a name in the same table, or a ``Preset``.
        before: functions of ``args`` that run before any value is filled in; for rules that no value can express.
        after: functions of ``args`` that run once the base is applied as well.
        none_is_missing: fill options that are there but ``None``, too.
        values: option -> value, ``same_as(...)``, ``times(...)``, ``derived(...)`` or ``forced(...)``.
    """

    def __init__(
        self,
        base: str | Preset | None = None,
        *,
        before: tuple[Rule, ...] = (),
        after: tuple[Rule, ...] = (),
        none_is_missing: bool = False,
        **values: Any,
    ) -> None:
        self.base = base
        self.before = before
        self.after = after
        self.none_is_missing = none_is_missing
        self.values = values

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"Preset(base={self.base!r}, {pairs})"


def is_given(args: Any, name: str, none_is_missing: bool = False) -> bool:
    """Whether an option has a value; OmegaConf's ``???``, and a reference that leads nowhere, count as none."""
    try:
        value = getattr(args, name, _ABSENT)
    except Exception as error:  # omegaconf's, told by their names because omegaconf may be absent
        if type(error).__name__ not in _NO_VALUE:
            raise
        return False
    return not (value is _ABSENT or (none_is_missing and value is None))


def fill(args: Any, none_is_missing: bool = False, **values: Any) -> None:
    """Set the options that are not given yet; the values may be ``same_as(...)`` and the like."""
    for name, value in values.items():
        if isinstance(value, Forced):
            setattr(args, name, _value(value.value, args))
        elif not is_given(args, name, none_is_missing):
            setattr(args, name, _value(value, args))


def _value(value: Any, args: Any) -> Any:
    if isinstance(value, Derived):
        return value.compute(args)
    # A list of the table must not become the list of a model that edits it.
    return list(value) if isinstance(value, list) else value


def apply_preset(args: Any, preset: str | Preset, presets: Mapping[str, Preset]) -> None:
    """Fill ``args`` in place with what the preset and its bases say and the user left open."""
    row = presets[preset] if isinstance(preset, str) else preset
    with _open(args):
        for rule in row.before:
            rule(args)
        fill(args, row.none_is_missing, **row.values)
        if row.base is not None:
            apply_preset(args, row.base, presets)
        for rule in row.after:
            rule(args)


def _open(args: Any) -> AbstractContextManager[Any]:
    """Let new keys into a closed ``DictConfig``; nothing to do for other objects."""
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is not None and omegaconf.OmegaConf.is_config(args):
        return omegaconf.open_dict(args)
    return nullcontext()


def preset_functions(module: str, model: str, presets: Mapping[str, Preset]) -> Callable[..., Callable[[Any], None]]:
    """Return ``arch(function, *architectures, preset=None)``, which makes and registers one public function.

    Args:
        module: ``__name__`` of the family module; the functions claim to live there, so they pickle and the index
            finds them.
        model: registered name of the model.
        presets: the family's table.

    ``arch("f")`` gives function ``f`` of preset ``f`` and registers it as architecture ``f``. Further arguments name
    the architectures instead (none are registered with ``arch("f", preset="p")``), and ``preset`` the row of the table
    if it differs from the first of them.
    """
    from fairseq.models import register_model_architecture

    def arch(function: str, *architectures: str, preset: str | None = None) -> Callable[[Any], None]:
        names = architectures or (() if preset else (function,))
        row = preset or names[0]
        if row not in presets:
            raise KeyError(f"{module}.{function}: no preset {row!r}; the table has {sorted(presets)}")

        def fill_in(args: Any) -> None:
            apply_preset(args, row, presets)

        fill_in.__name__ = fill_in.__qualname__ = function
        fill_in.__module__ = module
        fill_in.__doc__ = f"Fill what ``args`` leaves open with the values of preset ``{row}`` of model ``{model}``."
        for name in names:
            register_model_architecture(model, name)(fill_in)
        return fill_in

    return arch
