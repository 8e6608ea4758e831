"""Turn a model into one that trains with rounded weights."""

import logging
from typing import Any, Dict, List, Type

from torch import nn

from fairseq.modules.quantization.pq.utils import attrsetter, get_layers
from fairseq.modules.quantization.scalar.modules import ActivationQuantizer, IntConv2d, IntEmbedding, IntLinear

__all__ = ["MAPPING", "quantize_model_"]

logger = logging.getLogger(__name__)

MAPPING: Dict[Type[nn.Module], Any] = {nn.Linear: IntLinear, nn.Embedding: IntEmbedding, nn.Conv2d: IntConv2d}


def quantize_model_(
    model: nn.Module,
    p: float = 0.2,
    bits: int = 8,
    update_step: int = 3000,
    method: str = "histogram",
    remove_weights: bool = False,
) -> List[str]:
    """Replace linear maps, embeddings and 2-d convolutions by rounding ones, in place; parameters stay what they are.

    Args:
        p: share of each weight that is rounded in training.
        bits, update_step, method: see ``IntLinear``.
        remove_weights: leave layers out whose name holds ``weight``.

    Returns:
        Names of the layers replaced. Their outputs are rounded too, in evaluation.
    """
    names = get_layers(model, "(.*?)", remove_weights=remove_weights)
    replaced = []
    modules = dict(model.named_modules())
    for name in names:
        module = modules[name]
        kind = MAPPING.get(type(module))
        if kind is None:
            logger.info("%s is a %s, which has no integer version; it stays as it is", name, type(module).__name__)
            continue
        integer = kind.__new__(kind)
        integer.__dict__.update(module.__dict__)
        integer.__dict__.update(
            p=p, update_step=update_step, bits=bits, method=method, counter=0, scale=None, zero_point=None
        )
        attrsetter(name)(model, integer)
        ActivationQuantizer(integer, p=0, bits=bits, method=method)
        replaced.append(name)
    return replaced
