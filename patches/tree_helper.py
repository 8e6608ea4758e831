"""What patched code needs at run time; standard library only, torch is imported when a file is read."""

# mypy: ignore-errors
# No annotations: copies of this file run in trees that are checked by nobody, on whatever Python they have.

import collections.abc
import dataclasses
import enum
import importlib
import os
import pathlib
import pickle
import sys
import types
import typing

__all__ = [
    "TOKENIZERS",
    "allow",
    "compute_bleu",
    "device",
    "field_default",
    "fork_context",
    "load_source",
    "required",
    "resource_filename",
    "safe_load",
    "strtobool",
    "type_text",
    "union_text",
    "with_struct",
]

PACKAGE = __name__.rpartition(".")[0] or "fairseq"

# Marks an option of an optimizer that has no default.
required = type("_Required", (), {"__repr__": lambda self: "<required parameter>"})()
# Everything fairseq has ever written into a checkpoint besides tensors. None of it runs code when it is made.
ALLOWED = {
    "argparse": {"Namespace"},
    "collections": {"OrderedDict", "defaultdict", "Counter", "deque"},
    "datetime": {"datetime", "date", "time", "timedelta"},
    "decimal": {"Decimal"},
    "functools": {"partial"},
    "builtins": {
        "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range",
        "set", "slice", "str", "tuple",
    },
    "_codecs": {"encode"},
    "_operator": {"getitem"},
    "operator": {"getitem"},
    "copyreg": {"_reconstructor"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy.core.numeric": {"_frombuffer"},
    "omegaconf.base": {"ContainerMetadata", "Metadata"},
    "omegaconf.dictconfig": {"DictConfig"},
    "omegaconf.listconfig": {"ListConfig"},
    "omegaconf.nodes": {
        "AnyNode", "BooleanNode", "BytesNode", "EnumNode", "FloatNode", "IntegerNode", "PathNode", "StringNode",
    },
    "torch": {"Size", "Tensor", "device", "Generator"},
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch._utils": {
        "_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_sparse_tensor", "_rebuild_tensor",
        "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor",
    },
    "torch.nn.parameter": {"Parameter", "Buffer"},
    "torch.storage": {"TypedStorage", "UntypedStorage", "_TypedStorage", "_UntypedStorage"},
}  # fmt: skip
# Pickles of protocol 2, which torch writes, use Python 2's names.
PYTHON2 = {
    ("__builtin__", "long"): ("builtins", "int"),
    ("__builtin__", "unicode"): ("builtins", "str"),
    ("__builtin__", "xrange"): ("builtins", "range"),
}
PATHS = {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"}
# Classes of the tree that may really be made; all others become bags of attributes.
TREE_CLASSES = {"Dictionary", "AverageMeter", "TimeMeter", "StopwatchMeter", "MetersDict"}
# The old home of meters, where the tree has moved them.
MOVED = {"fairseq.meters": "fairseq.logging.meters"}


class Bag:
    """An object of a class that is unknown or not needed: its attributes, and nothing that runs."""

    _class = ""

    def __new__(cls, *args, **kwargs):
        # An enum member is pickled as its class called with its value: the value is what configurations want.
        if len(args) == 1 and not kwargs and isinstance(args[0], str):
            return args[0]
        return object.__new__(cls)

    def __init__(self, *args, **kwargs):
        if args:
            self.args = args
        self.__dict__.update(kwargs)

    def __setitem__(self, key, value):
        self.__dict__.setdefault("items", {})[key] = value

    def append(self, value):
        self.__dict__.setdefault("values", []).append(value)

    def extend(self, values):
        self.__dict__.setdefault("values", []).extend(values)

    def __repr__(self):
        return f"<{self._class} {self.__dict__}>"


def allow(*names):
    """Let checkpoints contain further classes, given as ``"module.Class"``."""
    for name in names:
        module, _, attribute = name.strip().rpartition(".")
        if module:
            ALLOWED.setdefault(module, set()).add(attribute)


def _member(holder, name):
    # Some Pythons pickle an enum member as getattr(its class, its name); nothing else may pass.
    if isinstance(holder, type) and issubclass(holder, enum.Enum):
        return holder[name]
    if isinstance(holder, type) and issubclass(holder, Bag):
        return name
    raise pickle.UnpicklingError(f"a checkpoint may not read the attribute {name!r} of {holder!r}")


def _nested_load(data):
    import io

    return safe_load(io.BytesIO(data))


def _from_tree(module, name):
    """A configuration class, enum or dictionary of the tree, else a bag that stands for it."""
    for candidate in (module, MOVED.get(module, module)):
        # Only the package itself is imported for a file's sake; a script elsewhere might do things when imported.
        if candidate.partition(".")[0] in ("fairseq", PACKAGE.partition(".")[0]):
            try:
                found = getattr(importlib.import_module(candidate), name, None)
            except ImportError:
                continue
        else:
            found = getattr(sys.modules.get(candidate), name, None)
        if isinstance(found, type) and (
            issubclass(found, enum.Enum) or dataclasses.is_dataclass(found) or name in TREE_CLASSES
        ):
            return found
    return type(str(name), (Bag,), {"_class": f"{module}.{name}"})


def _find(module, name):
    root = module.partition(".")[0]
    short = module.replace("numpy._core", "numpy.core", 1)
    if root == "pathlib" and name in PATHS:
        foreign = (name == "PosixPath" and os.name == "nt") or (name == "WindowsPath" and os.name != "nt")
        return getattr(pathlib, "Pure" + name if foreign else name)
    if module in ("builtins", "__builtin__") and name == "getattr":
        return _member
    if module == "torch.storage" and name == "_load_from_bytes":
        return _nested_load
    module, name = PYTHON2.get((module, name), (module, name))
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    if name in ALLOWED.get(module, ()) or name in ALLOWED.get(short, ()):
        return _import(module, name)
    if root == "torch" and "." not in name:
        found = getattr(importlib.import_module("torch"), name, None)
        if module == "torch" and (type(found).__name__ in ("dtype", "layout") or name.endswith("Storage")):
            return found
    if root == "numpy" and module in ("numpy", "numpy.dtypes"):
        found = _import(module, name)
        numpy = importlib.import_module("numpy")
        if isinstance(found, type) and issubclass(found, (numpy.generic, numpy.dtype)):
            return found
    if root == PACKAGE.partition(".")[0] or root.startswith("fairseq") or root == "examples":
        return _from_tree(module, name)
    raise pickle.UnpicklingError(
        f"this checkpoint wants the global {module}.{name}, which is not on the list of what a checkpoint may "
        f"contain. If you "
        f"trust the file, name it in the environment variable FAIRSEQ_ALLOW_GLOBALS={module}.{name}"
    )


def _import(module, name):
    # numpy 2 writes numpy._core, numpy 1 knows only numpy.core, and the newest warn about the old name.
    for candidate in (module.replace("numpy.core", "numpy._core", 1), module.replace("numpy._core", "numpy.core", 1)):
        try:
            return getattr(importlib.import_module(candidate), name)
        except (ImportError, AttributeError):
            continue
    raise pickle.UnpicklingError(f"{module}.{name}, which this checkpoint needs, is not installed")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return _find(module, name)


def _load(file, **kwargs):
    return _Unpickler(file, **kwargs).load()


# What torch.load takes as pickle_module.
_restricted = types.ModuleType("restricted_pickle")
_restricted.__dict__.update(Unpickler=_Unpickler, load=_load, UnpicklingError=pickle.UnpicklingError)


def safe_load(f, map_location=None, **kwargs):
    """``torch.load`` that makes only the classes on the list above, whatever the file says.

    Raises:
        pickle.UnpicklingError: the file wants something else; the message names it.
    """
    import torch

    allow(*filter(None, os.environ.get("FAIRSEQ_ALLOW_GLOBALS", "").split(",")))
    return torch.load(f, map_location=map_location, pickle_module=_restricted, **kwargs)


def field_default(field):
    """Default of a dataclass field, made by its factory if it has one; MISSING if it has neither."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return dataclasses.MISSING


def type_text(annotation):
    """``str(annotation)`` as Python up to 3.13 wrote it: ``typing.Optional[int]``, not ``int | None``."""
    arguments = getattr(annotation, "__args__", ())
    union = getattr(types, "UnionType", None)
    is_union = getattr(annotation, "__origin__", None) is typing.Union or (union and isinstance(annotation, union))
    if not is_union:
        return str(annotation)
    names = [_type_name(argument) for argument in arguments if argument is not type(None)]
    if len(names) < len(arguments):
        return "typing.Optional[%s]" % (names[0] if len(names) == 1 else "typing.Union[{}]".format(", ".join(names)))
    return "typing.Union[{}]".format(", ".join(names))


def union_text(annotation):
    """Likewise as Python up to 3.8 wrote it: ``typing.Union[int, NoneType]``."""
    text = type_text(annotation)
    head = "typing.Optional["
    return "typing.Union[%s, NoneType]" % text[len(head) : -1] if text.startswith(head) else text  # noqa: UP031


def device():
    """Where tensors of the running process live."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _type_name(annotation):
    if not isinstance(annotation, type) or getattr(annotation, "__args__", None):
        return type_text(annotation)
    home = annotation.__module__
    return annotation.__qualname__ if home == "builtins" else f"{home}.{annotation.__qualname__}"


class _Tokenizers(collections.abc.Mapping):
    """Name -> class of sacrebleu's tokenizers, which became text in its version 2."""

    def _table(self):
        try:
            return importlib.import_module("sacrebleu.metrics").BLEU.TOKENIZERS
        except AttributeError:
            return importlib.import_module("sacrebleu.tokenizers").TOKENIZERS

    def __getitem__(self, name):
        entry = self._table()[name]
        if not isinstance(entry, str):
            return entry
        module, _, attribute = entry.rpartition(".")
        return getattr(importlib.import_module("sacrebleu.tokenizers." + module), attribute)

    def __iter__(self):
        return iter(self._table())

    def __len__(self):
        return len(self._table())


TOKENIZERS = _Tokenizers()


def compute_bleu(correct, total, sys_len, ref_len, smooth_method="none", smooth_value=None, effective_order=False):
    """BLEU from counts, wherever the installed sacrebleu keeps it."""
    sacrebleu = importlib.import_module("sacrebleu")
    if hasattr(sacrebleu, "compute_bleu"):
        function = sacrebleu.compute_bleu
    else:
        function = importlib.import_module("sacrebleu.metrics").BLEU.compute_bleu
    return function(
        correct, total, sys_len, ref_len, smooth_method=smooth_method, smooth_value=smooth_value,
        effective_order=effective_order,
    )  # fmt: skip


def with_struct(cfg, flag):
    """``cfg`` that takes new keys (False) or refuses them (True): what ``strict`` of Hydra's compose did."""
    if flag is not None:
        importlib.import_module("omegaconf").OmegaConf.set_struct(cfg, bool(flag))
    return cfg


def fork_context(num_workers=1):
    """How worker processes start where nothing else is said: by fork, as on Linux before Python 3.14."""
    import multiprocessing

    if num_workers and "fork" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context() if num_workers else None


def load_source(name, path):
    """Import the file ``path`` as module ``name``, as imp.load_source did."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def resource_filename(package, resource):
    """Path of a file that belongs to a package, as pkg_resources.resource_filename gave it."""
    module = importlib.import_module(package)
    return os.path.join(os.path.dirname(module.__file__), *resource.split("/"))


def strtobool(text):
    """1 for yes, 0 for no, as distutils read them."""
    word = text.lower()
    if word in ("y", "yes", "t", "true", "on", "1"):
        return 1
    if word in ("n", "no", "f", "false", "off", "0"):
        return 0
    raise ValueError(f"neither yes nor no: {text!r}")
