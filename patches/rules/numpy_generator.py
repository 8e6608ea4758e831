"""Old method names on numpy's new random generators."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Example, Patch, Rule


class NumpyGenerator(Rule):
    """``np.random.default_rng(...).randint`` -> ``integers``."""

    patch = Patch(
        id="numpy-generator-randint",
        title="Generator.randint",
        symptom="AttributeError: 'numpy.random._generator.Generator' object has no attribute 'randint'",
        cause="np.random.default_rng() gives a Generator, whose methods have other names than RandomState's.",
        since={"numpy": "1.17"},
        fairseq="main (compute_mask_indices with mask types uniform and no_overlap)",
        change="randint becomes integers, random_sample random, randn(...) standard_normal((...)).",
        matches=[
            ("generator' object has no attribute 'randint'",),
            ("generator' object has no attribute 'randn'",),
            ("generator' object has no attribute 'rand'",),
            ("generator' object has no attribute 'random_sample'",),
        ],
        features=["." + name for name in ("randint", "randn", "rand", "random_sample", "ranf")],
        tokens=[b"default_rng", b"Generator"],
        before="import numpy as np\nrng = np.random.default_rng(1)\nx = rng.randint(0, 5, size=3)\n"
        "y = rng.randn(2, 3)\n",
        after="import numpy as np\nrng = np.random.default_rng(1)\nx = rng.integers(0, 5, size=3)\n"
        "y = rng.standard_normal((2, 3))\n",
        more=[
            Example(
                "from numpy.random import default_rng\nx = default_rng().randint(5)\n",
                "from numpy.random import default_rng\nx = default_rng().integers(5)\n",
            )
        ],
        untouched=[
            "import numpy as np\nrng = np.random.RandomState(1)\nx = rng.randint(5)\ny = np.random.randint(5)\n",
            "import numpy as np\ndef f(rng=None):\n    x = np.random.default_rng()\n    return rng.randint(3)\n",
        ],
    )
    SHAPED = {"randn": "standard_normal", "rand": "random"}
    PLAIN = {"randint": "integers", "random_sample": "random", "ranf": "random"}
    MAKERS = ("numpy.random.default_rng", "numpy.random.Generator")

    def _is_generator(self, node: Any) -> bool:
        if isinstance(node, cst.Call):
            return self.ctx.origin(node.func, *self.MAKERS) is not None
        if not isinstance(node, cst.Name):
            return False
        values = self.ctx.scope.assigned(node.value)
        return bool(values) and all(
            isinstance(value, cst.Call) and self.ctx.origin(value.func, *self.MAKERS) for value in values
        )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        func = original.func
        if not isinstance(func, cst.Attribute) or not self._is_generator(func.value):
            return updated
        name = func.attr.value
        new = self.PLAIN.get(name) or self.SHAPED.get(name)
        if new is None:
            return updated
        self.hit(original, f"Generator.{name} becomes {new}")
        updated = updated.with_changes(func=updated.func.with_changes(attr=cst.Name(new)))
        if name in self.SHAPED and updated.args:
            elements = [cst.Element(arg.value) for arg in updated.args]
            updated = updated.with_changes(args=[cst.Arg(cst.Tuple(elements))])
        return updated


RULE = NumpyGenerator
