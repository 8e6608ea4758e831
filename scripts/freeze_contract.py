"""Write ``tests/contract/golden/{import_paths,flags,signatures,state_dict_keys}.json``: the contract for what exists.

    python scripts/freeze_contract.py SPEC [MODELS]
    python scripts/freeze_contract.py SPEC [MODELS] --check    # exit 1 if a file is out of date

``SPEC`` is a folder with recorded facts about upstream: ``api.json``, ``cli.json``, ``registries.json``,
``archs.json``, ``configs.json``. ``MODELS`` is a folder whose ``cases.json`` lists state dicts that upstream wrote,
by name. Without ``MODELS`` the recorded state dicts stay as they are.

An entry is written once the tree has what it is about, with the value of upstream. It then stays, whatever becomes of
the tree: the tests fail, not the record. So after a family is added:

1. Run ``scripts/make_index.py``, then this script. The names, options, signatures and presets of the family join.
2. A model that is neither encoder-decoder nor language model needs a row in ``tests/contract/tiny_models.py``.
3. Run ``pytest tests/contract/test_frozen.py tests/contract/test_every_architecture.py``. A deliberate difference goes
   into the table of ``test_frozen.py`` with its reason, and into ``docs/differences.md``.

The section ``tiny`` of ``state_dict_keys.json`` is the one part that this library writes: upstream did not record
a state dict for each of its architectures. ``--refreeze ARCH ...`` writes such entries anew, after a recipe changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "tests" / "contract"
sys.path[:0] = [str(ROOT), str(CONTRACT)]

import surface  # noqa: E402 - needs the path
import tiny_models  # noqa: E402

GOLDEN = CONTRACT / "golden"
Json = dict[str, Any]
PACKAGES = ("fairseq", "fairseq_cli")


def load(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def dump(document: Json) -> str:
    """JSON with a line per entry: the sections of the file, and what each section holds, have lines of their own."""
    lines = []
    for section, entries in document.items():
        lines.append(f"{json.dumps(section)}: {{\n" + ",\n".join(_entries(entries)) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _entries(entries: Json) -> Iterator[str]:
    for name, value in entries.items():
        nested = isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values())
        if nested:
            rows = ",\n".join(f"  {json.dumps(key)}: {_line(part)}" for key, part in value.items())
            yield f" {json.dumps(name)}: {{\n{rows}\n }}"
        else:
            yield f" {json.dumps(name)}: {_line(value)}"


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def import_paths(spec: Path) -> Json:
    """Modules with the public names that they define or export, second names of modules, registered classes."""
    api, registries = load(spec / "api.json"), load(spec / "registries.json")
    modules = {}
    for name, row in api["modules"].items():
        if name.partition(".")[0] in PACKAGES and surface.module(name) is not None:
            names = {*row.get("defines", {}), *row.get("reexports", {})}
            modules[name] = sorted(n for n in names if surface.has_name(name, n))
    aliases = {old: new for old, new in api["module_aliases"].items() if surface.module(old) is not None}
    classes = {}
    for kind, entries in registries["entries"].items():
        for name, row in entries.items():
            if kind in CLASS_REGISTRIES and name in surface.registry(kind):
                classes[f"{kind} {name}"] = f"{row['module']}.{row['class']}"
    existing = tiny_models.architectures()
    archs = {arch: model for arch, model in registries["archs"].items() if arch in existing}
    return {"modules": modules, "aliases": aliases, "registered": classes, "archs": archs}


CLASS_REGISTRIES = ("model", "task", "criterion", "optimizer", "lr_scheduler", "bpe", "tokenizer", "scoring")
# Facts about an option, without its group and its help text.
OPTION_FACTS = ("flags", "action", "type", "default", "choices", "nargs", "const", "required")


def flags(spec: Path) -> Json:
    """Options of parsers, tools and registered classes; converters; config classes; presets of architectures."""
    cli = load(spec / "cli.json")
    parsers = {}
    for name, recorded in cli["parsers"].items():
        if surface.has_name("fairseq.options", name):
            parsers[name] = _existing(recorded, surface.library_parser(name))
    tools = {}
    for tool, row in cli["tools"].items():
        tools[tool] = row.get("parser")
        if tools[tool] is None:
            own = _existing(row["options"], surface.parser_of(tool))
            tools[tool] = next((name for name, known in parsers.items() if known == own), tool)
            parsers.setdefault(tools[tool], own)
    entries = {}
    for kind, classes in cli["entries"].items():
        for name, recorded in classes.items():
            if kind in CLASS_REGISTRIES and name in surface.registry(kind):
                entries[f"{kind} {name}"] = _existing(recorded, surface.entry_parser(surface.registry(kind)[name]))
    types = {name: made for name, made in cli["types"].items() if not any(map(surface.is_opaque, made))}
    return {
        "types": types,
        "tools": tools,
        "parsers": parsers,
        "entries": {name: found for name, found in entries.items() if found},
        "configs": _configs(spec),
        "presets": _presets(spec),
    }


def _existing(recorded: Json, parser: argparse.ArgumentParser) -> Json:
    actions = surface.options_of(parser)
    found = {}
    for key, option in recorded.items():
        if surface.find_option(option, actions.get(key.partition("#")[0], [])) is not None:
            facts = {fact: option[fact] for fact in OPTION_FACTS if fact in option}
            if facts["action"] == "store":
                del facts["action"]
            found[key] = facts
    return found


def _configs(spec: Path) -> Json:
    found = {}
    for dotted, row in load(spec / "configs.json")["dataclasses"].items():
        try:
            fields = surface.config_fields(surface.member(dotted))
        except (AttributeError, TypeError):
            continue
        found[dotted] = {f["name"]: f.get("default", "<required>") for f in row["fields"] if f["name"] in fields}
    return found


def _presets(spec: Path) -> Json:
    held = load(GOLDEN / "models_core_presets.json")
    existing = tiny_models.architectures()
    rows = load(spec / "archs.json").items()
    return {
        arch: row["values"]
        for arch, row in rows
        if arch in existing and arch not in held and row.get("values") and "empty_namespace_fails" not in row
    }


def signatures(spec: Path) -> Json:
    """Parameters of functions and methods."""
    functions, methods = {}, {}
    for name, row in load(spec / "api.json")["modules"].items():
        if name.partition(".")[0] not in PACKAGES or surface.module(name) is None:
            continue
        for defined, facts in row.get("defines", {}).items():
            dotted = f"{name}.{defined}"
            if facts.get("params") is not None and _exists(dotted):
                functions[dotted] = facts["params"]
            for method, kind in facts.get("methods", {}).items():
                if _exists(f"{dotted}.{method}"):
                    methods[f"{dotted}.{method}"] = _with_kind(kind)
    return {"functions": functions, "methods": {name: rows for name, rows in methods.items() if rows}}


def _exists(dotted: str) -> bool:
    try:
        surface.member(dotted)
    except AttributeError:
        return False
    return True


def _with_kind(method: Json) -> list[str] | None:
    if method.get("property"):
        return ["@property"]
    if method.get("params") is None:
        return None
    kinds = [name for key, name in (("static", "@static"), ("classmethod", "@class")) if method.get(key)]
    return [*kinds, *method["params"]]


def state_dict_keys(models: Path | None, refreeze: Sequence[str]) -> Json:
    """State dicts that upstream wrote (``recorded``), and those of the tiny models of this library (``tiny``)."""
    path = GOLDEN / "state_dict_keys.json"
    old = load(path) if path.exists() else {"recorded": {}, "tiny": {}}
    recorded = {} if models else old["recorded"]
    held = {case["name"] for case in load(GOLDEN / "models_core.json")}
    existing = tiny_models.architectures()
    for case in load(models / "cases.json")["cases"] if models else ():
        build = case["build"]
        if build["arch"] not in existing or case.get("files") or case.get("setup"):
            continue
        facts: Json = {"state": [_state_row(*row) for row in case["state"]]}
        if case["name"] not in held:  # else the model is built as test_models_core.py builds it
            facts = {"build": build, "dicts": case["dicts"], "task": case["task"], **facts}
        recorded[case["name"]] = facts
    tiny = {arch: tiny_models.frozen_rows(old["tiny"], arch) for arch in old["tiny"] if arch not in refreeze}
    states = {arch: tiny.get(arch) or tiny_models.state_rows(tiny_models.Tiny(arch).model) for arch in existing}
    return {"recorded": recorded, "tiny": _by_reference({**tiny, **states})}


def _state_row(key: str, shape: list[int], dtype: str, _rule: str, owner: str) -> str:
    row = tiny_models.state_row(key, shape, dtype)
    return row if owner == key else f"{row} = {owner}"


def _by_reference(states: Json) -> Json:
    """Replace a state dict that an earlier architecture has too by the name of that architecture."""
    first: dict[str, str] = {}
    found: Json = {}
    for arch, rows in sorted(states.items()):
        found[arch] = first.get(_line(rows), rows)
        first.setdefault(_line(rows), arch)
    return found


def merged(old: Any, new: Any) -> Any:
    """Entries of both, sorted; the new value where both have one. Rows and names once frozen never leave."""
    if isinstance(old, dict) and isinstance(new, dict):
        # Fields of a config class have an order, which is part of the contract: that of upstream.
        keys = [*new, *(key for key in old if key not in new)]
        return {key: merged(old[key], new[key]) if key in old and key in new else {**old, **new}[key] for key in keys}
    return new


def build(name: str, make: Callable[[], Json]) -> str:
    """The text of a golden file, with what it holds already."""
    path = GOLDEN / f"{name}.json"
    old = load(path) if path.exists() else {}
    found = merged(old, make())
    for section, entries in found.get("modules", {}).items():
        found["modules"][section] = sorted({*entries, *old.get("modules", {}).get(section, ())})
    return dump({section: dict(sorted(entries.items())) for section, entries in found.items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the files and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("models", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--refreeze", nargs="+", default=[], metavar="ARCH", help="take these from the library anew")
    args = parser.parse_args(argv)
    makers: dict[str, Callable[[], Json]] = {
        "import_paths": lambda: import_paths(args.spec),
        "flags": lambda: flags(args.spec),
        "signatures": lambda: signatures(args.spec),
        "state_dict_keys": lambda: state_dict_keys(args.models, args.refreeze),
    }
    outdated = 0
    for name, make in makers.items():
        path, text = GOLDEN / f"{name}.json", build(name, make)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        outdated += 1
        if args.check:
            print(f"{path}: out of date")
        else:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path}: {len(text)} bytes")
    return int(args.check and outdated > 0)


if __name__ == "__main__":
    sys.exit(main())
