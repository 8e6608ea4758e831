"""Entry points of ``torch.hub``: published models by name, and the text encoders ``bpe`` and ``tokenizer``.

torch.hub.load("path/to/repository", "transformer.wmt19.en-de", source="local")
"""

import functools

from fairseq.hub_utils import BPEHubInterface as bpe
from fairseq.hub_utils import TokenizerHubInterface as tokenizer
from fairseq.models import MODEL_REGISTRY

dependencies = ["hydra", "numpy", "omegaconf", "regex", "torch"]

__all__ = ["bpe", "dependencies", "tokenizer"]


def _published() -> dict:
    """Every published name -> a loader; models whose optional packages are missing publish nothing here."""
    loaders = {}
    for name in MODEL_REGISTRY:
        try:
            model = MODEL_REGISTRY[name]
        except ImportError:
            continue
        for entry in model.hub_models() or {}:
            loaders[entry] = functools.partial(model.from_pretrained, entry)
    return loaders


globals().update(_published())
