"""copy=False, which numpy 2 takes literally."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, drop_argument
from ..model import Patch, Rule


class NumpyCopy(Rule):
    """``np.array(x, copy=False)`` -> ``np.asarray(x)``."""

    patch = Patch(
        id="numpy-copy-false",
        title="np.array(..., copy=False)",
        symptom="ValueError: Unable to avoid copy while creating an array as requested.",
        cause="numpy 2.0 raises when a copy is needed although copy=False was given; before, it copied.",
        since={"numpy": "2.0"},
        fairseq="plugins",
        change="np.array(x, copy=False) becomes np.asarray(x).",
        matches=[("unable to avoid copy while creating an array",)],
        features=[("numpy.array", "copy=")],
        tokens=[(b"numpy", b"array", b"copy")],
        before="import numpy as np\nx = np.array([1, 2], dtype=float, copy=False)\n",
        after="import numpy as np\nx = np.asarray([1, 2], dtype=float)\n",
        untouched=[
            "import numpy as np\nx = np.array([1], copy=True)\ny = x.astype(int, copy=False)\n",
            "import numpy as np\nx = np.array([1], copy=False, subok=True)\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        arg = argument(original, "copy")
        if arg is None or not isinstance(arg.value, cst.Name) or arg.value.value != "False":
            return updated
        if self.ctx.origin(original.func, "numpy.array") is None or not isinstance(original.func, cst.Attribute):
            return updated
        allowed = {"dtype", "order", "copy"}
        if any(arg.keyword is not None and arg.keyword.value not in allowed for arg in original.args):
            self.by_hand(
                original, "copy=False now forbids a copy: use np.asarray, with what the other arguments ask for"
            )
            return updated
        self.hit(original, "np.array(..., copy=False) becomes np.asarray(...)")
        func = updated.func.with_changes(attr=cst.Name("asarray"))
        return drop_argument(updated, "copy").with_changes(func=func)


RULE = NumpyCopy
