"""``--aim-repo``: metrics in an Aim repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairseq.logging.progress_bar.base import BaseProgressBar, WrappedProgressBar, logger, scalars, step_of

__all__ = ["AimProgressBarWrapper", "find_get_run", "find_repo_class"]

# One run per repository and process.
_runs: dict[tuple[Any, Any], Any] = {}


def find_repo_class() -> Any:
    """``aim.Repo``, or ``None``."""
    try:
        from aim import Repo
    except ImportError:
        return None
    return Repo


def find_get_run() -> Any:
    """``get_aim_run(repo, run_hash)``: the process's run in a repository; ``None`` when aim is not installed."""
    try:
        from aim import Run
    except ImportError:
        return None

    def get_aim_run(repo: Any, run_hash: Any) -> Any:
        key = (str(repo), run_hash)
        if key not in _runs:
            _runs[key] = Run(run_hash=run_hash, repo=repo)
        return _runs[key]

    return get_aim_run


class AimProgressBarWrapper(WrappedProgressBar):
    """Send scalars to an Aim run.

    Args:
        aim_repo: path or address of the repository.
        aim_run_hash: an existing run to continue, or ``None``.
        aim_param_checkpoint_dir: checkpoint folder; an unnamed run that stored the same folder is continued.
    """

    def __init__(
        self, wrapped_bar: BaseProgressBar, aim_repo: Any, aim_run_hash: Any, aim_param_checkpoint_dir: Any
    ) -> None:
        from fairseq.logging import progress_bar

        super().__init__(wrapped_bar)
        self.run: Any = None
        if progress_bar.get_aim_run is None:
            logger.warning("Aim not found, please install with: pip install aim")
            return
        if aim_run_hash is None:
            aim_run_hash = _run_of_folder(progress_bar.AimRepo, aim_repo, aim_param_checkpoint_dir)
        self.run = progress_bar.get_aim_run(aim_repo, aim_run_hash)

    def send(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        if self.run is None:
            return
        at = step_of(stats, step)
        tag = tag or ""
        context = {"tag": tag, "subset": "train" if tag.startswith("train") else "val"}
        for key, value in scalars(stats):
            self.run.track(value, name=key, step=at, context=context)

    def update_config(self, config: Mapping[str, Any]) -> None:
        if self.run is not None:
            for key, value in config.items():
                self.run.set(key, value, strict=False)
        super().update_config(config)


def _run_of_folder(repo_class: Any, aim_repo: Any, folder: Any) -> Any:
    """Hash of the first run in the repository whose checkpoints are in ``folder``; ``None`` if there is none."""
    if repo_class is None or folder is None:
        return None
    query = f"run.checkpoint.save_dir == {folder!r}"
    for found in repo_class(aim_repo).query_runs(query).iter_runs():
        return found.run.hash
    return None
