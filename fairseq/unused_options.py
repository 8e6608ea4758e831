"""Options that a run reads but cannot follow: each that was set is named in a warning, with the reason.

Old scripts carry them along, so they are no errors; that nothing comes of them must still be said.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import torch

__all__ = ["idle_in_training", "idle_in_validation", "warn_about"]

logger = logging.getLogger("fairseq_cli.train")

_SLOWMO = "only --ddp-backend slowmo reads it, which is not offered"
_PIPELINE = "only --pipeline-model-parallel reads it, which is not offered"
_GENERATION = "generation reads it, training does not"

# (section, option) -> why nothing comes of it.
_NEVER = {
    ("distributed_training", "fast_stat_sync"): "criteria say themselves whether their numbers can be added up",
    **{
        ("distributed_training", name): _SLOWMO
        for name in ("slowmo_momentum", "slowmo_base_algorithm", "localsgd_frequency", "nprocs_per_node")
    },
    **{
        ("distributed_training", f"pipeline_{name}"): _PIPELINE
        for name in (
            *("balance", "devices", "chunks", "checkpoint", "encoder_balance", "encoder_devices"),
            *("decoder_balance", "decoder_devices"),
        )
    },
}
_TRAINING = {("dataset", name): _GENERATION for name in ("gen_subset", "num_shards", "shard_id")}
_NEED_VALIDATION = ("patience", "keep_best_checkpoints", "best_checkpoint_metric")
_BY_BACKEND = {
    "fully_sharded": ("cpu_offload", "fp32_reduce_scatter", "no_reshard_after_forward", "use_sharded_state"),
    "pytorch_ddp": ("ddp_comm_hook", "find_unused_parameters", "gradient_as_bucket_view", "broadcast_buffers"),
}
_VALIDATION = {
    **{
        ("dataset", name): "it belongs to training"
        for name in (
            *("train_subset", "validate_interval", "validate_interval_updates", "validate_after_updates"),
            *("disable_validation", "curriculum", "grouped_shuffling", "update_ordered_indices_seed"),
        )
    },
    ("dataset", "gen_subset"): "--valid-subset names what is validated on",
    ("dataset", "ignore_unused_valid_subsets"): "only the subsets that --valid-subset names are looked at",
    ("common_eval", "post_process"): "losses are computed from the tokens as they are",
    ("common", "profile"): "it belongs to training",
    ("common", "quantization_config_path"): "it belongs to training",
}


def idle_in_training(cfg: Any) -> list[str]:
    """One sentence for each option that was set and has no effect on training."""
    found = _set_among(cfg, {**_NEVER, **_TRAINING})
    section = cfg.distributed_training
    backend = {"c10d": "pytorch_ddp", "no_c10d": "legacy_ddp"}.get(str(section.ddp_backend), str(section.ddp_backend))
    for owner, names in _BY_BACKEND.items():
        if backend != owner:
            reasons = {("distributed_training", name): f"only --ddp-backend {owner} reads it" for name in names}
            found.extend(_set_among(cfg, reasons))
    if getattr(getattr(cfg, "dataset", None), "disable_validation", False):
        reasons = {("checkpoint", name): "--disable-validation is given" for name in _NEED_VALIDATION}
        found.extend(_set_among(cfg, reasons))
    if cfg.common.amp and (cfg.common.cpu or not torch.cuda.is_available()):
        found.append("--amp computes in float32 on the CPU: autocast is for the GPU; --bf16 is half precision for both")
    return found


def idle_in_validation(cfg: Any) -> list[str]:
    """As ``idle_in_training``, for fairseq-validate."""
    return _set_among(cfg, {**_NEVER, **_VALIDATION})


def _set_among(cfg: Any, reasons: dict[tuple[str, str], str]) -> list[str]:
    from fairseq.dataclass.configs import FairseqConfig
    from fairseq.dataclass.fields import default_of

    sections = {field.name: field.type for field in dataclasses.fields(FairseqConfig)}
    found = []
    for (section, name), reason in reasons.items():
        value = getattr(getattr(cfg, section, None), name, None)
        default = default_of(sections[section].__dataclass_fields__[name])  # type: ignore[union-attr]
        if value is not None and str(value) != str(default):
            found.append(f"--{name.replace('_', '-')} has no effect: {reason}")
    return found


def warn_about(sentences: list[str]) -> None:
    """Log each as a warning."""
    for sentence in sentences:
        logger.warning("%s", sentence)
