"""inspect.getargspec."""

from __future__ import annotations

from ..model import Patch
from ._calls import Rename


class GetArgSpec(Rename):
    """``inspect.getargspec`` -> ``inspect.getfullargspec``."""

    names = {"inspect.getargspec": "inspect:getfullargspec"}
    patch = Patch(
        id="inspect-getargspec",
        title="inspect.getargspec",
        symptom="AttributeError: module 'inspect' has no attribute 'getargspec'",
        cause="Python 3.11 removed it; getfullargspec gives the same first four items under the same names, "
        "but keywords "
        "is called varkw.",
        since={"python": "3.11"},
        fairseq="0.9 and 0.10 (distributed_fairseq_model)",
        change="inspect.getargspec becomes inspect.getfullargspec.",
        matches=[
            ("module 'inspect' has no attribute 'getargspec'",),
            ("cannot import name 'getargspec' from 'inspect'",),
        ],
        tokens=[b"getargspec"],
        before="import inspect\nnames = inspect.getargspec(print_all)[0]\n",
        after="import inspect\nnames = inspect.getfullargspec(print_all)[0]\n",
        untouched=["import inspect\nnames = inspect.getfullargspec(print_all)[0]\n"],
    )


RULE = GetArgSpec
