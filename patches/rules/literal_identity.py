"""``is`` with a literal."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..model import Example, Patch, Rule


class LiteralIdentity(Rule):
    """``x is "a"`` -> ``x == "a"``."""

    patch = Patch(
        id="is-literal",
        title="Comparing with a literal by `is`",
        symptom='SyntaxWarning: "is not" with \'str\' literal. Did you mean "!="?',
        cause="Whether two equal strings or numbers are one object is an accident of the implementation; "
        "Python warns since 3.8.",
        since={"python": "3.8"},
        fairseq="main (multires_hubert_pretraining)",
        change="is becomes ==, is not becomes !=, where one side is a string, bytes, number or tuple literal.",
        matches=[
            ("'is' with", "literal", "did you mean"),
            ("'is not' with", "literal", "did you mean"),
            ("'is' with a literal",),
            ("'is not' with a literal",),
        ],
        features=["is-literal"],
        tokens=[b"is"],
        before='def f(label):\n    return label is not "" and label is 3\n',
        after='def f(label):\n    return label != "" and label == 3\n',
        more=[Example("x = 'a' is y\n", "x = 'a' == y\n")],
        untouched=["x = y is None or y is True or y is not z\n"],
    )
    LITERALS = ("SimpleString", "ConcatenatedString", "FormattedString", "Integer", "Float", "Imaginary", "Tuple")

    def _is_literal(self, node: Any) -> bool:
        if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, (cst.Minus, cst.Plus)):
            node = node.expression
        return type(node).__name__ in self.LITERALS

    def leave_Comparison(self, original: Any, updated: Any) -> Any:
        sides = [original.left, *(item.comparator for item in original.comparisons)]
        targets = list(updated.comparisons)
        changed = False
        for index, item in enumerate(original.comparisons):
            if not isinstance(item.operator, (cst.Is, cst.IsNot)):
                continue
            if not (self._is_literal(sides[index]) or self._is_literal(sides[index + 1])):
                continue
            before, after = item.operator.whitespace_before, item.operator.whitespace_after
            spaced = {"whitespace_before": _space(before), "whitespace_after": _space(after)}
            kind = cst.Equal if isinstance(item.operator, cst.Is) else cst.NotEqual
            targets[index] = targets[index].with_changes(operator=kind(**spaced))
            changed = True
        if not changed:
            return updated
        self.hit(original, "a literal is compared by value")
        return updated.with_changes(comparisons=targets)


def _space(node: Any) -> Any:
    return node if not getattr(node, "empty", False) else cst.SimpleWhitespace(" ")


RULE = LiteralIdentity
