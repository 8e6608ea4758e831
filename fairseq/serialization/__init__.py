"""Reading, checking, upgrading and writing checkpoint files; knows no model and no task.

``errors``   what goes wrong with a file, as exceptions with one clear sentence each
``survey``   look into a pickle without running it: which names, which tensors, do they fit in the file
``standins`` inert replacements for what old files mention: NumPy scalars, OmegaConf nodes, enums
``read``     ``read_checkpoint``: ``torch.load(weights_only=True)`` with an allow-list that lives for one call
``upgrade``  a list of named steps that bring an old layout to the current one
``write``    ``write_checkpoint``: temporary file, fsync, rename
"""

from fairseq._lazy import attach

_EXPORTS = {
    "CheckpointError": "errors",
    "CheckpointWriteError": "errors",
    "CorruptCheckpointError": "errors",
    "UnsafeCheckpointError": "errors",
    "Survey": "survey",
    "survey_file": "survey",
    "read_checkpoint": "read",
    "upgrade_state": "upgrade",
    "copy_file": "write",
    "replacing": "write",
    "write_checkpoint": "write",
}

__all__ = [*_EXPORTS]

__getattr__, __dir__ = attach(__name__, _EXPORTS)
