"""Tokens that name a language, and a dictionary that has them."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Optional

from fairseq.data.dictionary import Dictionary

__all__ = ["EncoderLangtok", "LangTokSpec", "LangTokStyle", "augment_dictionary", "get_lang_tok"]


def _names(kind: str, *members: str) -> Any:
    """An enumeration whose values are its members' names."""
    return Enum(kind, {member: member for member in members}, module=__name__)


# Which language the token in front of the source names.
EncoderLangtok = _names("EncoderLangtok", "src", "tgt")
# Kinds of data that have language tokens of their own.
LangTokSpec = _names("LangTokSpec", "main", "mono_dae")
# How language tokens are spelled: ``__de__`` or, as in mBART, ``[de]``.
LangTokStyle = _names("LangTokStyle", "multilingual", "mbart")

_SPELLING = {LangTokStyle.multilingual.value: "__{}__", LangTokStyle.mbart.value: "[{}]"}


def get_lang_tok(lang: str, lang_tok_style: str, spec: str = LangTokSpec.main.value) -> str:
    """The token of a language.

    Args:
        lang: its code.
        lang_tok_style: a value of :class:`LangTokStyle`.
        spec: the kind of data; kinds that end in ``dae`` (denoising) or ``mined`` have marked tokens.

    Raises:
        KeyError: unknown style.
    """
    mark = next((kind for kind in ("dae", "mined") if spec.endswith(kind)), None)
    return _SPELLING[lang_tok_style].format(f"{lang}_{mark}" if mark else lang)


def augment_dictionary(
    dictionary: Dictionary,
    language_list: Sequence[str],
    lang_tok_style: str,
    langtoks_specs: Iterable[str] = (LangTokSpec.main.value,),
    extra_data: Optional[dict[str, Any]] = None,
) -> None:
    """Add the languages' tokens to a dictionary, and ``<mask>`` where data is denoised.

    Args:
        dictionary: is changed.
        language_list: codes, in the order of the tokens.
        lang_tok_style: a value of :class:`LangTokStyle`.
        langtoks_specs: kinds of data to have tokens for, see :class:`LangTokSpec`.
        extra_data: further data by kind.
    """
    for spec in langtoks_specs:
        for language in language_list:
            dictionary.add_symbol(get_lang_tok(language, lang_tok_style, spec))
    if lang_tok_style == LangTokStyle.mbart.value or LangTokSpec.mono_dae.value in (extra_data or {}):
        dictionary.add_symbol("<mask>")
