"""Byte-level byte-pair encoding as GPT-2 does it (Radford et al. 2019, sec. 2.2), from its two published files.

Text is cut into words, each with the space before it; the bytes of a word are written as printable characters; the pair
of neighbours that was learnt first is joined everywhere, until no pair is left that was learnt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from fairseq.data.encoders._files import needed_package

__all__ = ["Encoder", "bytes_to_unicode", "get_encoder", "get_pairs"]

# English clitics; runs of letters, digits or other signs with a space before them; white space, of which the last one
# is left to the word that follows.
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
MAX_CACHED_WORDS = 1 << 18


def bytes_to_unicode() -> dict[int, str]:
    """A printable character for each byte: itself if it is one (and no space), else the next one from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    table.update({byte: chr(256 + rank) for rank, byte in enumerate(others)})
    return table


def get_pairs(word: Sequence[str]) -> set[tuple[str, str]]:
    """All pairs of neighbours."""
    return set(pairwise(word))


class Encoder:
    """From text to numbers and back.

    Args:
        encoder: number of each piece.
        bpe_merges: pairs of pieces in the order in which they were learnt.
        errors: what to do with bytes that are not UTF-8 when decoding, as for ``bytes.decode``.
    """

    def __init__(self, encoder: dict[str, int], bpe_merges: Iterable[tuple[str, ...]], errors: str = "replace") -> None:
        self.encoder = encoder
        self.decoder = {number: piece for piece, number in encoder.items()}
        self.errors = errors
        self.byte_encoder = bytes_to_unicode()
        self.byte_decoder = {char: byte for byte, char in self.byte_encoder.items()}
        self.bpe_ranks: dict[tuple[str, ...], int] = {pair: rank for rank, pair in enumerate(bpe_merges)}
        self.cache: dict[str, str] = {}
        self.re: Any = needed_package("regex")
        self.pat = self.re.compile(WORDS)

    def bpe(self, token: str) -> str:
        """The pieces of a word (written as byte characters), separated by spaces."""
        known = self.cache.get(token)
        if known is not None:
            return known
        pieces = list(token)
        never = len(self.bpe_ranks)
        while len(pieces) > 1:
            ranks = [self.bpe_ranks.get(pair, never) for pair in pairwise(pieces)]
            rank = min(ranks)
            if rank == never:
                break
            pieces = self._join(pieces, ranks, rank)
        if len(self.cache) >= MAX_CACHED_WORDS:
            self.cache.clear()
        self.cache[token] = " ".join(pieces)
        return self.cache[token]

    @staticmethod
    def _join(pieces: list[str], ranks: list[int], rank: int) -> list[str]:
        """Join every pair of the given rank, from the left; ``ranks[i]`` is that of pieces ``i`` and ``i + 1``."""
        joined, i = [], 0
        while i < len(pieces):
            width = 2 if i < len(ranks) and ranks[i] == rank else 1
            joined.append("".join(pieces[i : i + width]))
            i += width
        return joined

    def encode(self, text: str) -> list[int]:
        """The numbers of a text's pieces."""
        numbers: list[int] = []
        for word in self.pat.findall(text):
            characters = "".join(self.byte_encoder[byte] for byte in word.encode("utf-8"))
            numbers.extend(self.encoder[piece] for piece in self.bpe(characters).split(" "))
        return numbers

    def decode(self, tokens: Iterable[int | str]) -> str:
        """The text of numbers; what is not a known number stands for itself."""
        pieces: dict[Any, str] = self.decoder
        characters = "".join(str(pieces.get(token, token)) for token in tokens)
        parts = bytearray()
        for char in characters:
            byte = self.byte_decoder.get(char)
            parts += char.encode("utf-8") if byte is None else bytes([byte])
        return parts.decode("utf-8", errors=self.errors)


def get_encoder(encoder_json_path: str, vocab_bpe_path: str) -> Encoder:
    """Read the two files.

    Args:
        encoder_json_path: a JSON object from piece to number.
        vocab_bpe_path: a line with the version, then two pieces per line.

    Raises:
        ValueError: a file is something else.
    """
    with open(encoder_json_path, encoding="utf-8") as file:
        try:
            encoder = json.load(file)
        except ValueError as error:
            raise ValueError(f"{encoder_json_path} is not a JSON file: {error}") from None
    if not isinstance(encoder, dict) or not all(type(number) is int for number in encoder.values()):
        raise ValueError(f"{encoder_json_path}: an object of pieces and their numbers is expected")
    with open(vocab_bpe_path, encoding="utf-8") as file:
        lines = file.read().split("\n")[1:]
    merges = [tuple(line.split()) for line in lines if line]
    wrong = next((number for number, pair in enumerate(merges, start=2) if len(pair) != 2), None)
    if wrong is not None:
        raise ValueError(f"{vocab_bpe_path}, line {wrong}: expected two pieces, got {' '.join(merges[wrong - 2])!r}")
    return Encoder(encoder=encoder, bpe_merges=merges)
