"""Tokenizers (``--tokenizer``) and subword encoders (``--bpe``): ``encode(text)``, and the way back, ``decode(text)``.

Most need a package, which is imported when the encoder is built. Plugins add theirs with ``register_tokenizer`` and
``register_bpe``; a class needs the two methods, and ``is_beginning_of_word(token)`` if whole words shall be masked.

``pipeline``   both, one after the other, as a tokenizer for preprocessing
``utils``      which dictionary entries begin a word
"""

from typing import Any

from fairseq import registry
from fairseq._lazy import attach

__all__ = [
    "BPE_REGISTRY",
    "TOKENIZER_REGISTRY",
    "build_bpe",
    "build_tokenizer",
    "register_bpe",
    "register_tokenizer",
]


def _set_up(option: str) -> Any:
    made = registry.setup_registry(option)
    if made is None:
        raise RuntimeError(f"the registry of {option} was set up elsewhere; fairseq.data.encoders owns it")
    return made


build_tokenizer, register_tokenizer, TOKENIZER_REGISTRY, TOKENIZER_DATACLASS_REGISTRY = _set_up("--tokenizer")
build_bpe, register_bpe, BPE_REGISTRY, BPE_DATACLASS_REGISTRY = _set_up("--bpe")

__getattr__, __dir__ = attach(__name__)
