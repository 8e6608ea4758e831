"""Versions compared as strings."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import expression, literal
from ..model import Patch, Rule, version_tuple

OPERATORS = ("LessThan", "LessThanEqual", "GreaterThan", "GreaterThanEqual")


class VersionCompare(Rule):
    """``omegaconf.__version__ < "2.2"`` -> a comparison of numbers."""

    patch = Patch(
        id="version-string-compare",
        title="Versions compared as strings",
        symptom="A branch for old releases is taken on new ones, because '2.10' < '2.2' is True for strings",
        cause='As strings "2.10" is smaller than "2.2", so the branch for old releases is taken on new ones.',
        since={"omegaconf": "2.10"},
        fairseq="main (checkpoint_utils: omegaconf); plugins (torch, transformers)",
        change="Both sides are compared as numbers, with packaging.version.",
        matches=[("'2.10' < '2.2'",), ("oc_version <",)],
        tokens=[b"__version__"],
        before='import torch\nnew = torch.__version__ >= "1.10"\n',
        after="from packaging.version import Version\nimport torch\n"
        'new = Version(torch.__version__) >= Version("1.10")\n',
        untouched=[
            'import torch\nsame = torch.__version__ == "1.10"\nname = "b" < "c"\n',
            "import sys\nnew = sys.version_info >= (3, 8)\n",
        ],
    )

    def leave_Comparison(self, original: Any, updated: Any) -> Any:
        if len(original.comparisons) != 1:
            return updated
        target = original.comparisons[0]
        if type(target.operator).__name__ not in OPERATORS:
            return updated
        if not self._is_version(original.left) or not self._is_number(target.comparator):
            return updated
        self.hit(original, "versions are compared as numbers")
        version = self.ctx.use("packaging.version", "Version")
        compared = updated.comparisons[0]
        right = expression(f"{version}(x)").with_changes(args=[cst.Arg(compared.comparator)])
        left = expression(f"{version}(x)").with_changes(args=[cst.Arg(updated.left)])
        return updated.with_changes(left=left, comparisons=[compared.with_changes(comparator=right)])

    def _is_version(self, node: Any) -> bool:
        name = dotted(node)
        if name is None:
            return False
        return name.endswith(".__version__") or any(item.endswith(".__version__") for item in self.ctx.origins(node))

    @staticmethod
    def _is_number(node: Any) -> bool:
        text = literal(node)
        return text is not None and bool(version_tuple(text))


RULE = VersionCompare
