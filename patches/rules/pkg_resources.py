"""pkg_resources, which setuptools 81 removes."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Example, Patch
from ._gone import GoneModule


class PkgResources(GoneModule):
    """The three functions people used."""

    module = "pkg_resources"
    advice = "use importlib.metadata or importlib.resources"
    names = {
        "pkg_resources.parse_version": "packaging.version:parse",
        "pkg_resources.resource_filename": "@helper:resource_filename",
        "pkg_resources.packaging.version.parse": "packaging.version:parse",
        "pkg_resources.packaging.version.Version": "packaging.version:Version",
        "pkg_resources.packaging.version": "packaging.version:",
    }
    patch = Patch(
        id="pkg-resources",
        title="pkg_resources",
        symptom="ModuleNotFoundError: No module named 'pkg_resources'",
        cause="New environments have no setuptools, and setuptools 81 drops pkg_resources.",
        since={"setuptools": "81"},
        fairseq="plugins",
        change="parse_version comes from packaging.version, resource_filename from the helper module, "
        "get_distribution(x).version becomes importlib.metadata.version(x). Other uses are reported.",
        matches=[("no module named 'pkg_resources'",), ("pkg_resources is deprecated as an api",)],
        tokens=[b"pkg_resources"],
        before="from pkg_resources import parse_version\nimport torch\n"
        "new = parse_version(torch.__version__) > parse_version('1.8')\n",
        after="from packaging.version import parse as parse_version\nimport torch\n"
        "new = parse_version(torch.__version__) > parse_version('1.8')\n",
        more=[
            Example(
                "import pkg_resources\nv = pkg_resources.get_distribution('numpy').version\n",
                "import importlib.metadata\nv = importlib.metadata.version('numpy')\n",
            ),
            Example(
                "import pkg_resources\np = pkg_resources.resource_filename(__name__, 'a/b.txt')\n",
                "from _modern import resource_filename\np = resource_filename(__name__, 'a/b.txt')\n",
            ),
        ],
        untouched=["from packaging.version import parse\npkg_resources_path = parse('1')\n"],
    )

    def leave_Attribute(self, original: Any, updated: Any) -> Any:
        inner = original.value
        asks = original.attr.value == "version" and isinstance(inner, cst.Call) and len(inner.args) == 1
        if asks and self.ctx.origin(inner.func, "pkg_resources.get_distribution"):
            self.hit(original, "get_distribution(...).version becomes importlib.metadata.version(...)")
            self.ctx.use("importlib.metadata")
            function = cst.parse_expression("importlib.metadata.version")
            return updated.value.with_changes(func=function, lpar=updated.lpar, rpar=updated.rpar)
        return super().leave_Attribute(original, updated)

    def _known(self, origins: set[str]) -> bool:
        return super()._known(origins) or origins == {"pkg_resources.get_distribution"}


RULE = PkgResources
