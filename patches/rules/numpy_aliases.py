"""Names of numpy that were only other spellings of Python's types."""

from __future__ import annotations

from typing import Any

from ..model import Example, Patch
from ._calls import Rename

ALIASES = ("float", "int", "bool", "complex", "object", "str", "long", "unicode")


class NumpyAliases(Rename):
    """``np.float`` and its kind."""

    names = {
        f"numpy.{name}": f"={name}" for name in ("float", "int", "bool", "complex", "object", "str")
    } | {"numpy.long": "=int", "numpy.unicode": "=str"}  # fmt: skip
    patch = Patch(
        id="numpy-aliases",
        title="np.float, np.int, np.bool and the like",
        symptom="AttributeError: module 'numpy' has no attribute 'float'",
        cause="numpy 1.24 removed its aliases of Python's types. numpy 2 brought back np.bool and np.long with another "
        "meaning, so that old code silently changes.",
        since={"numpy": "1.24"},
        fairseq="all: fatal at import in 0.9 and 0.10 (indexed_dataset), later in dynamic_crf_layer and mask functions",
        change="np.float becomes float, np.int and np.long become int, np.bool bool, np.object object, and so on.",
        matches=[(f"module 'numpy' has no attribute '{name}'",) for name in ALIASES]
        + [
            ("np.float was a deprecated alias",),
            ("np.int was a deprecated alias",),
            ("np.bool was a deprecated alias",),
        ],
        features=[f"numpy.{name}" for name in ALIASES],
        tokens=[(b"numpy", f".{name}".encode()) for name in ALIASES] + [b"numpy import"],
        before="import numpy as np\nx = np.zeros(3, dtype=np.float)\ny = np.array([1, 2]).astype(np.int)\n"
        "z = np.long(3)\n",
        after="import numpy as np\nx = np.zeros(3, dtype=float)\ny = np.array([1, 2]).astype(int)\nz = int(3)\n",
        more=[
            Example(
                "import numpy\nkinds = {6: numpy.float, 7: numpy.double}\n",
                "import numpy\nkinds = {6: float, 7: numpy.double}\n",
            )
        ],
        untouched=[
            "import numpy as np\nx = np.float32(1), np.int64, np.bool_, np.str_, np.object_, np.longlong\n",
            "class np:\n    float = 1\nx = np.float\n",
        ],
    )

    def meant(self, original: Any) -> str | None:
        name = super().meant(original)
        if name is None:
            return None
        # A file with its own `int` or `float` means that one by the bare name.
        return name if not self.ctx.scope.visible(self.names[name][1:]) else None


RULE = NumpyAliases
