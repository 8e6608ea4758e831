"""Names that numpy 2 dropped."""

from __future__ import annotations

from ..model import Example, Patch
from ._calls import Rename

TOKENS = (
    b"float_", b"complex_", b"string_", b"unicode_", b"bool8", b".Inf", b"infty", b"PINF", b"NINF", b"NaN", b"NAN",
    b"product", b"sometrue", b"alltrue", b"round_", b"row_stack", b"in1d", b"trapz", b"import Inf",
)  # fmt: skip

NAMES = {
    "numpy.float_": ".float64",
    "numpy.complex_": ".complex128",
    "numpy.string_": ".bytes_",
    "numpy.unicode_": ".str_",
    "numpy.bool8": ".bool_",
    "numpy.Inf": ".inf",
    "numpy.Infinity": ".inf",
    "numpy.infty": ".inf",
    "numpy.PINF": ".inf",
    "numpy.NINF": "=float('-inf')",
    "numpy.NaN": ".nan",
    "numpy.NAN": ".nan",
    "numpy.product": ".prod",
    "numpy.cumproduct": ".cumprod",
    "numpy.sometrue": ".any",
    "numpy.alltrue": ".all",
    "numpy.round_": ".round",
    "numpy.row_stack": ".vstack",
    "numpy.in1d": ".isin",
    "numpy.trapz": ".trapezoid",
}


class NumpyNames(Rename):
    """``np.float_``, ``np.Inf``, ``np.product`` and the like."""

    names = NAMES
    patch = Patch(
        id="numpy-2-names",
        title="Names that numpy 2 dropped",
        symptom="AttributeError: `np.float_` was removed in the NumPy 2.0 release. Use `np.float64` instead.",
        cause="numpy 2.0 removed second names of types, constants and functions.",
        since={"numpy": "2.0"},
        fairseq="plugins and examples",
        change="np.float_ becomes np.float64, np.Inf np.inf, np.product np.prod, np.in1d np.isin, and so on.",
        matches=[("was removed in the numpy 2.0 release",)]
        + [
            (f"module 'numpy' has no attribute '{name}'",) for name in ("product", "cumproduct", "in1d", "trapz", "Inf")
        ],
        features=["numpy.*", *NAMES],
        tokens=[(b"numpy", token) for token in TOKENS] + [(b"numpy import", b"Inf")],
        before="import numpy as np\nx = np.float_(1) + np.Inf\ny = np.product([2, 3]) + np.NINF\n",
        after="import numpy as np\nx = np.float64(1) + np.inf\ny = np.prod([2, 3]) + float('-inf')\n",
        more=[
            Example(
                "from numpy import float_, Inf as I, sum\nx = sum([float_(1), I])\n",
                "from numpy import float64 as float_, inf as I, sum\nx = sum([float_(1), I])\n",
            ),
            Example(
                "from numpy import *; x = float_(product([2, 3]))\ny = f(Inf, Inf=NINF)\n",
                "from numpy import *; x = float64(prod([2, 3]))\ny = f(inf, Inf=float('-inf'))\n",
            ),
        ],
        untouched=[
            "from numpy import *\n\n\ndef product(a):\n    return a.product, dict(Inf=product)\n",
            "from math import *\nx = product(Inf)\nfrom other import NaN, y  # numpy import\n",
            "import numpy as np\nx = np.float64(1) + np.inf\ny = np.prod([2, 3]), np.nan\n",
        ],
    )


RULE = NumpyNames
