"""How deep and how large a tree of containers is, with what is shared counted each time it is met.

A pickle can name one list a million times in a few bytes, also inside itself. Code that copies or walks such a tree
would never finish, so trees from files are measured first, in one pass over the distinct containers.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Measure", "measure"]


@dataclass(frozen=True)
class Measure:
    """Size of a tree.

    Attributes:
        depth: containers inside one another; a plain value has 0.
        size: values and containers met by a walk that enters shared containers each time.
        distinct: containers met by a walk that enters each once.
        is_cyclic: some container holds itself.
    """

    depth: int
    size: int
    distinct: int
    is_cyclic: bool


def _parts(node: Any) -> Iterable[Any] | None:
    """What a container holds; ``None`` for a plain value."""
    if isinstance(node, dict):
        return [*node.keys(), *node.values()] if node else ()
    if isinstance(node, (list, tuple, set, frozenset)):
        return node
    if isinstance(node, Namespace):
        return vars(node).values()
    return None


def measure(root: Any, parts: Callable[[Any], Iterable[Any] | None] = _parts) -> Measure:
    """Measure a tree without recursion.

    Args:
        root: dictionaries, lists, tuples, sets and namespaces, of anything.
        parts: what a node holds, ``None`` if it is no container.
    """
    known: dict[int, tuple[int, int]] = {}
    open_nodes: set[int] = set()
    keep: list[Any] = []  # ids are only unique while the objects live
    is_cyclic = False
    todo: list[tuple[Any, list[Any] | None]] = [(root, None)]
    while todo:
        node, held = todo.pop()
        if held is None:
            if id(node) in known or id(node) in open_nodes:
                continue
            found = parts(node)
            if found is None:
                continue
            inner = [part for part in found if parts(part) is not None]
            keep.append((node, inner))
            open_nodes.add(id(node))
            todo.append((node, inner))
            todo.extend((part, None) for part in inner)
            continue
        depth, size = 1, 1 + _length(parts(node)) - len(held)
        for part in held:
            if id(part) in known:
                part_depth, part_size = known[id(part)]
                depth, size = max(depth, 1 + part_depth), size + part_size
            else:
                is_cyclic = True
                size += 1
        open_nodes.discard(id(node))
        known[id(node)] = (depth, size)
    depth, size = known.get(id(root), (0, 1))
    return Measure(depth, size, len(known), is_cyclic)


def _length(items: Iterable[Any] | None) -> int:
    return sum(1 for _ in items or ())
