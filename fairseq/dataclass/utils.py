"""Config classes as options, namespaces as configs, overrides by name.

``gen_parser_from_dataclass``       a dataclass's fields -> argparse options
``convert_namespace_to_omegaconf``  flat options -> the nested config of a run
``merge_with_parent``               a config section + its dataclass -> complete, locked section
``overwrite_args_by_name``          set every field of a given name, wherever it is
"""

import argparse
import ast
import dataclasses
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Tuple, Type

from fairseq.dataclass.configs import FairseqConfig, FairseqDataclass
from fairseq.dataclass.convert import dataclass_values, resolve_references
from fairseq.dataclass.fields import (
    element_type,
    enum_type,
    field_types,
    is_interpolation,
    unwrap_optional,
    whole_number,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = [
    "choice_and_config",
    "convert_namespace_to_omegaconf",
    "eval_str_list",
    "gen_parser_from_dataclass",
    "interpret_dc_type",
    "merge_with_parent",
    "migrate_registry",
    "omegaconf_no_object_check",
    "override_module_args",
    "overwrite_args_by_name",
    "populate_dataclass",
]

# Components whose config, for a class without dataclass, is always the whole flat namespace; a tokenizer's, scorer's
# ... is if the class has options at all.
CORE = ("task", "criterion", "optimizer", "lr_scheduler", "model")


# ------------------------------------------------------------------ dataclass -> options


def eval_str_list(x: Any, x_type: Any = float) -> Optional[List[Any]]:
    """``"1,2"``, ``"[1, 2]"`` or ``"1"`` -> ``[1.0, 2.0]`` or ``[1.0]``; ``None`` stays, ``""`` is the empty list."""
    if x is None:
        return None
    if isinstance(x, str):
        if not x:
            return []
        x = ast.literal_eval(x)
    items = list(x) if hasattr(x, "__iter__") else [x]
    return [x_type(item) for item in items]


def interpret_dc_type(field_type: Any) -> Any:
    """The type an option's text is converted to: ``Optional`` is unwrapped, ``Any`` is text.

    Raises:
        RuntimeError: the type is a string, because the defining module postpones annotations.
    """
    if isinstance(field_type, str):
        raise RuntimeError(
            f"field should be a type, not the text {field_type!r}: remove `from __future__ import annotations` from "
            "the module that defines the config class"
        )
    return str if field_type is Any else unwrap_optional(field_type)


def _option_names(config: Any, name: str, prefix: Optional[str]) -> List[str]:
    if name == "data" and prefix is None:
        return [name]
    flags = ["--" + (prefix or "") + name.replace("_", "-")]
    alias = config._get_argparse_alias(name)
    return [*flags, alias] if alias else flags


def _option_settings(config: Any, name: str) -> Optional[Dict[str, Any]]:
    """Keyword arguments of ``add_argument`` for a field; ``None`` if it is to be no option."""
    kind = interpret_dc_type(config._get_type(name))
    default = config._get_default(name)
    help_text = config._get_help(name)
    settings: Dict[str, Any] = {}
    if help_text is not None:
        # One bare percent sign would make argparse fail, at --help or (Python 3.14) while options are added.
        text = str(help_text)
        settings["help"] = text if "%(" in text else text.replace("%%", "%").replace("%", "%%")
    const = config._get_argparse_const(name)
    if const is not None:
        settings.update(const=const, nargs="?")
    if is_interpolation(default):
        return settings if help_text is not None else None
    if default is dataclasses.MISSING:
        settings["required"] = True
    elif kind is not bool:
        settings["default"] = default
    choices, element = enum_type(kind), element_type(kind)
    if choices is not None:
        settings.update(type=str, choices=[member.value for member in choices])
        if settings.get("default") is not None:
            settings["default"] = str(settings["default"])
    elif element is not None:
        settings["type"] = _list_reader(element)
        # argparse reads a default that is text as if it had been given; names without quotes are no literals.
        if isinstance(settings.get("default"), (list, tuple)) and element is not str:
            settings["default"] = ",".join(str(item) for item in settings["default"])
    elif kind is bool:
        settings.update(action="store_false" if default is True else "store_true", default=default)
    else:
        settings["type"] = kind
    return settings


def _list_reader(element: Any) -> Any:
    """What argparse converts the text of a list option with."""

    def read(text: Any) -> Optional[List[Any]]:
        try:
            return eval_str_list(text, x_type=whole_number if element is int else element)
        except (ValueError, SyntaxError, TypeError):
            if element is str and isinstance(text, str) and not text.lstrip().startswith(("[", "(")):
                return [part.strip() for part in text.split(",")]
            raise ValueError(text) from None

    # argparse puts it into "invalid ... value".
    read.__name__ = f"list of {getattr(element, '__name__', element)}"
    return read


def gen_parser_from_dataclass(
    parser: Any,
    dataclass_instance: Any,
    delete_default: bool = False,
    with_prefix: Optional[str] = None,
) -> None:
    """Add an option for each field of a config to a parser (or to a group of one).

    Args:
        parser: options that it has already are left alone.
        dataclass_instance: fields whose default follows another field become options only if they have a help text.
        delete_default: add options without defaults, so that those not given do not appear in the namespace.
        with_prefix: put this before each name, and go into nested configs with their field's name as prefix.
    """
    for name in dataclass_instance._get_all_attributes():
        if name.startswith("_"):
            continue
        if with_prefix is not None and dataclasses.is_dataclass(interpret_dc_type(dataclass_instance._get_type(name))):
            nested = getattr(dataclass_instance, name)
            prefix = with_prefix + name.replace("_", "-") + "-"
            gen_parser_from_dataclass(parser, nested, delete_default=delete_default, with_prefix=prefix)
            continue
        settings = _option_settings(dataclass_instance, name)
        if settings is None:
            continue
        if delete_default:
            settings.pop("default", None)
        names = _option_names(dataclass_instance, name, with_prefix)
        if not names[0].startswith("-"):
            settings.pop("required", None)  # argparse requires positionals anyway
        try:
            parser.add_argument(*names, **settings)
        except argparse.ArgumentError:
            # Another component defines the same option; the first definition counts.
            continue


# ------------------------------------------------------------------ options -> config


def populate_dataclass(dataclass_instance: Any, args: Any) -> Any:
    """A config of the same class with every field that ``args`` has an attribute for taken from there."""
    return type(dataclass_instance).from_namespace(args)


def _legacy_section(args: Namespace, cls: Any, name: str) -> Namespace:
    """What a class without dataclass is built from: all options, completed by the defaults of its own."""
    section = Namespace(**vars(args))
    for key, value in _own_defaults(cls).items():
        if not hasattr(section, key):
            setattr(section, key, value)
    section._name = name
    return section


def _own_defaults(cls: Any) -> Dict[str, Any]:
    if not hasattr(cls, "add_args"):
        return {}
    parser = ArgumentParser(argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    cls.add_args(parser)
    defaults = {}
    for action in parser._actions:
        if action.default is not argparse.SUPPRESS:
            value = action.default
            if isinstance(value, str) and callable(action.type):
                value = parser._get_value(action, value)  # type: ignore[attr-defined]
            defaults[action.dest] = value
    return defaults


def _component(kind: str, args: Namespace) -> Any:
    """The section of one registered component: plain values, a namespace, a bare name, or ``None``."""
    from fairseq import models, tasks
    from fairseq.registry import REGISTRIES

    name: Any
    registered: Any
    if kind == "model":
        name = getattr(args, "arch", None)
        registered = models.ARCH_MODEL_NAME_REGISTRY.get(name, name)
        classes, dataclasses_ = models.MODEL_REGISTRY, models.MODEL_DATACLASS_REGISTRY
    elif kind == "task":
        name = registered = getattr(args, "task", None)
        classes, dataclasses_ = tasks.TASK_REGISTRY, tasks.TASK_DATACLASS_REGISTRY
    else:
        name = registered = getattr(args, kind, None)
        classes, dataclasses_ = REGISTRIES[kind]["registry"], REGISTRIES[kind]["dataclass_registry"]
    if name is None or not isinstance(name, str):
        return None
    if registered in dataclasses_:
        return {**dataclass_values(dataclasses_[registered], args), "_name": name}
    if kind not in CORE and not hasattr(classes.get(registered), "add_args"):
        return name  # it reads no options
    return _legacy_section(args, classes.get(registered), name)


def convert_namespace_to_omegaconf(args: Namespace) -> "DictConfig":
    """The nested, locked config of a run from its flat options.

    A component with a dataclass gets its fields, one without gets a namespace with all options. References between
    fields are resolved and enums become strings, so the result holds plain values (and those namespaces).
    """
    from omegaconf import OmegaConf

    from fairseq.registry import REGISTRIES

    tree = dataclass_values(FairseqConfig, args)
    for kind in (*CORE, *(name for name in REGISTRIES if name not in CORE)):
        tree[kind] = _component(kind, args)
    cfg = OmegaConf.create(resolve_references(tree), flags={"allow_objects": True})
    OmegaConf.set_struct(cfg, True)
    return cfg


def override_module_args(args: Namespace) -> Tuple[List[str], List[str]]:
    """The same options as Hydra overrides: ``(["dataset.max_tokens=4000", ...], ["bpe", ...])``.

    The second list names components that are not configured through a dataclass.
    """
    overrides: List[str] = []
    deletes: List[str] = []
    if args is None:
        return overrides, deletes
    for section, values in dataclass_values(FairseqConfig, args).items():
        if isinstance(values, dict):
            overrides += list(_override_lines(section, values))
    from fairseq.registry import REGISTRIES

    for kind in (*CORE, *(name for name in REGISTRIES if name not in CORE)):
        values = _component(kind, args)
        if isinstance(values, dict):
            overrides.append(f"{kind}={values['_name']}")
            overrides += list(_override_lines(kind, values))
        else:
            deletes.append(kind)
    return overrides, deletes


def _override_lines(section: str, values: Dict[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _override_lines(f"{section}.{key}", value)
        elif is_interpolation(value):
            yield f"{section}.{key}={value}"
        elif isinstance(value, str):
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            yield f"{section}.{key}='{quoted}'"
        else:
            yield f"{section}.{key}={'null' if value is None else value}"


def migrate_registry(
    name: str,
    value: Any,
    registry: Dict[str, Any],
    args: Namespace,
    overrides: List[str],
    deletes: List[str],
    use_name_as_val: bool = False,
) -> None:
    """Append the Hydra overrides of one chosen component to ``overrides``, or its kind to ``deletes``.

    Args:
        name: the kind, e.g. ``"task"``; ``value`` the chosen entry; ``registry`` its config classes by entry.
        use_name_as_val: for a component without dataclass, override with its bare name instead of deleting it.
    """
    if value in registry:
        values = dataclass_values(registry[value], args)
        overrides.append(f"{name}={value}")
        overrides.append(f"{name}._name={value}")
        overrides += [line for line in _override_lines(name, values) if not line.startswith(f"{name}._name=")]
    elif use_name_as_val and value is not None:
        overrides.append(f"{name}={value}")
    else:
        deletes.append(name)


# ------------------------------------------------------------------ working on configs


class omegaconf_no_object_check:
    """Inside the context, OmegaConf accepts arbitrary objects as values.

    For callers written against OmegaConf 2.0; new code passes ``flags={"allow_objects": True}``.
    """

    def __init__(self) -> None:
        self._saved: Any = None

    def __enter__(self) -> "omegaconf_no_object_check":
        import omegaconf._utils as internals

        self._saved = internals.is_primitive_type_annotation
        internals.is_primitive_type_annotation = lambda _: True  # type: ignore[assignment]
        return self

    def __exit__(self, type: Any, value: Any, traceback: Any) -> None:
        import omegaconf._utils as internals

        internals.is_primitive_type_annotation = self._saved


def _is_config(cfg: Any) -> bool:
    # A container of OmegaConf's, without importing it for things that are none.
    return type(cfg).__module__.startswith("omegaconf")


def choice_and_config(cfg: Any, name: str, configs: Any) -> Tuple[Optional[str], Any]:
    """Which entry of registry ``name`` a config, a bare name or a flat namespace chooses, and what it is built from."""
    if cfg is None or isinstance(cfg, str):
        choice = cfg
        return choice, configs[choice]() if choice in configs else cfg
    if isinstance(cfg, Namespace):
        choice = getattr(cfg, name, None)
        return choice, configs[choice].from_namespace(cfg) if choice in configs else cfg
    choice = getattr(cfg, "_name", None)
    if choice in configs and _is_config(cfg):
        cfg = merge_with_parent(configs[choice](), cfg)
    elif choice is None and hasattr(cfg, name):
        choice = getattr(cfg, name)
    return choice, cfg


def merge_with_parent(dc: FairseqDataclass, cfg: Any, remove_missing: bool = False) -> Any:
    """A config section completed by the defaults of its dataclass, locked, and still part of its parent.

    Args:
        dc: an instance of the dataclass.
        cfg: the section; anything that is no OmegaConf container is returned as it is.
        remove_missing: drop fields that the dataclass does not have (old checkpoints) instead of refusing them.

    Raises:
        omegaconf.errors.ConfigKeyError: an unknown field, unless ``remove_missing``.
    """
    if not _is_config(cfg):
        return cfg
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigKeyError, ValidationError

    if remove_missing:
        cfg = _without_unknown(type(dc), cfg)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(dc, flags={"allow_objects": True}), cfg)
    except ConfigKeyError:
        raise
    except (ValidationError, TypeError):
        # Old files hold values that today's types refuse (null for an int). Keep the value, lose the type.
        plain = OmegaConf.create(dataclass_values(dc), flags={"allow_objects": True})
        merged = OmegaConf.merge(plain, cfg)
    merged._set_parent(cfg._get_parent())
    OmegaConf.set_struct(merged, True)
    return merged


def _without_unknown(dc: Type[Any], cfg: Any) -> Any:
    from omegaconf import OmegaConf

    known = field_types(dc)
    kept: Dict[str, Any] = {}
    for key in cfg:
        if key not in known:
            continue
        value = None if OmegaConf.is_missing(cfg, key) else cfg._get_node(key)
        kind = unwrap_optional(known[key])
        nested = dataclasses.is_dataclass(kind) and value is not None and OmegaConf.is_dict(value)
        kept[key] = _without_unknown(kind, value) if nested else cfg._get_node(key)
    result = OmegaConf.create({}, flags={"allow_objects": True})
    for key, value in kept.items():
        result[key] = value
    result._set_parent(cfg._get_parent())
    return result


def overwrite_args_by_name(cfg: "DictConfig", overrides: Dict[str, Any]) -> None:
    """Set every field named in ``overrides``, in whichever section it is found.

    A dictionary given for a section's name updates that section; namespaces (legacy components) get all overrides; the
    name of a registered component (``{"bpe": "subword_nmt"}``) makes that component's config, filled from the rest.
    """
    from omegaconf import DictConfig, OmegaConf, open_dict

    from fairseq.registry import REGISTRIES

    with open_dict(cfg):
        keys: List[Any] = list(cfg.keys())
        for key in keys:
            if OmegaConf.is_missing(cfg, key):
                section = None
            else:
                section = cfg[key]
            given = overrides.get(key)
            if isinstance(section, DictConfig):
                if isinstance(given, dict):
                    _update_section(section, given)
                else:
                    overwrite_args_by_name(section, overrides)
            elif isinstance(section, Namespace):
                for name, value in overrides.items():
                    setattr(section, name, value)
            elif key in overrides:
                configs = REGISTRIES[key]["dataclass_registry"] if key in REGISTRIES else {}
                if isinstance(given, str) and given in configs:
                    cfg[key] = OmegaConf.create(dataclass_values(configs[given]), flags={"allow_objects": True})
                    overwrite_args_by_name(cfg[key], overrides)
                    cfg[key]["_name"] = given
                else:
                    cfg[key] = given


def _update_section(section: "DictConfig", given: Dict[str, Any]) -> None:
    from omegaconf import DictConfig, open_dict

    with open_dict(section):
        for key, value in given.items():
            if isinstance(value, dict) and isinstance(section.get(key), DictConfig):
                overwrite_args_by_name(section[key], value)
            else:
                section[key] = value
