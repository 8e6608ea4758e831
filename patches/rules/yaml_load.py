"""yaml.load without a loader."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument
from ..model import Patch, Rule


class YamlLoad(Rule):
    """``yaml.load(x)`` -> ``yaml.safe_load(x)``."""

    patch = Patch(
        id="yaml-load",
        title="yaml.load without a Loader",
        symptom="TypeError: load() missing 1 required positional argument: 'Loader'",
        cause="PyYAML 6 wants to be told which loader to use, because the old default could run code.",
        since={},
        fairseq="plugins",
        change="yaml.load(x) becomes yaml.safe_load(x).",
        matches=[("load() missing 1 required positional argument: 'loader'",), ("calling yaml.load() without loader",)],
        features=["yaml.load"],
        tokens=[b"yaml"],
        before="import yaml\nx = yaml.load(open('a'))\n",
        after="import yaml\nx = yaml.safe_load(open('a'))\n",
        untouched=[
            "import yaml\nx = yaml.load(open('a'), Loader=yaml.FullLoader)\ny = yaml.load(open('a'), yaml.Loader)\n"
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not self.ctx.origin(original.func, "yaml.load") or not isinstance(original.func, cst.Attribute):
            return updated
        if argument(original, "Loader", 1) is not None or any(arg.star for arg in original.args):
            return updated
        self.hit(original, "yaml.load becomes yaml.safe_load")
        return updated.with_changes(func=updated.func.with_changes(attr=cst.Name("safe_load")))


RULE = YamlLoad
