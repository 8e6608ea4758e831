"""Names of older releases that plugins still import: module -> name -> where it lives today.

A package adds its row to its lazy exports, a plain module has a ``__getattr__``::

    __getattr__, __dir__ = attach(__name__, {**_EXPORTS, **names_of(__name__)})
    __getattr__ = old_names(__name__)
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["OLD_NAMES", "names_of", "old_names"]

OLD_NAMES: dict[str, dict[str, str]] = {
    # Up to 0.10 the reader of one worker's part of a file. Forks of MASS and ProphetNet call it.
    "fairseq.binarizer": {"safe_readline": "fairseq.compat.lines"},
    # Up to 0.8; since then in fairseq.data.legacy.
    "fairseq.data": {
        "BertDictionary": "fairseq.data.legacy.masked_lm_dictionary",
        "BlockPairDataset": "fairseq.data.legacy.block_pair_dataset",
        "MaskedLMDataset": "fairseq.data.legacy.masked_lm_dataset",
        "MaskedLMDictionary": "fairseq.data.legacy.masked_lm_dictionary",
    },
    # Up to 0.9; the extensions of ProphetNet and GLAT call it.
    "fairseq.data.data_utils": {"process_bpe_symbol": "fairseq.compat.lines"},
    # Up to 0.10 the transformer was one module, and what it imported could be imported from there.
    "fairseq.models.transformer": {
        "AdaptiveSoftmax": "fairseq.modules.adaptive_softmax",
        "BaseLayer": "fairseq.modules.base_layer",
        "EncoderOut": "fairseq.models.fairseq_encoder",
        "FairseqDropout": "fairseq.modules.fairseq_dropout",
        "FairseqEncoder": "fairseq.models.fairseq_encoder",
        "FairseqEncoderDecoderModel": "fairseq.models.fairseq_model",
        "FairseqIncrementalDecoder": "fairseq.models.fairseq_incremental_decoder",
        "LayerDropModuleList": "fairseq.modules.layer_drop",
        "LayerNorm": "fairseq.modules.layer_norm",
        "MultiheadAttention": "fairseq.modules.multihead_attention",
        "PositionalEmbedding": "fairseq.modules.positional_embedding",
        "SinusoidalPositionalEmbedding": "fairseq.modules.sinusoidal_positional_embedding",
        "TransformerDecoderLayer": "fairseq.modules.transformer_layer",
        "TransformerEncoderLayer": "fairseq.modules.transformer_layer",
    },
}


def names_of(package: str) -> dict[str, str]:
    """The old names of a package: name -> module, as ``fairseq._lazy.attach`` takes them."""
    return OLD_NAMES.get(package, {})


def old_names(module: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that is no package: it finds the old names and keeps what it found."""
    table = names_of(module)

    def __getattr__(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(table[name]), name)
        setattr(sys.modules[module], name, value)
        return value

    return __getattr__
