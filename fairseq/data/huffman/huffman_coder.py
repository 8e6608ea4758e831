"""A Huffman code over words (Huffman 1952): frequent words get short codes.

The code depends on the counts and on the order in which words of equal count were first seen, so a code that is read
back from its file is the one that was written.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fairseq.data.dictionary import Dictionary
from fairseq.file_io import PathManager, atomic_open

__all__ = ["BLOCKSIZE", "HuffmanCodeBuilder", "HuffmanCoder", "HuffmanNode"]

BLOCKSIZE = 8


def _bitarray(*args: Any) -> Any:
    """A bitarray; imported here, as few datasets need it."""
    try:
        from bitarray import bitarray
    except ImportError as error:
        raise ImportError("Huffman data needs bitarray. Please install it with: pip install bitarray") from error
    return bitarray(*args)


class HuffmanCodeBuilder:
    """Counts words, then makes a code of the counts.

    Attributes:
        symbols: the counts.
    """

    def __init__(self) -> None:
        self.symbols: Counter[str] = Counter()

    def add_symbols(self, *syms: str) -> None:
        """Count words once each."""
        self.symbols.update(syms)

    def increment(self, symbol: str, cnt: int) -> None:
        """Count a word ``cnt`` times."""
        self.symbols[symbol] += cnt

    @classmethod
    def from_file(cls, filename: str) -> HuffmanCodeBuilder:
        """Read counts: a word and a number per line, separated by white space.

        Raises:
            ValueError: a line is something else, or not UTF-8.
        """
        builder = cls()
        with PathManager.open(filename, "r", encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, start=1):
                if not line.isascii() and any("\udc80" <= letter <= "\udcff" for letter in line):
                    raise ValueError(f"{filename}, line {number}: the words must be UTF-8")
                try:
                    symbol, count = line.split()
                    builder.increment(symbol, int(count))
                except ValueError:
                    raise ValueError(f"{filename}, line {number}: {line!r} is not a word and its count") from None
        return builder

    def to_file(self, filename: str, sep: str = "\t") -> None:
        """Write the counts, most frequent first."""
        _write_counts(filename, self.symbols.most_common(), sep)

    def __add__(self, c: HuffmanCodeBuilder) -> HuffmanCodeBuilder:
        """Both counts together."""
        both = HuffmanCodeBuilder()
        both.symbols = self.symbols + c.symbols
        return both

    def build_code(self, bos: str = "<s>", pad: str = "<pad>", eos: str = "</s>", unk: str = "<unk>") -> HuffmanCoder:
        """Make the code. Special symbols that were not counted are in it as if they had occurred once."""
        for special in (bos, pad, eos, unk):
            if special not in self.symbols:
                self.symbols[special] = 1
        return HuffmanCoder(_build_tree(self.symbols), bos=bos, pad=pad, eos=eos, unk=unk)


def _build_tree(counts: Counter[str]) -> HuffmanNode:
    """Join the two rarest nodes until one is left. A word's id is its rank by frequency."""
    leaves = deque(HuffmanNode(rank, count, symbol) for rank, (symbol, count) in enumerate(counts.most_common()))
    # Joined nodes come into being in order of their counts, so that both queues stay sorted by themselves.
    joined: deque[HuffmanNode] = deque()

    def take_rarest() -> HuffmanNode:
        if not leaves or (joined and joined[0].count <= leaves[-1].count):
            return joined.popleft()
        return leaves.pop()

    number = 0
    while len(leaves) + len(joined) > 1:
        left, right = take_rarest(), take_rarest()
        joined.append(HuffmanNode(number, left.count + right.count, None, left, right))
        number += 1
    return take_rarest()


def _write_counts(filename: str, counts: Iterable[tuple[str, int]], sep: str) -> None:
    with atomic_open(filename) as out:
        out.writelines(f"{symbol}{sep}{count}\n" for symbol, count in counts)


@dataclass
class HuffmanNode:
    """A node of the tree: a word, or two nodes joined.

    Attributes:
        id: of a word: its rank by frequency. Joined nodes have numbers of their own.
        count: how often the word, or all words below, occurred.
        symbol: the word; ``None`` for joined nodes.
        left, right: the nodes joined; the way to the left is bit 1, to the right bit 0.
        code: a word's bits, once ``code_table`` was called on the root.
    """

    id: int
    count: int
    symbol: str | None = None
    left: HuffmanNode | None = None
    right: HuffmanNode | None = None
    code: Any | None = None

    def is_leaf(self) -> bool:
        """Whether this is a word."""
        return self.left is None and self.right is None

    def code_table(self, prefix: Any | None = None) -> dict[str, HuffmanNode]:
        """Give every word below its code, which begins with ``prefix``, and return the words' nodes by word."""
        table: dict[str, HuffmanNode] = {}
        waiting: list[tuple[HuffmanNode, str]] = [(self, prefix.to01() if prefix is not None else "")]
        while waiting:
            node, bits = waiting.pop()
            if node.left is not None and node.right is not None:
                waiting += [(node.right, bits + "0"), (node.left, bits + "1")]
            else:
                # A code of a single word needs a bit, too: its occurrences could not be counted otherwise.
                node.code = _bitarray(bits or "0")
                table[str(node.symbol)] = node
        return table

    def decode(self, bits: Any) -> Iterator[HuffmanNode]:
        """Follow a bitarray from this node (the root) and give the words' nodes met.

        Raises:
            ValueError: the bits end within a word.
        """
        table = self.code_table()
        for symbol in bits.decode({symbol: node.code for symbol, node in table.items()}):
            yield table[symbol]


class HuffmanCoder:
    """Encodes words as bytes and back.

    Args:
        root: of the tree.
        bos, pad, eos, unk: how the special symbols are spelled.

    Attributes:
        table: the nodes of all words, by word.
    """

    def __init__(
        self, root: HuffmanNode, bos: str = "<s>", pad: str = "<pad>", eos: str = "</s>", unk: str = "<unk>"
    ) -> None:
        self.root = root
        self.table = root.code_table()
        self.bos_word, self.pad_word, self.eos_word, self.unk_word = bos, pad, eos, unk
        self._codes: dict[str, Any] = {symbol: node.code for symbol, node in self.table.items()}
        self._tree: Any = None

    @classmethod
    def from_file(
        cls, filename: str, bos: str = "<s>", pad: str = "<pad>", eos: str = "</s>", unk: str = "<unk>"
    ) -> HuffmanCoder:
        """Read the counts that ``to_file`` wrote and make the same code of them."""
        return HuffmanCodeBuilder.from_file(filename).build_code(bos=bos, pad=pad, eos=eos, unk=unk)

    def to_file(self, filename: str, sep: str = "\t") -> None:
        """Write words and counts in order of the words' ids."""
        nodes = sorted(self.table.values(), key=lambda node: node.id)
        _write_counts(filename, ((str(node.symbol), node.count) for node in nodes), sep)

    def get_node(self, symbol: str) -> HuffmanNode:
        """A word's node; an unknown word is the unknown symbol."""
        return self.table.get(symbol) or self.table[self.unk_word]

    def get_code(self, symbol: str) -> Any:
        """A word's bits."""
        return self.get_node(symbol).code

    def encode(self, iter: Iterable[str]) -> bytes:
        """The words' codes, then a bit 1 and as many 0 as fill the byte. (So even a full last byte gets one more.)"""
        bits = _bitarray()
        bits.encode(self._codes, [word if word in self.table else self.unk_word for word in iter])
        bits.append(1)
        return bits.tobytes()

    def decode(self, bits: bytes) -> Iterator[HuffmanNode]:
        """The nodes of encoded words.

        Raises:
            ValueError: not something that ``encode`` gave.
        """
        for symbol in self._symbols(bits):
            yield self.table[symbol]

    def _symbols(self, encoded: bytes) -> Iterator[str]:
        if not encoded or not encoded[-1]:
            raise ValueError("Huffman-coded data must end in a bit 1 and zeros up to the next byte; it is damaged")
        num_zeros = (encoded[-1] & -encoded[-1]).bit_length() - 1
        content = _bitarray()
        content.frombytes(bytes(encoded))
        del content[len(content) - num_zeros - 1 :]
        if self._tree is None:
            from bitarray import decodetree

            self._tree = decodetree(self._codes)
        return iter(content.decode(self._tree))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tree": None}

    def merge(self, other_coder: HuffmanCoder) -> HuffmanCoder:
        """A code for the counts of both together."""
        builder = HuffmanCodeBuilder()
        for coder in (self, other_coder):
            for node in sorted(coder.table.values(), key=lambda node: node.id):
                builder.increment(str(node.symbol), node.count)
        return builder.build_code(bos=self.bos_word, pad=self.pad_word, eos=self.eos_word, unk=self.unk_word)

    def to_dictionary(self) -> Dictionary:
        """A dictionary with the words and their counts, finalized."""
        dictionary = Dictionary(bos=self.bos_word, pad=self.pad_word, eos=self.eos_word, unk=self.unk_word)
        for node in sorted(self.table.values(), key=lambda node: node.id):
            dictionary.add_symbol(str(node.symbol), n=node.count)
        dictionary.finalize()
        return dictionary

    def __eq__(self, other: object) -> bool:
        """Same words with the same codes."""
        return isinstance(other, HuffmanCoder) and self._codes == other._codes

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, sym: object) -> bool:
        return sym in self.table

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)
