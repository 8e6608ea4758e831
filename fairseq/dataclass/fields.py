"""What the fields of a config dataclass mean: helpers to declare them and to read them back.

This module must stay importable without torch and OmegaConf: every ``--help`` goes through it.
"""

import dataclasses
import enum
import types
import typing
from functools import cache
from typing import Any, Callable, Dict, List, Optional

__all__ = [
    "II",
    "MISSING",
    "CutNumber",
    "default_of",
    "element_type",
    "enum_type",
    "field_types",
    "is_interpolation",
    "option",
    "unwrap_optional",
    "whole_number",
]

# The same strings as OmegaConf's, so that declaring a config does not import OmegaConf.
MISSING: Any = "???"


def II(interpolation: str) -> Any:
    """A default that follows another field: ``II("task.data")`` reads ``data`` of section ``task``."""
    return "${" + interpolation + "}"


def option(
    default: Any = dataclasses.MISSING,
    help: str = "",
    *,
    alias: Optional[str] = None,
    const: Optional[str] = None,
    factory: Optional[Callable[[], Any]] = None,
) -> Any:
    """Declare a config field that is also a command-line option.

    Args:
        default: its value when nothing is given; ``II(...)`` to follow another field.
        help: one sentence. An interpolated field with a help text becomes an option, one without does not.
        alias: a second flag, e.g. ``--max-sentences``.
        const: the value of the bare flag (which makes the argument optional).
        factory: makes the default, for lists.
    """
    metadata = {"help": help or None, "argparse_alias": alias, "argparse_const": const}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class CutNumber(int):
    """A whole number that an option's text was cut to: ``2`` of ``2.5``. Who converts options refuses it.

    Attributes:
        written: what was given.
    """

    written: float

    def __new__(cls, written: float) -> "CutNumber":
        number = super().__new__(cls, written)
        number.written = written
        return number


def whole_number(value: Any) -> int:
    """``int(value)`` that remembers a fraction that was lost."""
    return CutNumber(value) if isinstance(value, float) and not value.is_integer() else int(value)


def field_types(config: type) -> Dict[str, Any]:
    """The types of a config class's fields, by name.

    A module that postpones annotations (``from __future__ import annotations``) leaves text in ``field.type``; such
    text is resolved here if everything it mentions can be found from the class's module.
    """
    return _field_types(config)


@cache
def _field_types(config: type) -> Dict[str, Any]:
    declared = {field.name: field.type for field in dataclasses.fields(config)}
    if any(isinstance(kind, str) for kind in declared.values()):
        try:
            declared.update({name: kind for name, kind in typing.get_type_hints(config).items() if name in declared})
        except (NameError, AttributeError, SyntaxError, TypeError):
            return declared
    return declared


def default_of(field: "dataclasses.Field[Any]") -> Any:
    """A field's default, made afresh if it has a factory; ``dataclasses.MISSING`` if it has none."""
    if field.default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def is_interpolation(value: Any) -> bool:
    """Whether a value is a ``${...}`` reference to another field."""
    return isinstance(value, str) and value.startswith("${")


def unwrap_optional(kind: Any) -> Any:
    """``X`` for ``Optional[X]`` (however it is spelt), anything else as it is."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
        if len(inner) == 1:
            return inner[0]
    return kind


def element_type(kind: Any) -> Optional[Any]:
    """The element type of ``List[X]`` / ``Tuple[X, ...]``; ``None`` if it is no sequence type."""
    kind = unwrap_optional(kind)
    origin = typing.get_origin(kind)
    if origin in (list, tuple) or kind in (list, tuple):
        arguments: List[Any] = [arg for arg in typing.get_args(kind) if arg is not Ellipsis]
        return arguments[0] if arguments else str
    return None


def enum_type(kind: Any) -> Optional[Any]:
    """The enum class behind a field's type, if it is one."""
    kind = unwrap_optional(kind)
    return kind if isinstance(kind, type) and issubclass(kind, enum.Enum) else None
