"""Models from checkpoint files."""

from __future__ import annotations

import copy
import inspect
import logging
import os
from typing import TYPE_CHECKING, Any

from fairseq import checkpoint_utils
from fairseq.checkpoint_utils.model_loading import SkipInit, fill, naming_file
from fairseq.checkpoint_utils.names import get_maybe_sharded_checkpoint_filename
from fairseq.checkpoint_utils.shards import files_of, join
from fairseq.file_io import PathManager
from fairseq.serialization.errors import CheckpointError
from fairseq.serialization.mapped import MappedTensors
from fairseq.utils.embeddings import weights_follow

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "fetch_from_hf_hub",
    "load_model_ensemble",
    "load_model_ensemble_and_task",
    "load_model_ensemble_and_task_from_hf_hub",
]

logger = logging.getLogger("fairseq.checkpoint_utils")


def load_model_ensemble(
    filenames: list[str],
    arg_overrides: dict[str, Any] | None = None,
    task: Any = None,
    strict: bool = True,
    suffix: str = "",
    num_shards: int = 1,
    state: dict[str, Any] | None = None,
) -> tuple[list[nn.Module], Any]:
    """Models and the config of the last of them; arguments as for ``load_model_ensemble_and_task``."""
    _refuse_strict_shards(strict, num_shards)
    models, cfg, _ = load_model_ensemble_and_task(filenames, arg_overrides, task, strict, suffix, num_shards, state)
    return models, cfg


def _refuse_strict_shards(strict: bool, num_shards: int) -> None:
    if strict and num_shards > 1:
        raise AssertionError("Cannot load state dict with strict=True and checkpoint shards > 1")


def load_model_ensemble_and_task(
    filenames: list[str],
    arg_overrides: dict[str, Any] | None = None,
    task: Any = None,
    strict: bool = True,
    suffix: str = "",
    num_shards: int = 1,
    state: dict[str, Any] | None = None,
) -> tuple[list[nn.Module], Any, Any]:
    """Build the models of several checkpoints, and the task of the first.

    Args:
        filenames: a list of files.
        arg_overrides: option name -> value; replaces what the checkpoints say.
        task: use this task instead of the one the first checkpoint describes.
        strict: every parameter must be in the file, and nothing else.
        suffix: goes before ``.pt`` in every name.
        num_shards: number of files that one model is split into; needs ``strict=False``.
        state: a loaded state of the first file, which is then not read again.

    Returns:
        ``(models, cfg, task)``: models on the CPU, in training mode; ``cfg`` belongs to the last file.

    Raises:
        OSError: ``Model file not found: NAME``.
        RuntimeError: a file describes no model.
    """
    from fairseq import tasks

    _refuse_strict_shards(strict, num_shards)
    models: list[nn.Module] = []
    cfg: Any = None
    for filename in filenames:
        model: Any = None
        for files in _files_of(filename, suffix, num_shards):
            name = files[0]
            mapped = None
            if state is None:
                state = checkpoint_utils.load_checkpoint_to_cpu(name, arg_overrides, mmap=True)
                mapped = MappedTensors(state.get("model"), PathManager.get_local_path(name))
            with naming_file(name):
                cfg = _config_of(state, name)
                if task is None:
                    task = tasks.setup_task(cfg.task, from_checkpoint=True)
                if "task_state" in state:
                    task.load_state_dict(state["task_state"])
                if len(files) > 1:
                    model = _model_from_rows(task, cfg, state, files, strict)
                elif model is None:
                    model = _model_for(task, cfg, state, name, mapped, strict)
                else:
                    fill(model, state["model"], mapped, strict=strict, model_cfg=cfg.model)
            state = mapped = None  # free it before the next file is read
        models.append(model)
    return models, cfg, task


def _model_for(
    task: Any, cfg: Any, state: dict[str, Any], name: str, mapped: MappedTensors | None, strict: bool
) -> nn.Module:
    """Build the model that a state describes, and fill it."""
    weights = state["model"]
    history = state.get("optimizer_history") or [{}]

    def build(mode: SkipInit) -> Any:
        with mode:
            model = _build_model(task, cfg, weights)
        if history[-1].get("num_updates") is not None:
            model.set_num_updates(history[-1]["num_updates"])
        # A copy: models rename entries in place, and this may be done twice. Its metadata goes with it.
        fill(model, copy.copy(weights), mapped, strict=strict, model_cfg=cfg.model)
        return model

    # Weights that are not all in the file must be drawn, and so must those a model leaves as they are when it loads.
    limits = weights if strict else None  # a shard says little about the whole
    mode = SkipInit(limits, name, skip=strict)
    model = build(mode)
    return build(SkipInit(limits, name, skip=False)) if mode.unfilled(model) else model


def _model_from_rows(task: Any, cfg: Any, state: dict[str, Any], files: list[str], strict: bool) -> nn.Module:
    """Build a model whose parameters are spread over files, each with some rows of all of them, and fill it."""
    with weights_follow():
        model = _build_model(task, cfg, {})
    history = state.get("optimizer_history") or [{}]
    if history[-1].get("num_updates") is not None:
        model.set_num_updates(history[-1]["num_updates"])
    others = [checkpoint_utils.load_checkpoint_to_cpu(name, mmap=True) for name in files[1:]]
    whole = join([state, *others], files, {key: value.shape for key, value in model.state_dict().items()})
    model.load_state_dict(whole["model"], strict=strict, model_cfg=cfg.model)
    return model


def _files_of(filename: str, suffix: str, num_shards: int) -> list[list[str]]:
    """The files of one model, grouped: files of a group hold rows of the same tensors, groups hold different tensors.

    Raises:
        OSError: ``Model file not found: NAME``.
    """
    # Rows of parameters (--use-sharded-state) are named so; parts with other tensors are called _part0, _part1, ...
    rows = files_of(filename.replace(".pt", f"{suffix}.pt") if suffix else filename)
    if len(rows) > 1:
        return [rows]
    names = [get_maybe_sharded_checkpoint_filename(filename, suffix, k, num_shards) for k in range(num_shards)]
    for name in names:
        if not PathManager.exists(name):
            raise OSError(f"Model file not found: {name}")
    return [[name] for name in names]


def _config_of(state: dict[str, Any], name: str) -> Any:
    if state.get("args") is not None and state.get("cfg") is None:
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        return convert_namespace_to_omegaconf(state["args"])
    if "model" not in state:
        raise CheckpointError(f"{name} holds no model (keys: {', '.join(sorted(map(str, state)))[:300]})")
    if state.get("cfg") is None:
        raise RuntimeError(
            f"Neither args nor cfg exist in state keys = {sorted(map(str, state))} of {name}: it holds weights, but "
            "not what model they belong to"
        )
    return state["cfg"]


def _build_model(task: Any, cfg: Any, weights: dict[str, Any]) -> Any:
    """The model of a config, with the product-quantised layers that ``weights`` has, if any."""
    # Tasks written before 0.12.3 do not know the argument.
    if "from_checkpoint" in inspect.signature(task.build_model).parameters:
        model = task.build_model(cfg.model, from_checkpoint=True)
    else:
        model = task.build_model(cfg.model)
    if any(name.endswith(".centroids") for name in weights):
        from fairseq.modules.quantization import pq

        pq.quantize_like_(model, weights)
    return model


def fetch_from_hf_hub(model_id: str, cache_dir: str | None = None) -> str:
    """Download a model repository from the Hugging Face hub, or find it in the cache.

    Args:
        model_id: ``owner/name``.
        cache_dir: where downloads are kept; ``~/.cache/fairseq`` by default.

    Returns:
        The folder with its files.

    Raises:
        ImportError: the package huggingface_hub is missing.
        OSError: there is no such repository, or no connection and nothing in the cache.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(
            f"{model_id}: loading from the Hugging Face hub needs huggingface_hub: pip install 'fairseq[hub]'"
        ) from error
    if cache_dir is None:
        cache_dir = os.path.join(os.path.expanduser("~"), ".cache", "fairseq")
    try:
        return snapshot_download(model_id, cache_dir=cache_dir, library_name="fairseq")
    except Exception as error:
        # The package's errors come from several libraries; all of them mean that the files are not there.
        reason = " ".join(str(error).split())
        raise OSError(f"{model_id} cannot be fetched from the Hugging Face hub: {reason[:300]}") from error


def load_model_ensemble_and_task_from_hf_hub(
    model_id: str, cache_dir: str | None = None, arg_overrides: dict[str, Any] | None = None, **kwargs: Any
) -> tuple[list[nn.Module], Any, Any]:
    """Download a model repository from the Hugging Face hub and load all its ``*.pt`` files as an ensemble.

    Args:
        model_id, cache_dir: as for ``fetch_from_hf_hub``.
        arg_overrides, kwargs: as for ``load_model_ensemble_and_task``; the data folder is the downloaded one.

    Raises:
        ImportError: the package huggingface_hub is missing.
        OSError: it cannot be fetched, or holds no ``.pt`` file.
    """
    folder = fetch_from_hf_hub(model_id, cache_dir)
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".pt"))
    if not files:
        raise FileNotFoundError(f"{model_id} on the Hugging Face hub holds no .pt file")
    return load_model_ensemble_and_task(files, arg_overrides={**(arg_overrides or {}), "data": folder}, **kwargs)
