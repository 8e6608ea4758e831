"""The text of a parsed module, and in which line some of its nodes begin, in one pass."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

__all__ = ["code_and_lines"]


def code_and_lines(module: Any, nodes: set[Any]) -> tuple[str, dict[Any, int]]:
    """Source text of ``module``, and node -> line for ``nodes`` (comments and blank lines before a node left out).

    LibCST's PositionProvider works out four numbers for every node, which takes six times as long.
    """
    from libcst._nodes.internal import CodegenState

    # By identity: a node's own hash is a Python call, and every node of the file is asked.
    wanted = {id(node): node for node in nodes if not isinstance(node, int)}

    class State(CodegenState):
        line = 1
        lines: dict[Any, int] = {}

        def add_token(self, value: str) -> None:
            self.line += value.count("\n") or value.count("\r")
            super().add_token(value)

        def before_codegen(self, node: Any) -> None:
            if id(node) in wanted:
                self.lines[node] = self.line

        @contextmanager
        def record_syntactic_position(self, node: Any, **places: Any) -> Iterator[None]:
            if id(node) in wanted:
                # Behind the blank lines, comments and parentheses that belong to the node.
                self.lines[node] = self.line
            yield

    state = State(default_indent=module.default_indent, default_newline=module.default_newline)
    state.lines = {}
    module._codegen(state)
    return "".join(state.tokens), state.lines
