"""From flat options to the nested values of config classes, by type and without a detour through strings.

Nothing here needs OmegaConf; ``fairseq.dataclass.utils`` wraps the result.
"""

import ast
import dataclasses
import enum
from argparse import Namespace
from typing import Any, Dict, Mapping, Optional

from fairseq.dataclass.fields import (
    MISSING,
    CutNumber,
    default_of,
    element_type,
    enum_type,
    field_types,
    is_interpolation,
    unwrap_optional,
)

__all__ = ["convert_value", "dataclass_values", "parse_literal_or_text", "resolve_references"]


def parse_literal_or_text(text: str) -> Any:
    """A Python literal if the text is one, else the text itself. Never evaluates code."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def convert_value(value: Any, kind: Any, where: str = "value") -> Any:
    """Bring a given value to a field's type, as far as it can be brought there.

    ``None``, the empty string and ``${...}`` references stay as they are; tuples become lists; what cannot be
    converted stays (a plugin may put any object into a field), except text in a list of numbers.

    Raises:
        ValueError: a list of numbers holds something that is no number.
    """
    if value is None or (isinstance(value, str) and (value in ("", MISSING) or is_interpolation(value))):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if enum_type(kind) is not None or unwrap_optional(kind) is str:
        return value
    if isinstance(value, str):
        value = parse_literal_or_text(value)
    if isinstance(value, tuple):
        value = list(value)
    scalar = unwrap_optional(kind)
    element = element_type(kind)
    if element in (int, float) and isinstance(value, list):
        for item in value:
            if isinstance(item, CutNumber):
                raise ValueError(f"{where} {item.written}: a whole number is expected")
        try:
            return [element(item) for item in value]
        except (TypeError, ValueError):
            raise ValueError(f"{where}: expected a list of {element.__name__}, got {value!r}") from None
    if scalar in (int, float, bool) and not isinstance(value, (list, dict)):
        try:
            return scalar(value)
        except (TypeError, ValueError):
            return value
    return value


def dataclass_values(config: Any, given: Optional[Any] = None) -> Dict[str, Any]:
    """All fields of a config class (or instance) as a plain nested dictionary.

    Args:
        config: a dataclass type or instance; the values of an instance are its own, of a type its defaults.
        given: flat options; where it has an attribute of a field's name, that value counts.
    """
    instance = config() if isinstance(config, type) else config
    kinds = field_types(type(instance))
    values: Dict[str, Any] = {}
    for field in dataclasses.fields(instance):
        if given is not None and field.name != "_name" and hasattr(given, field.name):
            value = getattr(given, field.name)
        else:
            value = getattr(instance, field.name, default_of(field))
        if dataclasses.is_dataclass(value):
            values[field.name] = dataclass_values(value, given)
        else:
            values[field.name] = _plain(convert_value(value, kinds[field.name], "--" + field.name.replace("_", "-")))
    return values


def _plain(value: Any) -> Any:
    if value is dataclasses.MISSING:
        return MISSING
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value


def resolve_references(tree: Dict[str, Any]) -> Dict[str, Any]:
    """Replace every ``${section.field}`` of a nested dictionary by the value it points to.

    A section may be a flat namespace (a legacy component). A reference to something that does not exist becomes
    ``None``: a model's config may mention fields that a plugin's task has not got.
    """
    return {key: _resolved(value, tree, frozenset()) for key, value in tree.items()}


def _resolved(value: Any, root: Mapping[str, Any], seen: "frozenset[str]") -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, root, seen) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, root, seen) for item in value]
    if not (is_interpolation(value) and value.endswith("}")):
        return value
    path = value[2:-1].strip()
    if ":" in path or "${" in path:
        return value  # a resolver of OmegaConf's or Hydra's own
    if path in seen:
        raise ValueError(f"{value}: these settings refer to each other in a circle ({', '.join(sorted(seen))})")
    target: Any = root
    for step in path.split("."):
        if isinstance(target, Namespace):
            target = getattr(target, step, None)
        elif isinstance(target, Mapping):
            target = target.get(step)
        else:
            return None
    return _resolved(target, root, seen | {path})
