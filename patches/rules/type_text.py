"""Types recognised by how they print."""

from __future__ import annotations

from typing import Any

from .._cst import cst
from ..edit import expression, literal, replace_argument
from ..model import Example, Patch, Rule


class TypeText(Rule):
    """``re.match("...Optional...", str(t))`` -> the text older Pythons gave."""

    patch = Patch(
        id="typing-optional-text",
        title="Optional recognised by how it prints",
        symptom="TypeError: typing.Union is not callable (an option declared Optional[int], Python 3.14)",
        cause="Python 3.9 changed how Optional[int] prints (Union[int, NoneType] before), and 3.14 again (int | None); "
        "code that searches the printed form takes such fields for something else.",
        since={"python": "3.9"},
        fairseq="0.10 to main (gen_parser_from_dataclass, _override_attr)",
        change="str(t) in such searches becomes type_text(t) or union_text(t), which print as the code expects.",
        matches=[
            ("invalid Optional value",),
            ("invalid Union value",),
            ("union", "is not callable"),
            ("type function", "union"),
            ("int | none", "is not callable"),
            ("is not callable", "add_argument"),
            ("'... is not callable'",),
            ("valueerror:", "is not callable"),
        ],
        features=["optional-text"],
        tokens=[b"Optional", b"Union"],
        before='import re\n\n\ndef is_optional(t):\n    return re.match(r"(typing.|^)Optional", str(t)) is not None\n',
        after="import re\nfrom _modern import type_text\n\n\ndef is_optional(t):\n"
        '    return re.match(r"(typing.|^)Optional", type_text(t)) is not None\n',
        more=[
            Example(
                "import re\n\n\ndef is_optional(t):\n    text = str(t)\n"
                '    return re.match(r"(typing.|^)Union\\[(.*), NoneType\\]$", text) is not None\n',
                "import re\nfrom _modern import union_text\n\n\ndef is_optional(t):\n    text = str(t)\n"
                '    return re.match(r"(typing.|^)Union\\[(.*), NoneType\\]$", union_text(t)) is not None\n',
            ),
            Example(
                'def is_optional(t):\n    return "Optional" in str(t) or str(t).startswith("typing.Optional")\n',
                "from _modern import type_text\ndef is_optional(t):\n"
                '    return "Optional" in type_text(t) or type_text(t).startswith("typing.Optional")\n',
            ),
        ],
        untouched=['import re\nx = re.match("a", str(1))\ny = "Optional" in "a text"\n'],
    )

    def _type_of(self, node: Any) -> Any:
        """``t`` where ``node`` is ``str(t)``, or a name for it; None elsewhere."""
        if isinstance(node, cst.Name):
            values = self.ctx.scope.assigned(node.value)
            return self._type_of(values[0]) if len(values) == 1 and isinstance(values[0], cst.Call) else None
        plain = isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "str"
        return node.args[0].value if plain and len(node.args) == 1 and not self.ctx.scope.visible("str") else None

    @staticmethod
    def _pattern(node: Any) -> str:
        text = literal(node) or ""
        return text if "Optional" in text or "Union" in text else ""

    def _text(self, subject: Any, pattern: str) -> Any:
        # Up to Python 3.8 it was Union[int, NoneType], and code of that time looks for it.
        name = "union_text" if "NoneType" in pattern else "type_text"
        self.hit(subject, f"the type's text is taken from {name}()")
        call = expression(f"{self.ctx.use_helper(name)}(x)")
        return call.with_changes(args=[cst.Arg(self._type_of(subject))])

    def leave_Call(self, original: Any, updated: Any) -> Any:
        if len(original.args) >= 2 and self.ctx.origin(original.func, "re.match", "re.search", "re.fullmatch"):
            subject, pattern = original.args[1].value, self._pattern(original.args[0].value)
            if pattern and self._type_of(subject) is not None:
                return replace_argument(updated, 1, self._text(subject, pattern))
        func = original.func
        if isinstance(func, cst.Attribute) and func.attr.value in ("startswith", "find", "count") and original.args:
            pattern = self._pattern(original.args[0].value)
            if pattern and self._type_of(func.value) is not None:
                return updated.with_changes(func=updated.func.with_changes(value=self._text(func.value, pattern)))
        return updated

    def leave_Comparison(self, original: Any, updated: Any) -> Any:
        if len(original.comparisons) != 1 or not isinstance(original.comparisons[0].operator, cst.In):
            return updated
        subject, pattern = original.comparisons[0].comparator, self._pattern(original.left)
        if not pattern or self._type_of(subject) is None:
            return updated
        target = updated.comparisons[0].with_changes(comparator=self._text(subject, pattern))
        return updated.with_changes(comparisons=[target])


RULE = TypeText
