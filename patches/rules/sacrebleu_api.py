"""Names of sacrebleu 1."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..bindings import dotted
from ..edit import expression
from ..model import Example, Patch
from ._calls import Rename


class SacrebleuApi(Rename):
    """DEFAULT_TOKENIZER, TOKENIZERS, compute_bleu, and open files as references."""

    names = {
        "sacrebleu.DEFAULT_TOKENIZER": '="13a"',
        "sacrebleu.TOKENIZERS": "@helper:TOKENIZERS",
        "sacrebleu.tokenizers.TOKENIZERS": "@helper:TOKENIZERS",
        "sacrebleu.compute_bleu": "@helper:compute_bleu",
    }
    patch = Patch(
        id="sacrebleu-2",
        title="Names and arguments of sacrebleu 1",
        symptom="AttributeError: module 'sacrebleu' has no attribute 'DEFAULT_TOKENIZER' (also compute_bleu, "
        "TOKENIZERS)",
        cause="sacrebleu 2 moved these names into its metrics, and takes lists of strings where it took open files.",
        since={"sacrebleu": "2.0"},
        fairseq="all (translation task, scoring, fairseq-score --sacrebleu)",
        change="The names come from the helper module, which finds them in both versions; open files given to "
        "corpus_bleu "
        "become lists of their lines. Other tokenizer functions are reported.",
        matches=[
            ("module 'sacrebleu' has no attribute",),
            ("cannot import name 'compute_bleu' from 'sacrebleu'",),
            ("cannot import name 'TOKENIZERS' from 'sacrebleu",),
            ("cannot import name 'DEFAULT_TOKENIZER' from 'sacrebleu",),
            ("each element of refs should be a sequence of strings",),
            ("sacrebleu: each element of",),
            ("no module named 'sacrebleu.tokenizers",),
            ("cannot import name", "from 'sacrebleu"),
        ],
        tokens=[b"sacrebleu"],
        before="import sacrebleu\n\nx = sacrebleu.compute_bleu([1] * 4, [1] * 4, 4, 4)\n"
        "y = sacrebleu.DEFAULT_TOKENIZER\n",
        after="import sacrebleu\nfrom _modern import compute_bleu\n\nx = compute_bleu([1] * 4, [1] * 4, 4, 4)\n"
        'y = "13a"\n',
        more=[
            Example(
                "import sacrebleu\n\n\ndef f(path, lines):\n    with open(path) as ref:\n"
                "        return sacrebleu.corpus_bleu(lines, [ref])\n",
                "import sacrebleu\n\n\ndef f(path, lines):\n    with open(path) as ref:\n"
                "        return sacrebleu.corpus_bleu(list(lines), [list(ref)])\n",
            ),
        ],
        untouched=[
            "import sacrebleu\n\n\ndef f(hyps, refs):\n"
            "    return sacrebleu.corpus_bleu(hyps, [refs], tokenize='none')\n",
            "from sacrebleu.metrics import BLEU\nx = BLEU.compute_bleu\n",
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.files: set[str] = set()

    def visit_With(self, original: Any) -> None:
        for item in original.items:
            call = item.item
            name = dotted(call.func) if isinstance(call, cst.Call) else None
            opened = name is not None and name.rpartition(".")[2] == "open" and item.asname is not None
            if opened and isinstance(item.asname.name, cst.Name):
                self.files.add(item.asname.name.value)

    def _is_file(self, node: Any) -> bool:
        return isinstance(node, cst.Name) and node.value in self.files

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not self.ctx.origin(original.func, "sacrebleu.corpus_bleu") or len(original.args) < 2:
            return updated
        given, refs = original.args[0].value, original.args[1].value
        if not isinstance(refs, cst.List) or not any(self._is_file(item.value) for item in refs.elements):
            return updated
        self.hit(original, "open files become lists of lines")
        args = list(updated.args)
        elements = [
            new.with_changes(value=_listed(new.value)) if self._is_file(old.value) else new
            for old, new in zip(refs.elements, args[1].value.elements)
        ]
        args[1] = args[1].with_changes(value=args[1].value.with_changes(elements=elements))
        if isinstance(given, cst.Name):
            args[0] = args[0].with_changes(value=_listed(args[0].value))
        return updated.with_changes(args=args)

    def visit_Attribute(self, original: Any) -> None:
        for name in self.ctx.origins(original):
            if name.startswith("sacrebleu.tokenize_"):
                self.by_hand(original, f"{name} is gone: use the class in sacrebleu.tokenizers")


def _listed(node: Any) -> Any:
    return expression("list(x)").with_changes(args=[cst.Arg(node)])


RULE = SacrebleuApi
