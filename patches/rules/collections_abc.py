"""Abstract base classes imported from collections itself."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression
from ..model import Example, Patch
from ._calls import Rename, without_names

NAMES = (
    "AsyncGenerator",
    "AsyncIterable",
    "AsyncIterator",
    "Awaitable",
    "ByteString",
    "Callable",
    "Collection",
    "Container",
    "Coroutine",
    "Generator",
    "Hashable",
    "ItemsView",
    "Iterable",
    "Iterator",
    "KeysView",
    "Mapping",
    "MappingView",
    "MutableMapping",
    "MutableSequence",
    "MutableSet",
    "Reversible",
    "Sequence",
    "Set",
    "Sized",
    "ValuesView",
)


class CollectionsAbc(Rename):
    """``collections.Iterable`` -> ``collections.abc.Iterable``."""

    names = {f"collections.{name}": f"collections.abc:{name}" for name in NAMES}
    patch = Patch(
        id="collections-abc",
        title="Abstract classes that moved to collections.abc",
        symptom="ImportError: cannot import name 'Iterable' from 'collections'",
        cause="Python 3.10 removed the copies of the abstract base classes that collections kept.",
        since={"python": "3.10"},
        fairseq="plugins (fairseq itself guards the import)",
        change="Names are taken from collections.abc.",
        matches=[(f"cannot import name '{name}' from 'collections'",) for name in NAMES]
        + [(f"module 'collections' has no attribute '{name}'",) for name in NAMES],
        features=[f"collections.{name}" for name in NAMES] + [("collections", f".{name}") for name in NAMES],
        tokens=[f"collections.{name}".encode() for name in NAMES] + [b"collections import", (b"collections", b" as ")],
        before="from collections import Iterable, OrderedDict\nx = isinstance([], Iterable)\n",
        after="from collections.abc import Iterable\nfrom collections import OrderedDict\n"
        "x = isinstance([], Iterable)\n",
        more=[
            Example(
                "import collections\nx = isinstance([], collections.Sequence)\n",
                "import collections.abc\nimport collections\nx = isinstance([], collections.abc.Sequence)\n",
            )
        ],
        untouched=[
            "from collections.abc import Iterable\nfrom collections import OrderedDict\n",
            "try:\n    from collections.abc import Iterable\nexcept ImportError:\n"
            "    from collections import Iterable\n",
        ],
    )

    def leave_ImportFrom(self, original: Any, updated: Any) -> Any:
        if isinstance(original.names, cst.ImportStar) or (not self.ctx.origins(cst.Name("x")) and original.relative):
            return updated
        if original.module is None or getattr(original.module, "value", None) != "collections":
            return updated
        moved = [alias for alias in original.names if getattr(alias.name, "value", "") in NAMES]
        if not moved or any(isinstance(node, cst.Try) for node in self.ctx.ancestors):
            return updated
        names = {alias.name.value for alias in moved}
        self.hit(original, f"{', '.join(sorted(names))} from collections.abc")
        for alias in moved:
            local = alias.asname.name.value if alias.asname else alias.name.value
            self.ctx.wanted[("collections.abc", alias.name.value)] = local
        return without_names(updated, names)

    def leave_Name(self, original: Any, updated: Any) -> Any:
        # A bare name stays; its import moved.
        return updated

    def _replace(self, original: Any, updated: Any, name: str | None = None) -> Any:
        name = self.meant(original)
        if name is None or not isinstance(original, cst.Attribute) or not isinstance(original.value, cst.Name):
            return updated
        self.hit(original, f"{name} becomes {self.names[name].replace(':', '.')}")
        self.ctx.wanted[("collections.abc", None)] = "collections"
        return updated.with_changes(value=expression(f"{original.value.value}.abc"))


RULE = CollectionsAbc
