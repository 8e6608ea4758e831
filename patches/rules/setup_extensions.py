"""setup.py: extensions whose sources were left out, and an examples folder that is no link."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression
from ..model import Patch, Rule

FILTER = (
    "[extension for extension in {0} if all({1}.path.exists(source) or {1}.path.exists({1}.path.splitext(source)[0] "
    '+ ".pyx") for source in extension.sources)]'
)


class SetupExtensions(Rule):
    """``ext_modules=extensions`` -> those whose sources are there; unlink only links."""

    patch = Patch(
        id="setup-extensions",
        title="setup.py that wants files the distribution lacks",
        symptom="error: could not compile: fairseq/clib/libbase/balanced_assignment.cpp: No such file or directory",
        cause="The source distribution of 0.12.2 lacks C++ files that its setup.py compiles, and those of 0.10 "
        "and 0.12 hold "
        "a real folder where setup.py expects (and removes) a link.",
        since={},
        fairseq="0.10.2 and 0.12.2 as distributed on PyPI, and repositories that copied parts of the tree",
        change="Extensions without sources are left out of the build, and fairseq/examples is removed only if "
        "it is a link.",
        matches=[
            ("balanced_assignment.cpp", "no such file or directory"),
            ("alignment_train_cpu.cpp", "no such file or directory"),
            (".cpp: no such file or directory",),
            ("is a directory: 'fairseq/examples'",),
            ("operation not permitted: 'fairseq/examples'",),
            ("fatal error: no input files",),
        ],
        tokens=[b"ext_modules", b"os.unlink"],
        files=["setup.py"],
        before="""\
import os
from setuptools import Extension, setup

extensions = [Extension("a", sources=["a.cpp"])]
link = os.path.join("fairseq", "examples")
setup(name="x", ext_modules=extensions)
if os.path.exists(link):
    os.unlink(link)
""",
        after="""\
import os
from setuptools import Extension, setup

extensions = [Extension("a", sources=["a.cpp"])]
link = os.path.join("fairseq", "examples")
setup(name="x", ext_modules="""
        + FILTER.format("extensions", "os")
        + """)
if os.path.islink(link):
    os.unlink(link)
""",
        untouched=["import os\nif os.path.exists('a'):\n    os.unlink('b')\n"],
    )

    def leave_If(self, original: Any, updated: Any) -> Any:
        removed: list[Any] = []
        rule = self

        class Removals(cst.CSTVisitor):
            def visit_Call(self, node: Any) -> None:
                if rule.ctx.origin(node.func, "os.unlink", "os.remove") and len(node.args) == 1:
                    removed.append(node.args[0].value)

        original.body.visit(Removals())
        if not removed:
            return updated

        class Tests(cst.CSTTransformer):
            changed = False

            def leave_Call(self, node: Any, new: Any) -> Any:
                if not rule.ctx.origin(node.func, "os.path.exists") or len(node.args) != 1:
                    return new
                if not any(node.args[0].value.deep_equals(item) for item in removed):
                    return new
                self.changed = True
                return new.with_changes(func=new.func.with_changes(attr=cst.Name("islink")))

        tests = Tests()
        # Names are looked up through the nodes of the original tree.
        test = original.test.visit(tests)
        if not tests.changed:
            return updated
        self.hit(original, "removes it only if it is a link")
        return updated.with_changes(test=test)

    def leave_Arg(self, original: Any, updated: Any) -> Any:
        if (
            original.keyword is None
            or original.keyword.value != "ext_modules"
            or isinstance(original.value, cst.ListComp)
        ):
            return updated
        call = self.ctx.ancestors[-1]
        if not (isinstance(call, cst.Call) and isinstance(call.func, (cst.Name, cst.Attribute))):
            return updated
        self.hit(original, "extensions without sources are left out")
        new = expression(FILTER.format("x", self.ctx.use("os")))
        loop = new.for_in.with_changes(iter=updated.value)
        return updated.with_changes(value=new.with_changes(for_in=loop))


RULE = SetupExtensions
