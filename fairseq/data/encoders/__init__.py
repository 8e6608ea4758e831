"""Tokenisers and subword segmenters, by name: ``--tokenizer moses``, ``--bpe subword_nmt``.

Each module wraps one library, imported when an encoder is built.
"""

from __future__ import annotations

from fairseq import registry
from fairseq._lazy import attach

__all__ = [
    "BPE_REGISTRY",
    "TOKENIZER_REGISTRY",
    "build_bpe",
    "build_tokenizer",
    "register_bpe",
    "register_tokenizer",
    "registry",
]

_tokenizers = registry.setup_registry("--tokenizer", default=None)
_bpes = registry.setup_registry("--bpe", default=None)
if _tokenizers is None or _bpes is None:
    raise RuntimeError("the tokenizer and bpe registries were set up by somebody else before fairseq.data.encoders")
build_tokenizer, register_tokenizer, TOKENIZER_REGISTRY, _ = _tokenizers
build_bpe, register_bpe, BPE_REGISTRY, _ = _bpes

__getattr__, __dir__ = attach(__name__)
