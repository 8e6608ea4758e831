"""Packages whose names are imported on first use.

``import fairseq`` must stay cheap, yet ``fairseq.models.BaseFairseqModel`` or ``fairseq.data.indexed_dataset`` must be
reachable from it without a further import statement. A package writes::

    __getattr__, __dir__ = attach(__name__, {"Dictionary": "dictionary"})

and every listed name, and every submodule, is found when it is first asked for (PEP 562).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, exports: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``(__getattr__, __dir__)`` pair of a lazy package.

    Args:
        package: the package's ``__name__``.
        exports: public name -> submodule that defines it, relative to the package (``"dictionary"``) or, when it
            holds a dot, absolute (``"fairseq.data.dictionary"``).

    A name that is neither an export nor a submodule raises ``AttributeError``, as for any module. An ``ImportError``
    inside a submodule that does exist is not hidden.
    """
    table = dict(exports or {})

    def __getattr__(name: str) -> Any:
        if name in table:
            target = table[name]
            module = importlib.import_module(target if "." in target else f"{package}.{target}")
            value = getattr(module, name)
        elif not name.startswith("__") and importlib.util.find_spec(f"{package}.{name}") is not None:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # Remember it, so that the next access does not come here again.
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        module = sys.modules[package]
        names = set(vars(module)) | set(table)
        for folder in getattr(module, "__path__", []):
            for entry in Path(folder).glob("*"):
                if entry.suffix == ".py" and entry.stem != "__init__":
                    names.add(entry.stem)
                elif (entry / "__init__.py").is_file():
                    names.add(entry.name)
        return sorted(names)

    return __getattr__, __dir__
