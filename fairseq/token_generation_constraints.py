"""Which words a translation still owes: states of lexically constrained decoding.

A sentence comes with phrases that must appear in the output (Post & Vilar 2018; Hu et al. 2019). A state follows one
hypothesis: ``advance(token)`` returns the state after one more word, ``bank`` counts the constraint words in place,
``finished`` says whether everything owed was said.

``OrderedConstraintState``     the phrases must come in the given order
``UnorderedConstraintState``   any order; phrases that begin alike share a trie
``pack_constraints``           phrases of a batch -> one integer tensor, and ``unpack_constraints`` back
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "ConstraintNode",
    "ConstraintSequence",
    "ConstraintState",
    "OrderedConstraintState",
    "UnorderedConstraintState",
    "pack_constraints",
    "unpack_constraints",
]


def pack_constraints(batch_constraints: Sequence[Sequence[Tensor]]) -> Tensor:
    """Write the phrases of every sentence into one rectangle.

    Returns:
        int64 ``(batch, width)``; a row is ``[number of phrases, phrase, 0, phrase, 0, ..., 0]``, filled up with zeros.

    Raises:
        ValueError: a phrase holds an id that is not positive; zero separates phrases.
    """
    rows: list[list[int]] = []
    for constraints in batch_constraints:
        row = [len(constraints)]
        for phrase in constraints:
            ids = [int(token) for token in phrase]
            if any(token <= 0 for token in ids):
                raise ValueError(f"constraint {ids}: token ids must be positive, 0 separates constraints")
            row += [*ids, 0]
        # A sentence without constraints still occupies one column.
        rows.append(row)
    width = max((len(row) for row in rows), default=1)
    packed = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        packed[i, : len(row)] = torch.tensor(row, dtype=torch.long)
    return packed


def unpack_constraints(constraint_tensor: Tensor) -> list[Tensor]:
    """The phrases of one packed row, each a 1-D tensor."""
    count = int(constraint_tensor[0])
    values = constraint_tensor.tolist()
    phrases = []
    start = 1
    for _ in range(count):
        end = values.index(0, start) if 0 in values[start:] else len(values)
        phrases.append(constraint_tensor[start:end])
        start = end + 1
    return phrases


class ConstraintState(ABC):
    """Progress of one hypothesis through its constraints; states never change, ``advance`` makes new ones."""

    def __init__(self) -> None:
        """States hold what their class documents; the base holds nothing."""
        super().__init__()

    @property
    @abstractmethod
    def bank(self) -> int:
        """Number of constraint tokens in place."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether every constraint is met."""

    @property
    @abstractmethod
    def num_constraint_tokens(self) -> int:
        """Number of distinct tokens among the constraints."""

    @abstractmethod
    def next_tokens(self) -> Collection[int]:
        """Tokens that would make progress now."""

    @abstractmethod
    def advance(self, token: int) -> ConstraintState:
        """The state after ``token`` was generated."""


class ConstraintNode:
    """A word in the trie of all phrases of a sentence; the root has no token.

    Attributes:
        terminal: how many phrases end here.
        num_constraints: how many phrases pass through or end here.
    """

    def __init__(self, token: int | None = None, parent: ConstraintNode | None = None) -> None:
        self.token = int(token) if token is not None else None
        self.parent = parent
        self.terminal = 0
        self.children: dict[int, ConstraintNode] = {}
        self.num_constraints = 0

    @property
    def id(self) -> int | str:
        """The token, or ``"ROOT"``."""
        return "ROOT" if self.token is None else self.token

    def __str__(self) -> str:
        return f"[{self.token}].{self.terminal > 0}#{self.num_constraints}"

    def __getitem__(self, key: int) -> ConstraintNode | None:
        return self.children.get(key)

    def next_tokens(self) -> set[int]:
        """Tokens of the children."""
        return set(self.children)

    @staticmethod
    def create(constraints: Iterable[Iterable[int]]) -> ConstraintNode:
        """The trie of some phrases."""
        root = ConstraintNode()
        for phrase in constraints:
            root.add_sequence([int(token) for token in phrase])
        return root

    @staticmethod
    def print_graph(node: ConstraintNode) -> str:
        """The trie below a node as nested parentheses, leaves without; for debugging and tests."""
        if not node.children:
            return str(node)
        inside = [str(node), *(ConstraintNode.print_graph(child) for child in node.children.values())]
        return "(" + " ".join(inside) + ")"

    def add_sequence(self, sequence: Sequence[int]) -> None:
        """Add one phrase below this node.

        Raises:
            ValueError: an empty phrase.
        """
        if not sequence:
            raise ValueError("a constraint needs at least one token")
        node = self
        self.num_constraints += 1
        for token in sequence:
            node = node.children.setdefault(token, ConstraintNode(token, parent=node))
            node.num_constraints += 1
        node.terminal += 1

    def token_counts(self) -> Counter[int]:
        """token -> how often the phrases below ask for it."""
        counts: Counter[int] = Counter()
        pending = list(self.children.values())
        while pending:
            node = pending.pop()
            counts[node.token or 0] += node.num_constraints
            pending += node.children.values()
        return counts

    def tokens(self) -> set[int]:
        """The distinct tokens below."""
        return set(self.token_counts())


class UnorderedConstraintState(ConstraintState):
    """Constraints in any order.

    Attributes:
        root, node: the trie, and where in it the hypothesis stands.
        generated: node -> how often it was entered and kept.
        completed: node -> how many phrases that end there are done.
        needed_tokens: every token of the constraints.
    """

    def __init__(self, node: ConstraintNode, copy_from: UnorderedConstraintState | None = None) -> None:
        super().__init__()
        self.node = node
        if copy_from is None:
            self.root = node
            self.completed: Counter[ConstraintNode] = Counter()
            self.generated: Counter[ConstraintNode] = Counter()
            self.needed_tokens = self.root.tokens()
        else:
            self.root = copy_from.root
            self.completed = Counter(copy_from.completed)
            self.generated = Counter(copy_from.generated)
            self.needed_tokens = copy_from.needed_tokens

    @staticmethod
    def create(constraint_tensor: Tensor) -> UnorderedConstraintState:
        """The start state of one packed row."""
        return UnorderedConstraintState(
            ConstraintNode.create(c.tolist() for c in unpack_constraints(constraint_tensor))
        )

    def __str__(self) -> str:
        done = "/".join(f"{node.id}" for node in self.completed)
        return f"{self.name}/{self.bank}({done})x{self.num_completed}"

    def copy(self) -> UnorderedConstraintState:
        """The same state, independent of this one."""
        return UnorderedConstraintState(self.node, copy_from=self)

    @property
    def name(self) -> str:
        """The current token as text, or ``ROOT``."""
        return str(self.node.id)

    @property
    def is_root(self) -> bool:
        """Whether no phrase is under way."""
        return self.node is self.root

    @property
    def bank(self) -> int:
        return sum(self.generated.values())

    @property
    def num_completed(self) -> int:
        """Phrases that are done, the one that just ended included."""
        ends_here = self.node.terminal > 0 and self.completed[self.node] < self.node.terminal
        return sum(self.completed.values()) + int(ends_here)

    @property
    def finished(self) -> bool:
        return self.root.num_constraints == self.num_completed

    @property
    def token_counts(self) -> Counter[int]:
        """token -> how often the constraints ask for it."""
        return self.root.token_counts()

    @property
    def tokens(self) -> set[int]:
        """The distinct tokens of the constraints."""
        return self.needed_tokens

    @property
    def num_constraint_tokens(self) -> int:
        return len(self.needed_tokens)

    def next_tokens(self) -> set[int]:
        return self.root.next_tokens() | self.node.next_tokens()

    def advance(self, token: int) -> UnorderedConstraintState:
        token = int(token)
        child = self.node[token]
        if child is not None and self.generated[child] < child.num_constraints:
            state = UnorderedConstraintState(child, copy_from=self)
            state.generated[child] += 1
            return state
        start = self.root[token]
        if start is not None and self.generated[start] < start.num_constraints:
            state = UnorderedConstraintState(start, copy_from=self)
            state.generated[start] += 1
        else:
            state = UnorderedConstraintState(self.root, copy_from=self)
        state._leave(self.node)
        return state

    def _leave(self, node: ConstraintNode) -> None:
        """Give up the words since the last complete phrase on the way from ``node`` to the root."""
        while node.parent is not None:
            if node.terminal > 0 and self.completed[node] < node.terminal:
                self.completed[node] += 1
                return
            self.generated[node] -= 1
            node = node.parent


class ConstraintSequence:
    """All phrases of a sentence as one sequence.

    Attributes:
        sequences: the tokens, phrase after phrase.
        endpoints: for each token, whether a phrase ends with it.
        tokens: the distinct ones.
    """

    def __init__(self, sequences: Iterable[Iterable[int]]) -> None:
        self.sequences: list[int] = []
        self.endpoints: list[bool] = []
        for sequence in sequences:
            ids = [int(token) for token in sequence]
            self.sequences += ids
            self.endpoints += [False] * (len(ids) - 1) + [True] * bool(ids)
        self.num_tokens = len(self.sequences)
        self.tokens = set(self.sequences)

    def __getitem__(self, key: int) -> int:
        return self.sequences[key]

    def __len__(self) -> int:
        return len(self.sequences)

    def __str__(self) -> str:
        return " ".join(str(token) for token in self.sequences)


class OrderedConstraintState(ConstraintState):
    """Constraints in the given order; ``state`` is the position of the last matched token, -1 before the first."""

    def __init__(self, sequence: ConstraintSequence, state: int = -1) -> None:
        super().__init__()
        self.sequence = sequence
        self.state = state

    @staticmethod
    def create(constraint_tensor: Tensor) -> OrderedConstraintState:
        """The start state of one packed row."""
        return OrderedConstraintState(ConstraintSequence(c.tolist() for c in unpack_constraints(constraint_tensor)))

    def __str__(self) -> str:
        return f"{self.state}/{self.bank}x{self.num_completed}"

    def copy(self) -> OrderedConstraintState:
        """The same state, independent of this one."""
        return OrderedConstraintState(self.sequence, self.state)

    @property
    def name(self) -> str:
        """The last matched token, written as a tensor prints it, or ``ROOT``."""
        return "ROOT" if self.is_root else f"tensor({self.sequence[self.state]})"

    @property
    def is_root(self) -> bool:
        """Whether nothing is matched."""
        return self.state == -1

    @property
    def bank(self) -> int:
        return self.state + 1

    @property
    def num_completed(self) -> int:
        """Phrases that are done."""
        return sum(self.sequence.endpoints[: self.state + 1])

    @property
    def finished(self) -> bool:
        return self.state + 1 == len(self.sequence)

    @property
    def token_counts(self) -> Counter[int]:
        """token -> how often the constraints ask for it."""
        return Counter(self.sequence.sequences)

    @property
    def tokens(self) -> set[int]:
        """The distinct tokens of the constraints."""
        return self.sequence.tokens

    @property
    def num_constraint_tokens(self) -> int:
        return len(self.sequence.tokens)

    def next_tokens(self) -> list[int]:
        """The word that continues, and the first of all; the same word may be both."""
        continuing = [] if self.finished else [self.sequence[self.state + 1]]
        return continuing + ([self.sequence[0]] if self.state > 0 else [])

    def advance(self, token: int) -> OrderedConstraintState:
        return OrderedConstraintState(self.sequence, self._next(int(token)))

    def _next(self, token: int) -> int:
        if self.finished:
            return self.state
        if token == self.sequence[self.state + 1]:
            return self.state + 1
        # Between two phrases any word may stand; -1 reads the last flag, which is always set.
        if self.sequence.endpoints[self.state]:
            return self.state
        return 0 if token == self.sequence[0] else -1


def initial_state(representation: str, constraint_tensor: Tensor) -> Any:
    """The start state of one packed row under ``ordered`` or ``unordered``."""
    kinds: dict[str, Any] = {"ordered": OrderedConstraintState, "unordered": UnorderedConstraintState}
    if representation not in kinds:
        raise ValueError(f"--constraints {representation}: expected one of {', '.join(kinds)}")
    return kinds[representation].create(constraint_tensor)
