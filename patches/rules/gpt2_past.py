"""GPT-2's argument ``past``."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Patch, Rule


class Gpt2Past(Rule):
    """``model(..., past=x)`` -> ``model(..., past_key_values=x)``."""

    patch = Patch(
        id="transformers-past",
        title="GPT-2's argument past",
        symptom="TypeError: forward() got an unexpected keyword argument 'past'",
        cause="transformers 4 renamed the argument to past_key_values.",
        since={},
        fairseq="0.9 to main (hf_gpt2)",
        change="The keyword is renamed in files that import transformers.",
        matches=[("got an unexpected keyword argument 'past'",)],
        tokens=[(b"transformers", b"past")],
        before="from transformers import GPT2LMHeadModel\n\n\ndef run(model, x, state):\n"
        "    return model(x, past=state)\n",
        after="from transformers import GPT2LMHeadModel\n\n\n"
        "def run(model, x, state):\n    return model(x, past_key_values=state)\n",
        untouched=[
            "from transformers import BertModel\nx = dict(past=1)\n",
            "def f(past):\n    return g(past)\nf(past=1)\n",
        ],
    )

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        imported = {origin for scope in ctx.scopes.values() for o in scope.imports.values() for origin in o}
        self.active = any(name.startswith("transformers.") and "GPT2" in name for name in imported)

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if not self.active or (isinstance(original.func, cst.Name) and original.func.value == "dict"):
            return updated
        for index, arg in enumerate(original.args):
            if arg.keyword is not None and arg.keyword.value == "past":
                self.hit(original, "past= becomes past_key_values=")
                args = list(updated.args)
                args[index] = args[index].with_changes(keyword=cst.Name("past_key_values"))
                return updated.with_changes(args=args)
        return updated


RULE = Gpt2Past
