"""The options of data of many languages."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from fairseq.data.multilingual.multilingual_utils import EncoderLangtok, LangTokSpec, LangTokStyle
from fairseq.utils import FileContentsAction, csv_str_list, eval_str_dict

__all__ = ["add_pair_options", "literal_dict"]


def literal_dict(value: Any) -> Any:
    """An option that holds a dictionary, as text or as one; ``None`` stays."""
    return eval_str_dict(value)


def add_pair_options(parser: ArgumentParser) -> None:
    """Add them to a parser."""
    add = parser.add_argument
    add(
        "data",
        action=FileContentsAction,
        help="folders of binarised data, separated by colons, or a file with them",
    )
    _add_languages(add)
    _add_sides(add)
    _add_language_tokens(add)
    _add_shares(add)


def _add_languages(add: Any) -> None:
    add(
        "--langs",
        type=csv_str_list,
        metavar="LANGS",
        help="all languages, in the order of their numbers",
    )
    add("--lang-dict", type=str, metavar="FILE", help="a file with one language per line, instead of --langs")
    add("--source-dict", type=str, metavar="FILE", help="dictionary of all sources")
    add("--target-dict", type=str, metavar="FILE", help="dictionary of all targets")
    add("--fixed-dictionary", type=str, metavar="FILE", help="dictionary of all languages")


def _add_sides(add: Any) -> None:
    add("--load-alignments", action="store_true", help="read word alignments too")
    add("--left-pad-source", type=str, default="True", metavar="BOOL", help="pad batches of sources in front")
    add("--left-pad-target", type=str, default="False", metavar="BOOL", help="pad batches of targets in front")
    add("--max-source-positions", type=int, default=1024, metavar="N", help="longest source, in tokens")
    add("--max-target-positions", type=int, default=1024, metavar="N", help="longest target, in tokens")
    add("--upsample-primary", type=int, default=1, help="repeat the first part of a combined split so many times")
    add("--truncate-source", action="store_true", default=False, help="cut sources to --max-source-positions")


def _add_language_tokens(add: Any) -> None:
    add(
        "--lang-tok-style",
        type=str,
        default=LangTokStyle.multilingual.value,
        choices=[style.value for style in LangTokStyle],
        help="how a language token is spelled: __de__ or [de]",
    )
    add(
        "--encoder-langtok",
        type=str,
        default=None,
        choices=[side.value for side in EncoderLangtok],
        help="begin sources with the token of this side's language",
    )
    add("--decoder-langtok", action="store_true", help="begin targets with the token of their language")
    add(
        "--lang-tok-replacing-bos-eos",
        action="store_true",
        default=False,
        help="put the tokens where sources end and decoder inputs begin instead",
    )
    add("--enable-lang-ids", default=False, action="store_true", help="put the numbers of the languages into batches")
    add(
        "--langtoks-specs",
        type=csv_str_list,
        default=LangTokSpec.main.value,
        metavar="SPECS",
        help="kinds of data that have language tokens of their own, separated by commas",
    )
    add(
        "--langtoks",
        type=lambda text: eval_str_dict(text),
        default=None,
        metavar="DICT",
        help="tokens of sources and targets by kind of data, as {'main': ('src', 'tgt'), ...}",
    )


def _add_shares(add: Any) -> None:
    add(
        "--enable-reservsed-directions-shared-datasets",
        default=False,
        action="store_true",
        help="open files once for both directions of a pair",
    )
    add(
        "--extra-data",
        type=lambda text: eval_str_dict(text),
        default=None,
        metavar="DICT",
        help="folders of further training data by kind, as {'mined': 'FOLDER', ...}",
    )
    add(
        "--extra-lang-pairs",
        type=lambda text: eval_str_dict(text),
        default=None,
        metavar="DICT",
        help="their pairs, as {'mined': 'de-en,fr-en', ...}",
    )
    add("--sampling-weights-from-file", type=str, default=None, metavar="FILE", help="JSON of weights by kind and pair")
    add(
        "--sampling-weights",
        type=lambda text: eval_str_dict(text),
        default=None,
        metavar="DICT",
        help="weights by kind and pair, as {'main:de-en': 0.7, ...}",
    )
    add("--virtual-epoch-size", type=int, default=None, metavar="N", help="samples per epoch")
    add("--virtual-data-size", type=int, default=None, metavar="N", help="samples drawn at a time")
