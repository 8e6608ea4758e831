"""random.sample of a set, random.shuffle with a second argument."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression
from ..model import Example, Patch, Rule


class RandomSample(Rule):
    """``random.sample({...}, k)`` -> ``random.sample(sorted({...}), k)``."""

    patch = Patch(
        id="random-sample-set",
        title="random.sample of a set",
        symptom="TypeError: Population must be a sequence.  For dicts or sets, use sorted(d).",
        cause="Python 3.11 no longer turns a set into a list here, and random.shuffle takes one argument only.",
        since={"python": "3.11"},
        fairseq="plugins",
        change="Sets are sorted first; a shuffle with its own source of randomness is reported.",
        matches=[("population must be a sequence",), ("shuffle() takes 2 positional arguments but 3 were given",)],
        tokens=[b"random"],
        features=[("random", ".sample"), ("random", ".shuffle"), "random.sample", "random.shuffle"],
        before="import random\nx = random.sample({1, 2, 3}, 2)\n",
        after="import random\nx = random.sample(sorted({1, 2, 3}), 2)\n",
        more=[
            Example(
                "from random import sample\nnames = set('abc')\nx = sample(names, 2)\n",
                "from random import sample\nnames = set('abc')\nx = sample(sorted(names), 2)\n",
            )
        ],
        untouched=[
            "import random\nx = random.sample([1, 2, 3], 2)\ny = random.sample(sorted({1}), 1)\nrandom.shuffle([1])\n"
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if self.ctx.origin(original.func, "random.shuffle") and len(original.args) > 1:
            self.by_hand(original, "random.shuffle takes one argument: use random.Random(seed).shuffle(x)")
            return updated
        if not self.ctx.origin(original.func, "random.sample") or not original.args:
            return updated
        if original.args[0].keyword is not None or not self._is_set(original.args[0].value):
            return updated
        self.hit(original, "the set is sorted first")
        value = expression("sorted(x)").with_changes(args=[cst.Arg(updated.args[0].value)])
        args = [updated.args[0].with_changes(value=value), *updated.args[1:]]
        return updated.with_changes(args=args)

    def _is_set(self, node: Any) -> bool:
        if isinstance(node, (cst.Set, cst.SetComp)):
            return True
        if isinstance(node, cst.Call) and isinstance(node.func, cst.Name):
            return node.func.value in ("set", "frozenset") and not self.ctx.scope.visible(node.func.value)
        if isinstance(node, cst.Name):
            values = self.ctx.scope.assigned(node.value)
            return bool(values) and all(not isinstance(value, cst.Name) and self._is_set(value) for value in values)
        return False


RULE = RandomSample
