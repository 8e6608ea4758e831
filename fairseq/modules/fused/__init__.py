"""Fast paths of the modules: the same numbers with fewer passes over memory. Plain twins are in the modules themselves.

``FAIRSEQ_FAST_PATHS=0`` turns all of them off. Each asks ``fairseq.utils.overrides`` first, so overridden methods and
hooks run. Which one applies when, and what it gains, is in the table of ``docs/architecture.md``.

``layers``       a whole encoder or decoder layer, of the blocks below
``attention``    attention, dropout, sum and norm as one operation (training, CPU, float32, post-norm)
``feed_forward`` two linear maps with ReLU, also with dropout, sum and norm (training, CPU, float32)
``dropout_add``  dropout and sum, also with the norm after them; one bit is kept for each dropped element (CPU)
``layer_norm``   a norm that keeps its output, not its input, for the backward pass (training, CPU, float32)
``layout``       batch-first memory behind time-first tensors: no copies before linear maps
"""

from fairseq._lazy import attach

_EXPORTS = {
    "decoder_layer": "layers",
    "encoder_layer": "layers",
    "take_batch_first": "layers",
}

__all__ = ["decoder_layer", "encoder_layer", "take_batch_first"]

__getattr__, __dir__ = attach(__name__, _EXPORTS)
