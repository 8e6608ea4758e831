"""A training run from its config to its last checkpoint.

``run``         what ``fairseq-train`` does after the options are read
``loop``        one epoch; validating, saving and stopping between updates
``schedule``    when to validate, save and stop, as a pure function
``validation``  the loss on held-out data
``early_stop``  ``--patience``
``profiling``   ``--profile``: a trace of some updates
``compiling``   what ``--compile`` gives to torch.compile
``preemption``  SIGTERM and SIGUSR1: save and leave
"""

from fairseq._lazy import attach

_EXPORTS = {
    "main": "run",
    "train": "loop",
    "validate_and_save": "loop",
    "get_training_stats": "loop",
    "validate": "validation",
    "get_valid_stats": "validation",
    "should_stop_early": "early_stop",
}

__all__ = [*_EXPORTS]

__getattr__, __dir__ = attach(__name__, _EXPORTS)
