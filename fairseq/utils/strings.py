"""Option values given as text, numbers for the log, and unknown-word replacement."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any

from fairseq.utils.literals import parse_literal
from fairseq.utils.unknown_words import positions_of, symbols_of, with_source_words

__all__ = [
    "FileContentsAction",
    "csv_str_list",
    "eval_bool",
    "eval_str_dict",
    "eval_str_list",
    "get_perplexity",
    "load_align_dict",
    "post_process_prediction",
    "replace_unk",
    "split_paths",
]

# What `--replace-unk` stores when it is given without a file.
NO_DICTIONARY = "@@ "


def split_paths(paths: str | os.PathLike[str], separator: str = os.pathsep) -> list[str]:
    """The parts of ``"dir1:dir2"``; with URLs among them (``://``) the separator is ``|``."""
    paths = os.fspath(paths)
    return paths.split("|" if "://" in paths else separator)


def csv_str_list(x: str) -> list[str]:
    """``"a,b"`` -> ``["a", "b"]``."""
    return x.split(",")


def eval_str_list(x: Any, type: Callable[[Any], Any] = float) -> list[Any] | None:
    """A list option: ``"[1, 2]"``, ``"1,2"``, ``"1"``, a list or a single value, each element passed to ``type``.

    Raises:
        ValueError: text that is no Python literal.
    """
    if x is None:
        return None
    values = parse_literal(x) if isinstance(x, str) else x
    return [type(value) for value in values] if _is_iterable(values) else [type(values)]


def _is_iterable(value: Any) -> bool:
    try:
        iter(value)
    except TypeError:
        return False
    return True


def eval_str_dict(x: Any, type: Callable[[Any], Any] = dict) -> Any:
    """A dict option as text or as a dict, passed to ``type``; ``None`` stays."""
    if x is None:
        return None
    return type(parse_literal(x)) if isinstance(x, str) else type(x)


def eval_bool(x: Any, default: bool = False) -> bool:
    """A boolean option as text (``"True"``, ``"0"``); ``None`` and what is no text give ``default``."""
    return bool(parse_literal(x)) if isinstance(x, str) else (bool(x) if isinstance(x, (bool, int)) else default)


class FileContentsAction(argparse.Action):
    """Store the contents of the named file; what is no file is stored as given."""

    def __init__(self, option_strings: Sequence[str], dest: str, nargs: Any = None, **kwargs: Any) -> None:
        if nargs is not None:
            raise ValueError("nargs not allowed")
        super().__init__(option_strings, dest, **kwargs)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from fairseq.file_io import PathManager, open_text

        contents = values
        if PathManager.isfile(values):
            with open_text(values) as file:
                contents = file.read().strip()
        setattr(namespace, self.dest, contents)


def get_perplexity(loss: Any, round: int = 2, base: float = 2) -> float:
    """``base ** loss``, rounded; 0.0 without a loss, infinity where a float cannot hold it."""
    from fairseq.logging.meters import safe_round

    if loss is None:
        return 0.0
    try:
        return safe_round(base**loss, round)
    except OverflowError:
        return float("inf")


def load_align_dict(replace_unk: str | None) -> dict[str, str] | None:
    """The dictionary of ``--replace-unk FILE``: lines ``SOURCE TARGET``.

    Returns:
        ``None`` when the option is absent, an empty dict (copy source words) when it is given without a file.

    Raises:
        ValueError: a line that is not two words.
    """
    if replace_unk is None:
        return None
    if not replace_unk or (replace_unk == NO_DICTIONARY and not os.path.exists(replace_unk)):
        return {}
    from fairseq.file_io import open_text

    pairs: dict[str, str] = {}
    with open_text(replace_unk) as file:
        for number, line in enumerate(file, start=1):
            words = line.split()
            if len(words) != 2:
                raise ValueError(f"{replace_unk}:{number}: expected SOURCE TARGET, got {line.strip()!r}")
            pairs[words[0]] = words[1]
    return pairs


def replace_unk(hypo_str: str, src_str: str, alignment: Any, align_dict: dict[str, str], unk: str) -> str:
    """Replace each ``unk`` word by the translation of its aligned source word, or by that word itself.

    Args:
        hypo_str, src_str: words separated by blanks.
        alignment: per target position the source position, end mark included (list or tensor); or what a generator
            gives as ``alignment``, hard pairs or soft rows. A word without an alignment stays.
        align_dict: source word -> target word.
        unk: the word to replace.
    """
    words = hypo_str.split()
    positions = positions_of(alignment, len(words))
    write = _translator(src_str, align_dict)

    def replaced(i: int, word: str) -> str:
        position = positions[i]
        return write(position) if word == unk and position is not None else word

    return " ".join(replaced(i, word) for i, word in enumerate(words))


def _translator(src_str: str, align_dict: dict[str, str]) -> Callable[[int], str]:
    """Source position -> what is written for it."""
    source = [*src_str.split(), "<eos>"]

    def write(position: int) -> str:
        word = source[min(position, len(source) - 1)]
        return align_dict.get(word, word)

    return write


def post_process_prediction(
    hypo_tokens: Any,
    src_str: str,
    alignment: Any,
    align_dict: dict[str, str] | None,
    tgt_dict: Any,
    remove_bpe: str | None = None,
    extra_symbols_to_ignore: Any = None,
    source: Callable[[int], str] | None = None,
) -> tuple[Any, str, Any]:
    """Turn generated tokens into text.

    Args:
        alignment: as for ``replace_unk``, counting tokens.
        source: what is written for an unknown token that is aligned to a source position; default the word of
            ``src_str`` at that position, or its entry in ``align_dict``.

    Returns:
        ``(tokens, text, alignment)``. The tokens are those of the final text when unknown words were replaced or
        subwords joined; words that are new to ``tgt_dict`` are added to it, so that scoring sees them.
    """
    ids = hypo_tokens.tolist() if hasattr(hypo_tokens, "tolist") else [int(i) for i in hypo_tokens]
    if align_dict is not None and alignment is not None and tgt_dict.unk() in ids:
        from fairseq.data.data_utils import post_process

        # Before subwords are joined: afterwards words and alignments no longer count the same.
        write = _translator(src_str, align_dict) if source is None else source
        left_out = symbols_of(tgt_dict, extra_symbols_to_ignore)
        text = with_source_words(ids, positions_of(alignment, len(ids)), write, tgt_dict, left_out)
        text = post_process(text, remove_bpe)
    else:
        text = tgt_dict.string(hypo_tokens, remove_bpe, extra_symbols_to_ignore=extra_symbols_to_ignore)
    if align_dict is not None or remove_bpe is not None:
        hypo_tokens = tgt_dict.encode_line(text, add_if_not_exist=True)
    return hypo_tokens, text, alignment
