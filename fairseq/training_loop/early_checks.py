"""What would fail or be ignored after hours, found before the first update."""

from __future__ import annotations

import logging
import os
import uuid
from typing import Any

import torch

from fairseq.compat.suggest import near
from fairseq.data.data_utils import numpy_seed
from fairseq.logging import metrics
from fairseq.trainer.step import validation_step

__all__ = ["check_alignments", "check_folders", "check_metric", "check_paths", "names_of_splits"]

logger = logging.getLogger("fairseq_cli.train")


def check_paths(cfg: Any) -> None:
    """Files and folders that a run comes to late.

    Raises:
        FileNotFoundError: a file that training begins with does not exist.
        OSError: a folder for logs cannot be written.
    """
    from fairseq.file_io import PathManager

    begins_with = (
        ("--continue-once", cfg.checkpoint.continue_once),
        ("--ema-seed-model", cfg.ema.ema_seed_model if cfg.ema.store_ema else None),
    )
    for option, path in begins_with:
        if path is not None and not PathManager.exists(path):
            raise FileNotFoundError(f"{option} {path}: no such file")
    folder = cfg.common.tensorboard_logdir
    if folder and "://" not in folder:
        _prove_writable("--tensorboard-logdir", folder)


def _prove_writable(option: str, folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
        trial = os.path.join(folder, f".{uuid.uuid4().hex}")
        with open(trial, "w", encoding="utf-8"):
            pass
        os.remove(trial)
    except OSError as error:
        raise OSError(error.errno, f"{option}: cannot be written to ({error.strerror})", folder) from error


def _folders(cfg: Any) -> list[str]:
    """The local folders of ``--data``; empty where there are none, or others among them."""
    from fairseq.utils import split_paths

    data = getattr(cfg.task, "data", None)
    folders = split_paths(data) if isinstance(data, str) and data and "://" not in data else []
    return folders if folders and os.path.isdir(folders[0]) else []


def _files_of(folder: str, split: str) -> list[str]:
    return [name for name in os.listdir(folder) if name == split or name.startswith(f"{split}.")]


def check_folders(cfg: Any) -> None:
    """See that each folder of ``a:b`` is there and has training data; the first is looked at when it is loaded.

    Raises:
        FileNotFoundError: one is not there, or has no files of ``--train-subset`` although the first has.
    """
    folders, split = _folders(cfg), cfg.dataset.train_subset
    if len(folders) < 2:
        return
    for number, folder in enumerate(folders[1:], start=2):
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"data folder not found: {folder} (number {number} of {len(folders)})")
        # Tasks that name their files in another way have none in the first folder either.
        if _files_of(folders[0], split) and not _files_of(folder, split):
            raise FileNotFoundError(
                f"Dataset not found: {split} ({folder}, number {number} of {len(folders)} data folders); "
                f"epoch {number} would read it"
            )


def names_of_splits(cfg: Any, wanted: str) -> str:
    """A hint for a split that was not found: those of the data folder that look like it, or all."""
    folders = _folders(cfg)
    if not folders:
        return ""
    names = {name.split(".")[0] for name in os.listdir(folders[0]) if "." in name}
    names -= {"dict", "preprocess", ""}
    if wanted in names:  # of another pair of languages, or in another format
        return ""
    close = near(wanted, sorted(names))
    shown = close or sorted(names)[:12]
    return f"; {'did you mean' if close else 'the folder has'}: {', '.join(shown)}" if shown else ""


def check_alignments(cfg: Any, task: Any) -> None:
    """See that ``--load-alignments`` found alignments, and say so where files of the other direction are used.

    Raises:
        FileNotFoundError: training data have none.
    """
    from fairseq.data.language_pair_dataset import LanguagePairDataset

    source, target = getattr(cfg.task, "source_lang", None), getattr(cfg.task, "target_lang", None)
    folders = _folders(cfg)
    train = task.datasets.get(cfg.dataset.train_subset)
    if not folders or source is None or target is None or not isinstance(train, LanguagePairDataset):
        return
    split = cfg.dataset.train_subset
    files = _files_of(folders[0], split)
    pair, reverse = f"{source}-{target}", f"{target}-{source}"
    if source != target and not _has_pair(files, split, pair) and _has_pair(files, split, reverse):
        logger.warning("%s is trained from the files of %s, in the other direction; is that wanted?", pair, reverse)
    if not getattr(cfg.task, "load_alignments", False):
        return
    for name, dataset in task.datasets.items():
        if not isinstance(dataset, LanguagePairDataset) or dataset.align_dataset is not None:
            continue
        expected = os.path.join(folders[0], f"{name}.align.{pair}")
        there = sorted(file for file in os.listdir(folders[0]) if file.startswith(f"{name}.align."))
        hint = f"; there is {', '.join(there)}" if there else "; fairseq-preprocess --align-suffix writes it"
        if name == split:
            raise FileNotFoundError(f"--load-alignments: no {expected}{hint}")
        logger.warning("--load-alignments: no %s%s; %s goes without", expected, hint, name)


def _has_pair(files: list[str], split: str, pair: str) -> bool:
    return any(name.startswith(f"{split}.{pair}.") for name in files)


def check_metric(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> None:
    """Validate on one batch of each subset, to see that ``--best-checkpoint-metric`` is among the results.

    ``loss`` is always there, so that nothing is computed for it. Random states are as before afterwards.

    Raises:
        KeyError: it is not.
    """
    metric = cfg.checkpoint.best_checkpoint_metric
    # A metric such as BLEU may not be defined on one batch of an untrained model: its option is word enough.
    if metric == "loss" or cfg.dataset.disable_validation or getattr(cfg.task, f"eval_{metric}", None) is True:
        return
    with torch.random.fork_rng(devices=[trainer.device] if trainer.cuda else []), numpy_seed(cfg.common.seed):
        trainer.begin_valid_epoch(epoch_itr.epoch)
        for subset in cfg.dataset.valid_subset.split(","):
            itr = trainer.get_valid_iterator(subset).next_epoch_itr(shuffle=False, set_dataset_epoch=False)
            with metrics.aggregate(new_root=True) as own:
                validation_step(trainer, next(itr))  # the trainer's own method adds to the metrics of validation
            stats: dict[str, Any] = dict(own.get_smoothed_values())
            if hasattr(task, "post_validate"):
                task.post_validate(trainer.get_model(), stats, own)
            if metric not in stats:
                raise KeyError(_no_such_metric(cfg, metric, stats))


def _no_such_metric(cfg: Any, metric: str, stats: dict[str, Any]) -> str:
    usual = {"wps", "wpb", "bsz", "num_updates", "ups"}
    known = [name for name in stats if name not in usual and not name.startswith("_")]
    option = f"eval_{metric}"
    close = near(metric, known)
    if hasattr(cfg.task, option):
        hint = f"it needs --{option.replace('_', '-')}"
    elif close:
        hint = f"did you mean {', '.join(close)}?"
    else:
        hint = "choose another"
    return f"--best-checkpoint-metric {metric} was not logged in validation; there are: {', '.join(known)}; {hint}"
