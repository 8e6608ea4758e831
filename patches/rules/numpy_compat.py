"""np.compat, gone in numpy 2."""

from __future__ import annotations

from ..model import Patch
from ._calls import Rename


class NumpyCompat(Rename):
    """``np.compat.long`` and the few other names there."""

    names = {
        "numpy.compat.long": "numpy:int64",
        "numpy.compat.unicode": "=str",
        "numpy.compat.basestring": "=str",
        "numpy.compat.py3k.long": "numpy:int64",
    }
    patch = Patch(
        id="numpy-compat-long",
        title="np.compat.long",
        symptom="AttributeError: module 'numpy' has no attribute 'compat'",
        cause="numpy 2.0 removed numpy.compat, its bridge to Python 2.",
        since={"numpy": "2.0"},
        fairseq="0.12 and main (token_block_dataset with break mode eos, language_pair_dataset with buckets)",
        change="np.compat.long becomes np.int64.",
        matches=[("module 'numpy' has no attribute 'compat'",), ("no module named 'numpy.compat'",), ("numpy.compat",)],
        features=["numpy.compat", "numpy.*"],
        tokens=[(b"numpy", b"compat")],
        before="import numpy as np\nx = np.zeros(3, dtype=np.compat.long)\n",
        after="import numpy as np\nx = np.zeros(3, dtype=np.int64)\n",
        untouched=["import numpy as np\nfrom tool import compat\nx = np.int64(compat.long)\n"],
    )


RULE = NumpyCompat
