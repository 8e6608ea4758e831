"""Types recognised by how they print."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression, literal
from ..model import Example, Patch, Rule


class TypeText(Rule):
    """``re.match("...Optional...", str(t))`` -> the text older Pythons gave."""

    patch = Patch(
        id="typing-optional-text",
        title="Optional recognised by how it prints",
        symptom="TypeError: typing.Union is not callable (an option declared Optional[int], Python 3.14)",
        cause="Python 3.14 prints Optional[int] as int | None; code that searches the printed form for the "
        "word Optional "
        "takes such fields for something else.",
        since={"python": "3.14"},
        fairseq="0.10 to main (gen_parser_from_dataclass, _override_attr)",
        change="str(t) in such searches goes through type_text(), which prints as before.",
        matches=[
            ("union", "is not callable"),
            ("type function", "union"),
            ("int | none", "is not callable"),
            ("is not callable", "add_argument"),
            ("'... is not callable'",),
            ("valueerror:", "is not callable"),
        ],
        tokens=[b"Optional"],
        before='import re\n\n\ndef is_optional(t):\n    return re.match(r"(typing.|^)Optional", str(t)) is not None\n',
        after="import re\nfrom _modern import type_text\n\n\ndef is_optional(t):\n"
        '    return re.match(r"(typing.|^)Optional", type_text(t)) is not None\n',
        more=[
            Example(
                'def is_optional(t):\n    return "Optional" in str(t) or str(t).startswith("typing.Optional")\n',
                "from _modern import type_text\ndef is_optional(t):\n"
                '    return "Optional" in type_text(t) or type_text(t).startswith("typing.Optional")\n',
            )
        ],
        untouched=['import re\nx = re.match("a", str(1))\ny = "Optional" in "a text"\n'],
    )

    def _is_str(self, node: Any) -> bool:
        plain = isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "str"
        return plain and len(node.args) == 1 and not self.ctx.scope.visible("str")

    @staticmethod
    def _names_optional(node: Any) -> bool:
        text = literal(node)
        return text is not None and ("Optional" in text or "Union[" in text)

    def _through(self, original: Any, updated: Any) -> Any:
        self.hit(original, "the type's text is taken from type_text()")
        return updated.with_changes(func=expression(self.ctx.use_helper("type_text")))

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if len(original.args) >= 2 and self.ctx.origin(original.func, "re.match", "re.search", "re.fullmatch"):
            subject = original.args[1].value
            if self._names_optional(original.args[0].value) and self._is_str(subject):
                args = list(updated.args)
                args[1] = args[1].with_changes(value=self._through(subject, args[1].value))
                return updated.with_changes(args=args)
        func = original.func
        searches = isinstance(func, cst.Attribute) and func.attr.value in ("startswith", "find", "count")
        named = bool(original.args) and self._names_optional(original.args[0].value)
        if searches and named and self._is_str(func.value):
            value = self._through(func.value, updated.func.value)
            return updated.with_changes(func=updated.func.with_changes(value=value))
        return updated

    def leave_Comparison(self, original: Any, updated: Any) -> Any:
        if len(original.comparisons) != 1 or not isinstance(original.comparisons[0].operator, cst.In):
            return updated
        subject = original.comparisons[0].comparator
        if not self._names_optional(original.left) or not self._is_str(subject):
            return updated
        target = updated.comparisons[0]
        return updated.with_changes(
            comparisons=[target.with_changes(comparator=self._through(subject, target.comparator))]
        )


RULE = TypeText
