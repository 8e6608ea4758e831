"""Worker processes that relied on fork."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import argument, expression, with_keyword
from ..model import Example, Patch, Rule


class ForkWorkers(Rule):
    """DataLoader and Pool are told to fork."""

    patch = Patch(
        id="multiprocessing-fork",
        title="Workers that need fork",
        symptom="_pickle.PicklingError: Can't pickle <function <lambda> at 0x...>: attribute lookup on ... "
        "failed (starting a "
        "DataLoader worker, Python 3.14)",
        cause="Python 3.14 starts processes on Linux through a fork server, which pickles what they are given: "
        "lambdas, local "
        "classes and open files do not survive.",
        since={"python": "3.14"},
        fairseq="all, with datasets of plugins",
        change="DataLoader(...) gets multiprocessing_context=fork_context(num_workers), and "
        "multiprocessing.Pool(...) is "
        "taken from that context.",
        matches=[
            ("can't pickle <function <lambda>",),
            ("can't pickle local object",),
            ("can't get local object",),
            ("can't get local attribute",),
            ("cannot pickle", "object"),
            ("can't pickle <class", "attribute lookup"),
        ],
        tokens=[b"DataLoader", b"Pool"],
        features=[".DataLoader", "torch.utils.data.DataLoader", ".Pool", "multiprocessing.Pool"],
        before="import torch.utils.data\n\nloader = torch.utils.data.DataLoader([1], num_workers=2)\n",
        after="import torch.utils.data\nfrom _modern import fork_context\n\n"
        "loader = torch.utils.data.DataLoader([1], num_workers=2, multiprocessing_context=fork_context(2))\n",
        more=[
            Example(
                "from multiprocessing import Pool\npool = Pool(3)\n",
                "from multiprocessing import Pool\nfrom _modern import fork_context\npool = fork_context().Pool(3)\n",
            )
        ],
        untouched=[
            "import torch.utils.data\nloader = torch.utils.data.DataLoader([1])\n",
            "from multiprocessing import get_context\npool = get_context('spawn').Pool(3)\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if self.ctx.origin(original.func, "multiprocessing.Pool", "torch.multiprocessing.Pool"):
            self.hit(original, "Pool forks")
            call = f"{self.ctx.use_helper('fork_context')}().Pool"
            return updated.with_changes(func=expression(call))
        if not self.ctx.origin(original.func, "torch.utils.data.DataLoader"):
            return updated
        if argument(original, "multiprocessing_context", 99) is not None or any(arg.star for arg in original.args):
            return updated
        workers = argument(original, "num_workers", 5)
        if workers is None or not isinstance(workers.value, (cst.Name, cst.Attribute, cst.Integer)):
            return updated
        self.hit(original, "DataLoader forks")
        context = expression(f"{self.ctx.use_helper('fork_context')}(x)")
        return with_keyword(updated, "multiprocessing_context", context.with_changes(args=[cst.Arg(workers.value)]))


RULE = ForkWorkers
