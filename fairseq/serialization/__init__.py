"""Reading, checking, upgrading and writing checkpoint files; knows no model and no task.

``errors``   what goes wrong with a file, as exceptions with one clear sentence each
``source``   one open file, from which all else is read; copies and maps tensor data
``archive``  the zip layout, read strictly: one file has one meaning, or none
``pickle_inspector`` interpret a pickle without running it: names, tensors, and what no checkpoint needs
``survey``   look into a file that way: do its tensors fit in it, is it finite
``keys``     keys of dictionaries that could share a hash
``strict_json`` JSON without repeated names, endless numbers or nesting
``trees``    depth and size of nested containers that may hold themselves
``checks``   is it shaped like a checkpoint; do its options ask for more than being read
``mapped``   tensors that still lie in the file: copy them out and let go of its pages
``placeholders`` inert replacements for what old files mention: NumPy scalars, OmegaConf nodes, enums
``rebuild``  the surveyed bytes through torch's restricted unpickler
``allowed``  the names that a checkpoint may mention
``read``     ``read_checkpoint``: survey, then rebuild with an allow-list that lives for one call
``upgrade``  a list of named steps that bring an old layout to the current one
``upgrade_steps`` those steps, one per age of upstream's layout
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
    "remove_stale": "write",
    "replacing": "write",
    "write_checkpoint": "write",
}

__all__ = [*_EXPORTS]

__getattr__, __dir__ = attach(__name__, _EXPORTS)
