"""First look at a file: no LibCST, only Python's own parser and a search for byte strings.

It answers three questions: does the file parse at all, which classes and constants does it define (a dataclass
default made in one file is judged by a class in another), and which patches are worth the slower second look.
"""

from __future__ import annotations

import ast
import fnmatch
import posixpath
import sys
import warnings
from dataclasses import dataclass, field
from typing import Iterable, Mapping, Sequence

from .model import Patch
from .requirement import MODULES
from .source import LINK_TEXT, UnreadableSource, decode, link_target
from .yaml_text import read_defaults

__all__ = ["ClassFacts", "HydraFacts", "Index", "Scan", "build_index", "scan_file", "wanted_patches"]

ENUM_BASES = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag"}
ENUM_FACTORIES = {"ChoiceEnum", "Enum", "IntEnum"}
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "OrderedDict", "Counter", "deque"}
# Classes of the standard library that look like any class and are hashable.
HASHABLE_CALLS = {
    "Path", "PurePath", "PosixPath", "PurePosixPath", "Decimal", "Fraction", "UUID", "Lock", "RLock", "Event",
    "Parameter", "Tensor", "Generator", "Random", "ChoiceEnum", "TypeVar", "NamedTuple",
}  # fmt: skip


@dataclass(frozen=True)
class ClassFacts:
    """What decides whether instances of a class can be hashed."""

    name: str
    bases: tuple[str, ...]
    dataclass: bool = False
    sets_hash: bool = False
    sets_eq: bool = False


@dataclass
class Scan:
    """Result of the first look at one file; ``problem`` is empty when it parses."""

    path: str
    problem: str = ""
    classes: list[ClassFacts] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    # Of a Python file: whether it imports Hydra, and the folders and names of configurations it gives to Hydra.
    uses_hydra: bool = False
    config_names: list[str] = field(default_factory=list)
    # Of a YAML file: groups and plain names in its defaults list.
    config_groups: list[str] = field(default_factory=list)
    config_included: list[str] = field(default_factory=list)
    # Packages that the file imports, of those whose versions matter; of a notebook, whether it concerns them at all.
    imports: list[str] = field(default_factory=list)
    is_relevant: bool = False


@dataclass(frozen=True)
class HydraFacts:
    """What the tree does with Hydra.

    Attributes:
        used: some Python file imports it.
        names: last parts of the configuration paths and names that Python files give to it.
        folders: folders that hold YAML files.
        groups: folders that a defaults list chooses from.
        included: files, without suffix, that a defaults list names.
    """

    used: bool = False
    names: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    included: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Index:
    """Which class names and module constants of the tree stand for unhashable objects.

    ``classes``: name -> True (instances unhashable), False (hashable). Names that are both are absent.
    ``constants``: likewise for names assigned at the top of a module.
    """

    classes: Mapping[str, bool] = field(default_factory=dict)
    constants: Mapping[str, bool] = field(default_factory=dict)
    hydra: HydraFacts = HydraFacts()


def last_name(node: ast.expr) -> str:
    """``c`` of ``a.b.c`` or of ``a.b.c(...)``."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def class_facts(node: ast.ClassDef) -> ClassFacts:
    """Read one class statement."""
    is_dataclass = hashed = False
    for decorator in node.decorator_list:
        if last_name(decorator) != "dataclass":
            continue
        is_dataclass = True
        if isinstance(decorator, ast.Call):
            on = {k.arg for k in decorator.keywords if isinstance(k.value, ast.Constant) and k.value.value}
            off = {k.arg for k in decorator.keywords if isinstance(k.value, ast.Constant) and not k.value.value}
            hashed = bool({"frozen", "unsafe_hash"} & on) or "eq" in off
    defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    return ClassFacts(
        name=node.name,
        bases=tuple(last_name(base) for base in node.bases),
        dataclass=is_dataclass,
        sets_hash=hashed or "__hash__" in defined,
        sets_eq="__eq__" in defined,
    )


def constant_kind(value: ast.expr) -> str:
    """What a module-level ``NAME = value`` holds: "mutable", "call:<Callee>", "enum" or "other"."""
    if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
        return "mutable"
    if isinstance(value, ast.Call):
        callee = last_name(value)
        if callee in ENUM_FACTORIES:
            return "enum"
        return "mutable" if callee in MUTABLE_CALLS else f"call:{callee}"
    return "other"


def parse(data: bytes) -> tuple[ast.Module | None, set[str], str]:
    """Python's verdict: tree, features that only the tokenizer sees ("bad-escape"), problem."""
    try:
        source = decode(data)
    except UnreadableSource as err:
        return None, set(), str(err)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(source.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
            return None, set(), _unparsable(err)
    bad = any("invalid" in str(warning.message) and "escape" in str(warning.message) for warning in caught)
    return tree, {"bad-escape"} if bad else set(), ""


CONFIG_KEYWORDS = {"config_path", "config_dir", "config_name"}
CONFIG_CALLS = {"compose", "initialize", "initialize_config_dir", "hydra_init"}


def _config_names(call: ast.Call) -> list[str]:
    """Last parts of the paths and names of configurations in a call that may be Hydra's."""
    values = [keyword.value for keyword in call.keywords if keyword.arg in CONFIG_KEYWORDS]
    if last_name(call.func) in CONFIG_CALLS:
        values += call.args[:1]
    texts = [
        item.value
        for value in values
        for item in ast.walk(value)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    return [posixpath.splitext(posixpath.basename(text.rstrip("/")))[0] for text in texts if text.strip("./")]


def _unparsable(err: Exception) -> str:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not isinstance(err, SyntaxError):
        return f"does not parse as Python {version} ({type(err).__name__}: {err})"
    hint = (
        ""
        if (err.msg or "").startswith("Missing parentheses")
        else (f"; if it is written for a newer Python than {version}, run fairseq-patch with that one")
    )
    return f"does not parse as Python {version} (line {err.lineno}: {err.msg}){hint}"


LITERALS = (ast.JoinedStr, ast.Tuple, ast.UnaryOp)


def _features(nodes: Sequence[ast.AST]) -> tuple[set[str], list[ClassFacts]]:
    """What the file uses (see ``Patch.features``), and its classes."""
    found: set[str] = set()
    classes = []
    aliases: dict[str, set[str]] = {}
    attributes, divided = [], []
    for node in nodes:
        if isinstance(node, ast.Attribute):
            found.add("." + node.attr)
            attributes.append(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(_imported(node, aliases))
        elif isinstance(node, ast.Compare):
            by_identity = any(isinstance(operator, (ast.Is, ast.IsNot)) for operator in node.ops)
            if by_identity and any(_is_literal(side) for side in (node.left, *node.comparators)):
                found.add("is-literal")
        elif isinstance(node, ast.ClassDef):
            facts = class_facts(node)
            classes.append(facts)
            if facts.dataclass and any(
                _needs_thought(item.value) for item in node.body if isinstance(item, ast.AnnAssign)
            ):
                found.add("dataclass-value")
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and ("Optional" in node.value or "Union" in node.value):
                found.add("optional-text")
        elif isinstance(node, (ast.BinOp, ast.AugAssign)):
            if isinstance(node.op, ast.Div):
                divided.append(node.left if isinstance(node, ast.BinOp) else node.target)
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and isinstance(node.left, ast.Constant):
                found.add("one-minus")
        elif isinstance(node, ast.keyword):
            found.add(f"{node.arg}=")
            if node.arg == "default" and _needs_thought(node.value):
                found.add("dataclass-value")
            elif node.arg == "help" and _has_bare_percent(node.value):
                found.add("percent-help")
    for attribute in attributes:
        found.update(_dotted(attribute, aliases))
    if divided and not found.isdisjoint(WHOLE) and _divides_whole(nodes, divided):
        found.add("division")
    return found, classes


# Names (as features) that an integer tensor can come from.
WHOLE = {
    "." + name
    for name in (
        "long",
        "int",
        "short",
        "int64",
        "int32",
        "int16",
        "LongTensor",
        "IntTensor",
        "ShortTensor",
        "argmax",
        "argmin",
        "argsort",
        "multinomial",
        "topk",
        "sort",
        "kthvalue",
        "max",
        "min",
        "median",
        "mode",
        "indices",
    )
}


def _words(node: ast.AST) -> set[str]:
    """Every name and attribute in an expression, as features are written."""
    return {
        "." + (item.attr if isinstance(item, ast.Attribute) else item.id)
        for item in ast.walk(node)
        if isinstance(item, (ast.Attribute, ast.Name))
    }


def _divides_whole(nodes: Sequence[ast.AST], divided: Sequence[ast.expr]) -> bool:
    """Whether anything that is divided may be an integer tensor: no assignment of the file speaks against it."""
    sources = [
        ({word for target in node.targets for word in _words(target)}, _words(node.value))
        for node in nodes
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant)
    ]
    sources += [(_words(node.value), WHOLE) for node in nodes if isinstance(node, ast.keyword) and node.arg == "out"]
    whole, size = set(WHOLE), 0
    while size < len(whole):
        size = len(whole)
        for targets, words in sources:
            if not whole.isdisjoint(words):
                whole |= targets - {".self"}
    return any(not whole.isdisjoint(_words(node)) for node in divided)


def _imported(node: ast.Import | ast.ImportFrom, aliases: dict[str, set[str]]) -> set[str]:
    """Names that an import statement names in full; what they are called here goes to ``aliases``."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.partition(".")[0]
            aliases.setdefault(alias.asname or whole, set()).add(whole)
        return {alias.name for alias in node.names}
    for alias in node.names:
        aliases.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
    return {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}


def _dotted(node: ast.Attribute, aliases: Mapping[str, set[str]]) -> set[str]:
    """What ``a.b.c`` may be in full, by the imports of the file."""
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in aliases:
        return set()
    rest = ".".join(reversed(parts))
    return {f"{whole}.{rest}" for whole in aliases[value.id]}


def _has_bare_percent(value: ast.expr) -> bool:
    text = value.value if isinstance(value, ast.Constant) else None
    return isinstance(text, str) and "%" in text.replace("%%", "").replace("%(", "")


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return node.value not in (None, True, False, ...) or (
            isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        )
    return isinstance(node, LITERALS)


def _needs_thought(value: ast.expr | None) -> bool:
    """Whether a dataclass default could be an unhashable object."""
    if value is None or isinstance(value, (ast.Constant, ast.UnaryOp, ast.JoinedStr, ast.Tuple)):
        return False
    return not (isinstance(value, ast.Call) and last_name(value) in ("field", "II", "SI"))


def wanted_patches(path: str, data: bytes, features: set[str], patches: Iterable[Patch]) -> list[str]:
    """Ids of the patches whose byte strings and features occur in the file."""
    name = posixpath.basename(path)
    wanted = []
    for patch in patches:
        if patch.advice:
            continue
        if patch.files and not any(fnmatch.fnmatch(name, pattern) for pattern in patch.files):
            continue
        if not patch.files and not is_python(path, data):
            continue
        if patch.features and not any(_all_in(feature, features) for feature in patch.features):
            continue
        if any(_present(token, data) for token in patch.tokens):
            wanted.append(patch.id)
    return wanted


def _all_in(feature: str | tuple[str, ...], features: set[str]) -> bool:
    return feature in features if isinstance(feature, str) else features.issuperset(feature)


def _present(token: bytes | tuple[bytes, ...], data: bytes) -> bool:
    return token in data if isinstance(token, bytes) else all(part in data for part in token)


def is_python(path: str, data: bytes) -> bool:
    """Python by name, or a script without a suffix whose first line says so."""
    if path.endswith((".py", ".pyi")):
        return True
    first = data[:80].split(b"\n", 1)[0]
    return "." not in posixpath.basename(path) and first.startswith(b"#!") and b"python" in first


def _scan_text(path: str, data: bytes, patches: Sequence[Patch]) -> Scan:
    scan = Scan(path, wanted=wanted_patches(path, data, set(), patches))
    if path.endswith(".ipynb"):
        scan.is_relevant = b"fairseq" in data or b"import torch" in data
    link = link_target(data)
    if link is not None and "." not in posixpath.basename(path):
        return Scan(path, LINK_TEXT.format(link))
    if path.endswith((".yaml", ".yml")) and b"defaults" in data:
        try:
            defaults = read_defaults(decode(data).text)
        except UnreadableSource:
            # A binary file by that name is none of ours; it is not worth a line in the report.
            return Scan(path)
        if defaults is not None:
            scan.config_groups, scan.config_included = list(defaults.groups), list(defaults.included)
    return scan


def scan_file(path: str, data: bytes, patches: Sequence[Patch]) -> Scan:
    """First look at one file; ``path`` is relative to the root."""
    if not is_python(path, data):
        return _scan_text(path, data, patches)
    link = link_target(data)
    if link is not None:
        return Scan(path, LINK_TEXT.format(link))
    tree, seen, problem = parse(data)
    if tree is None:
        return Scan(path, problem)
    nodes = list(ast.walk(tree))
    features, classes = _features(nodes)
    scan = Scan(path, classes=classes, wanted=wanted_patches(path, data, features | seen, patches))
    scan.uses_hydra = any(feature == "hydra" or feature.startswith("hydra.") for feature in features)
    scan.imports = sorted({feature.partition(".")[0] for feature in features} & set(MODULES))
    if scan.uses_hydra or b"config_name" in data or b"config_dir" in data:
        calls = (node for node in nodes if isinstance(node, ast.Call))
        scan.config_names = sorted({name for call in calls for name in _config_names(call)})
    for statement in tree.body:
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name) and value is not None:
                scan.constants[target.id] = constant_kind(value)
    return scan


def build_index(scans: Sequence[Scan]) -> Index:
    """Join the facts of all files; names defined twice with different outcomes are left out."""
    facts: dict[str, list[ClassFacts]] = {}
    kinds: dict[str, set[str]] = {}
    for scan in scans:
        for item in scan.classes:
            facts.setdefault(item.name, []).append(item)
        for name, kind in scan.constants.items():
            kinds.setdefault(name, set()).add(kind)

    def unhashable(name: str, seen: frozenset[str] = frozenset()) -> bool | None:
        if name in ENUM_BASES:
            return False
        if name in seen or name not in facts:
            return None
        verdicts = {verdict(item, seen | {name}) for item in facts[name]}
        return verdicts.pop() if len(verdicts) == 1 else None

    def verdict(item: ClassFacts, seen: frozenset[str]) -> bool:
        if item.sets_hash:
            return False
        if item.dataclass or item.sets_eq:
            return True
        return any(unhashable(base, seen) for base in item.bases)

    classes = {name: value for name in facts if (value := unhashable(name)) is not None}
    constants = {}
    for name, found in kinds.items():
        if len(found) != 1:
            continue
        (kind,) = found
        callee = kind.partition(":")[2]
        if kind == "mutable" or (callee and classes.get(callee)):
            constants[name] = True
        elif kind == "enum":
            # NAME = ChoiceEnum([...]) is a class; NAME("x") is one of its members.
            classes.setdefault(name, False)
            constants[name] = False
    return Index(classes, constants, _hydra_facts(scans))


def _hydra_facts(scans: Sequence[Scan]) -> HydraFacts:
    groups: set[str] = set()
    included: set[str] = set()
    for scan in scans:
        folder = posixpath.dirname(scan.path)
        groups.update(posixpath.normpath(posixpath.join(folder, group)) for group in scan.config_groups)
        included.update(posixpath.normpath(posixpath.join(folder, name)) for name in scan.config_included)
    return HydraFacts(
        used=any(scan.uses_hydra for scan in scans),
        names=frozenset(name for scan in scans for name in scan.config_names),
        folders=frozenset(posixpath.dirname(scan.path) for scan in scans if scan.path.endswith((".yaml", ".yml"))),
        groups=frozenset(groups),
        included=frozenset(included),
    )
