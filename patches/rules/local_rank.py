"""--local_rank, which PyTorch's launcher now spells --local-rank."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import literal
from ..model import Patch, Rule


class LocalRank(Rule):
    """Options called ``--local_rank`` also answer to ``--local-rank``."""

    patch = Patch(
        id="torch-local-rank",
        title="--local_rank of torch.distributed.launch",
        symptom="fairseq-train: error: unrecognized arguments: --local-rank=0",
        cause="Since PyTorch 2.0 the launcher passes --local-rank; torchrun passes nothing and sets LOCAL_RANK.",
        since={"torch": "2.0"},
        fairseq="all (the option --device-id has the other name --local_rank)",
        change="add_argument calls get the second spelling. An argparse_alias in a dataclass field can hold "
        "one name only, so "
        "there it becomes the new one.",
        matches=[("unrecognized arguments", "--local-rank")],
        tokens=[b"--local_rank"],
        before="parser.add_argument('--device-id', '--local_rank', default=0, type=int)\n",
        after="parser.add_argument('--device-id', '--local_rank', \"--local-rank\", default=0, type=int)\n",
        untouched=[
            "parser.add_argument('--local_rank', '--local-rank', type=int)\nx = '--local_rank'\n",
        ],
    )

    def leave_Call(self, original: Any, updated: Any) -> Any:
        func = original.func
        if not isinstance(func, cst.Attribute) or func.attr.value != "add_argument":
            return updated
        names = [literal(arg.value) if arg.keyword is None and not arg.star else None for arg in original.args]
        if "--local_rank" not in names or "--local-rank" in names:
            return updated
        self.hit(original, "--local-rank is accepted too")
        index = names.index("--local_rank")
        comma = updated.args[index].comma
        if not isinstance(comma, cst.Comma):
            comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        new = cst.Arg(cst.SimpleString('"--local-rank"'), comma=updated.args[index].comma)
        args = [*updated.args[:index], updated.args[index].with_changes(comma=comma), new, *updated.args[index + 1 :]]
        return updated.with_changes(args=args)

    def leave_DictElement(self, original: Any, updated: Any) -> Any:
        if literal(original.key) == "argparse_alias" and literal(original.value) == "--local_rank":
            self.hit(original, "the alias becomes --local-rank")
            return updated.with_changes(value=cst.SimpleString('"--local-rank"'))
        return updated


RULE = LocalRank
