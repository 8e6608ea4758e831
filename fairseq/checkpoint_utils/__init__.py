"""Checkpoints: find, load, build models from, save, thin out.

``load``      a file -> the state dictionary in today's layout, with overrides applied
``ensemble``  files -> models, config and task
``restore``   continue training from a file
``save``      which files a save writes, and which old ones go
``names``     file names, numbered ones in order, shards
``prune``     fewer layers than were saved; one component of a model
``describe`` ``average`` ``safetensors_format``   for the fairseq-checkpoint tool
``ema``       averaged weights kept in a checkpoint
``background`` writing without waiting

Reading and writing themselves are in ``fairseq.serialization``.
"""

from fairseq._lazy import attach

_EXPORTS = {
    "add_safe_globals": "fairseq.serialization.allowed",
    "checkpoint_paths": "names",
    "fetch_from_hf_hub": "ensemble",
    "get_maybe_sharded_checkpoint_filename": "names",
    "load_checkpoint": "restore",
    "load_checkpoint_to_cpu": "load",
    "load_ema_from_checkpoint": "ema",
    "load_model_ensemble": "ensemble",
    "load_model_ensemble_and_task": "ensemble",
    "load_model_ensemble_and_task_from_hf_hub": "ensemble",
    "load_pretrained_component_from_model": "prune",
    "prune_state_dict": "prune",
    "save_checkpoint": "save",
    "save_ema_as_checkpoint": "ema",
    "torch_persistent_save": "save",
    "_torch_persistent_save": "save",
    "verify_checkpoint_directory": "save",
    # Names that code written for upstream imports from here.
    "CheckpointConfig": "fairseq.dataclass.configs",
    "FairseqDecoder": "fairseq.models.fairseq_decoder",
    "FairseqEncoder": "fairseq.models.fairseq_encoder",
    "PathManager": "fairseq.file_io",
    "convert_namespace_to_omegaconf": "fairseq.dataclass.utils",
    "overwrite_args_by_name": "fairseq.dataclass.utils",
}

__all__ = [name for name in _EXPORTS if not name.startswith("_")]

__getattr__, __dir__ = attach(__name__, _EXPORTS)
