"""imp, removed in Python 3.12."""

from __future__ import annotations

from ..model import Example, Patch
from ._gone import GoneModule


class Imp(GoneModule):
    """``imp.load_source`` and ``imp.reload``."""

    module = "imp"
    names = {
        "imp.load_source": "@helper:load_source",
        "imp.reload": "importlib:reload",
        "imp.new_module": "types:ModuleType",
    }
    advice = "use importlib"
    patch = Patch(
        id="imp-module",
        title="imp",
        symptom="ModuleNotFoundError: No module named 'imp'",
        cause="Python 3.12 removed imp; importlib has had its functions for long.",
        since={"python": "3.12"},
        fairseq="plugins",
        change="imp.reload becomes importlib.reload, imp.load_source a function of the helper module; other "
        "uses are reported.",
        matches=[("no module named 'imp'",)],
        tokens=[b"imp"],
        features=["imp", "imp.load_source", "imp.reload"],
        before="import imp\nm = imp.load_source('m', 'm.py')\n",
        after="from _modern import load_source\nm = load_source('m', 'm.py')\n",
        more=[Example("from imp import reload\nreload(m)\n", "from importlib import reload\nreload(m)\n")],
        untouched=["import importlib as imp2\nimp2.reload(m)\nimp = 3\n"],
    )


RULE = Imp
