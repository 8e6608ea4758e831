"""Write ``fairseq/_index.py``: import every module that may register something and list what did.

    python scripts/make_index.py            # write
    python scripts/make_index.py --check    # exit 1 if the file is out of date

A module that needs a package which is not installed keeps the entries it had.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
TARGET = ROOT / "fairseq" / "_index.py"
PACKAGES = {
    "model": "fairseq.models",
    "task": "fairseq.tasks",
    "criterion": "fairseq.criterions",
    "tokenizer": "fairseq.data.encoders",
    "bpe": "fairseq.data.encoders",
    "optimizer": "fairseq.optim",
    "lr_scheduler": "fairseq.optim.lr_scheduler",
    "scoring": "fairseq.scoring",
    "audio_dataset_transform": "fairseq.data.audio.dataset_transforms",
    "audio_feature_transform": "fairseq.data.audio.feature_transforms",
    "audio_waveform_transform": "fairseq.data.audio.waveform_transforms",
}
# Kinds without an option of their own: a data configuration names them.
WITHOUT_CONFIGS = ("audio_dataset_transform", "audio_feature_transform", "audio_waveform_transform")
# Modules outside those packages that register something too.
EXTRA_PACKAGES = ("fairseq.benchmark",)
WIDTH = 120


def where(obj: Any) -> str:
    """``"module:name"`` of a class or function."""
    return f"{obj.__module__}:{obj.__qualname__}"


def import_all() -> list[str]:
    """Import every module of the registering packages; return those that could not be imported."""
    failed = []
    for package_name in sorted({*PACKAGES.values(), *EXTRA_PACKAGES}):
        if importlib.util.find_spec(package_name) is None:
            continue
        package = importlib.import_module(package_name)
        for info in pkgutil.walk_packages(package.__path__, package_name + "."):
            try:
                importlib.import_module(info.name)
            except Exception as error:  # any failure is reported and costs only that module's entries
                print(f"{info.name}: {type(error).__name__}: {error}", file=sys.stderr)
                failed.append(info.name)
    return failed


def collect() -> str:
    """The text of the index file."""
    import fairseq._index as old

    before = {kind: dict(names) for kind, names in old.ENTRIES.items()}
    before_dataclasses = {kind: dict(names) for kind, names in old.DATACLASSES.items()}
    before_archs = dict(old.ARCHS)
    # Start from nothing, so that decorators register afresh and what was removed disappears.
    old.ENTRIES, old.DATACLASSES, old.ARCHS = {}, {}, {}
    failed = set(import_all())

    def kept(target: str) -> bool:
        return target.partition(":")[0] in failed

    entries: dict[str, dict[str, str]] = {}
    dataclasses: dict[str, dict[str, str]] = {}
    for kind in PACKAGES:
        loaded, configs = tables(kind)
        entries[kind] = {n: t for n, t in before.get(kind, {}).items() if kept(t)} | loaded
        if kind in WITHOUT_CONFIGS:
            continue
        dataclasses[kind] = {n: t for n, t in before_dataclasses.get(kind, {}).items() if kept(t)} | configs
    from fairseq import models

    archs = {a: v for a, v in before_archs.items() if kept(v[1])}
    for arch, function in dict.items(models.ARCH_CONFIG_REGISTRY):
        target = getattr(function, "index_target", None) or where(function)
        archs[arch] = (models.ARCH_MODEL_NAME_REGISTRY[arch], target)

    source = TARGET.read_text(encoding="utf-8")
    head = source[: source.index("ENTRIES: dict")]
    return (
        head
        + table("ENTRIES", "dict[str, dict[str, str]]", entries)
        + table("DATACLASSES", "dict[str, dict[str, str]]", dataclasses)
        + table("ARCHS", "dict[str, tuple[str, str]]", archs)
    )


def table(name: str, kind: str, value: dict[str, Any]) -> str:
    """One table as source, laid out as the formatter would."""
    source = lines(f"{name}: {kind} = ", value)
    return "".join(f"{line}  # noqa: E501\n" if len(line) > WIDTH else f"{line}\n" for line in source)


def lines(start: str, value: Any, indent: str = "", end: str = "") -> list[str]:
    """Source lines of a dictionary or tuple of strings; ``start`` comes before it, ``end`` after."""
    if isinstance(value, str):
        return [f"{indent}{start}{json.dumps(value)}{end}"]
    if isinstance(value, tuple):
        flat = f"{indent}{start}({', '.join(json.dumps(item) for item in value)}){end}"
        if len(flat) <= WIDTH:
            return [flat]
        inner = [line for item in value for line in lines("", item, indent + "    ", ",")]
        return [f"{indent}{start}(", *inner, f"{indent}){end}"]
    if not value:
        return [f"{indent}{start}{{}}{end}"]
    inner = [line for key in sorted(value) for line in lines(f"{json.dumps(key)}: ", value[key], indent + "    ", ",")]
    return [f"{indent}{start}{{", *inner, f"{indent}}}{end}"]


def tables(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is registered under a kind after everything was imported: classes and their config classes."""
    package = importlib.import_module(PACKAGES[kind])
    if kind in ("model", "task"):
        registry = getattr(package, f"{kind.upper()}_REGISTRY")
        configs = getattr(package, f"{kind.upper()}_DATACLASS_REGISTRY")
    elif kind in WITHOUT_CONFIGS:
        registry, configs = getattr(package, f"{kind.upper()}_REGISTRY"), {}
    else:
        from fairseq.registry import REGISTRIES

        registry, configs = REGISTRIES[kind]["registry"], REGISTRIES[kind]["dataclass_registry"]
    return (
        {name: where(cls) for name, cls in dict.items(registry)},
        {name: where(cls) for name, cls in dict.items(configs)},
    )


def main() -> int:
    """Write or check the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the index is out of date")
    args = parser.parse_args()
    text = collect()
    if args.check:
        same = text == TARGET.read_text(encoding="utf-8")
        print("the index is up to date" if same else "the index is out of date: run python scripts/make_index.py")
        return 0 if same else 1
    handle, temporary = tempfile.mkstemp(dir=TARGET.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    os.chmod(temporary, 0o644)
    os.replace(temporary, TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
