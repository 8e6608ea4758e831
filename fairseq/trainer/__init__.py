"""Train one model on one task.

``core``       Trainer: the public object, delegates to the rest
``precision``  what runs in which dtype, and which optimizer wrapper goes with it
``step``       accumulate, reduce, normalise, clip, check, update: one optimizer step
``stats``      logging outputs -> metrics, across workers
``batches``    iterators, dummy batches for idle workers, moving to the device
``state``      the checkpoint dictionary; restoring it, with resets
``guard``      out of memory, non-finite numbers, workers that disagree
"""

from fairseq.trainer.core import Trainer

__all__ = ["Trainer"]
