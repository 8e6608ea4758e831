"""Training on several gloo processes equals training on one; what they save goes on elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import training_workers
from toy_training import config
from training_workers import BACKENDS, FIXED, followed

from fairseq.compat.torch import fsdp_runs_on
from fairseq.serialization import read_checkpoint

NAMES = [name for name in BACKENDS if name in ("ddp", "legacy") or fsdp_runs_on("cpu")]


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "SLURM_JOB_NODELIST", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)


def alone(data: str, folder: Path, *words: Any) -> list[dict[str, Any]]:
    return followed(config(data, folder, *FIXED, *words))


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        # Losses are logged rounded to three decimals.
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-3)
        torch.testing.assert_close(one["weights"], other["weights"], rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def two(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two workers: whole runs, and runs that stop in the middle of an epoch."""
    folder = tmp_path_factory.mktemp("two")
    runs = {f"{name} whole": [*FIXED, *BACKENDS[name]] for name in NAMES}
    runs.update({f"{name} stopped": [*FIXED, *BACKENDS[name], "--max-update", 4] for name in NAMES})
    return folder, training_workers.start(2, toy_pairs, folder, runs)


@pytest.fixture(scope="module")
def one(toy_pairs: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One worker that sees the batches of both in each update."""
    return alone(toy_pairs, tmp_path_factory.mktemp("one"), "--update-freq", 2)


@pytest.mark.parametrize("name", NAMES)
def test_two_workers_give_the_updates_of_one_with_twice_the_batches(name: str, two: Any, one: Any) -> None:
    # 11 batches an epoch: in its last update the second worker has none, and takes part with a dummy.
    same(two[1][f"{name} whole"], one)


@pytest.mark.parametrize("name", NAMES)
def test_one_worker_goes_on_where_two_stopped(name: str, two: Any, one: Any, toy_pairs: str, tmp_path: Path) -> None:
    saved = two[0] / f"{name}_stopped".replace(" ", "_")
    files = sorted(path.name for path in saved.glob("checkpoint_last*"))
    split = ["checkpoint_last-shard0.pt", "checkpoint_last-shard1.pt"]
    assert files == (split if name == "in shards" else ["checkpoint_last.pt"])
    shutil.copytree(saved, tmp_path / "ck")
    seen = alone(toy_pairs, tmp_path / "ck", "--update-freq", 2)
    same(seen, one[4:])
    assert (tmp_path / "ck" / "checkpoint_last.pt").exists()


def test_four_workers_go_on_where_two_stopped(two: Any, toy_pairs: str, tmp_path: Path) -> None:
    runs = {}
    for name in NAMES:
        for kind in (name, "alone"):
            shutil.copytree(two[0] / f"{name}_stopped".replace(" ", "_"), tmp_path / f"{kind} {name}".replace(" ", "_"))
        runs[f"{name} {name}"] = [*FIXED, *BACKENDS[name]]
    four = training_workers.start(4, toy_pairs, tmp_path, runs)
    for name in NAMES:
        expected = alone(toy_pairs, tmp_path / f"alone {name}".replace(" ", "_"), "--update-freq", 4)
        same(four[f"{name} {name}"], expected)
    if "in shards" in NAMES:
        folder = tmp_path / "in_shards_in_shards"
        history = [read_checkpoint(folder / f"checkpoint_last-shard{rank}.pt") for rank in range(4)]
        assert len({state["optimizer_history"][-1]["num_updates"] for state in history}) == 1
