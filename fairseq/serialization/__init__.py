"""Reading, checking, upgrading and writing checkpoint files; knows no model and no task.

``errors``   what goes wrong with a file, as exceptions with one clear sentence each
``inert``    interpret a pickle without running it: names, tensors, and what no checkpoint needs
``survey``   look into a file that way: do its tensors fit in it, is it finite
``trees``    depth and size of nested containers that may hold themselves
``checks``   is it shaped like a checkpoint; do its options ask for more than being read
``mapped``   tensors that still lie in the file: copy them out and let go of its pages
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
    "UnsafeOptionError": "errors",
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
