"""Which processes take part: torchrun's variables, SLURM's, or those started here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq.distributed import launch
from fairseq.distributed import utils as dist_utils

VARIABLES = (
    "MASTER_ADDR",
    "MASTER_PORT",
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "SLURM_STEP_NODELIST",
    "SLURM_JOB_NODELIST",
    "SLURM_NTASKS",
    "SLURM_NNODES",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_JOB_ID",
    "SLURM_NODEID",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def section(**given: Any) -> Any:
    values: dict[str, Any] = {
        "distributed_init_method": None,
        "distributed_world_size": 1,
        "distributed_rank": 0,
        "distributed_port": -1,
        "distributed_backend": "nccl",
        "distributed_num_procs": 1,
        "distributed_no_spawn": False,
        "device_id": 0,
        "tpu": False,
    }
    return SimpleNamespace(**{**values, **given})


def inferred(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **given: Any) -> Any:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cfg = section(**given)
    dist_utils.infer_init_method(cfg)
    return cfg


def test_one_process_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inferred(monkeypatch, {}).distributed_init_method is None


def test_what_the_user_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = inferred(monkeypatch, {}, distributed_init_method="tcp://a:1", distributed_world_size=4, distributed_rank=2)
    assert (cfg.distributed_init_method, cfg.distributed_rank) == ("tcp://a:1", 2)


TORCHRUN = {"MASTER_ADDR": "host", "MASTER_PORT": "1234", "WORLD_SIZE": "4", "RANK": "3"}


def test_torchrun_wins_over_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "8", "SLURM_PROCID": "5"}
    cfg = inferred(monkeypatch, {**slurm, **TORCHRUN, "LOCAL_RANK": "1"})
    assert cfg.distributed_init_method == "env://" and cfg.distributed_no_spawn
    assert (cfg.distributed_world_size, cfg.distributed_rank, cfg.device_id) == (4, 3, 1)


def test_without_a_local_rank_devices_are_dealt_by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert inferred(monkeypatch, TORCHRUN).device_id == 1


def test_slurm_tasks_become_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "SLURM_STEP_NODELIST": "gpu[07-08]",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "8",
        "SLURM_PROCID": "6",
        "SLURM_LOCALID": "2",
        "SLURM_JOB_ID": "99",
    }
    cfg = inferred(monkeypatch, variables, distributed_world_size=8)
    again = inferred(monkeypatch, variables, distributed_world_size=8)
    assert cfg.distributed_init_method.startswith("tcp://gpu07:")
    assert cfg.distributed_init_method == again.distributed_init_method
    assert (cfg.distributed_world_size, cfg.distributed_rank, cfg.device_id) == (8, 6, 2)
    assert cfg.distributed_no_spawn


def test_one_slurm_task_per_node_starts_a_process_per_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    variables = {"SLURM_JOB_NODELIST": "a1,b2", "SLURM_NNODES": "2", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
    cfg = inferred(monkeypatch, {**variables, "SLURM_NODEID": "1"}, distributed_world_size=4, distributed_port=7777)
    assert cfg.distributed_init_method == "tcp://a1:7777" and not cfg.distributed_no_spawn
    assert (cfg.distributed_world_size, cfg.distributed_rank, cfg.distributed_num_procs) == (8, 4, 4)


def test_uneven_slurm_tasks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"SLURM_JOB_NODELIST": "a[1-2]", "SLURM_NNODES": "2", "SLURM_NTASKS": "3", "SLURM_PROCID": "0"}
    with pytest.raises(ValueError, match="3 tasks on 2 nodes"):
        inferred(monkeypatch, variables)


def test_a_single_slurm_task_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"SLURM_JOB_NODELIST": "a1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
    assert inferred(monkeypatch, variables).distributed_init_method is None


@pytest.mark.parametrize(
    ("nodes", "host"),
    [("gpu[03-05,9],login1", "gpu03"), ("a1", "a1"), ("a1,b2", "a1"), ("r[1,3]-ib", "r1-ib")],
)
def test_the_first_host_of_a_node_list(nodes: str, host: str) -> None:
    assert launch.first_host(nodes) == host


def test_processes_on_this_machine_meet_at_a_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = inferred(monkeypatch, {}, distributed_world_size=2)
    port = int(cfg.distributed_init_method.rpartition(":")[2])
    assert 10000 <= port <= 60000 and cfg.distributed_num_procs == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(AssertionError, match="world size is 2 but have 1 available devices"):
        inferred(monkeypatch, {}, distributed_world_size=2)


def test_a_lone_process_runs_main_directly() -> None:
    cfg = SimpleNamespace(common=SimpleNamespace(tpu=False, cpu=True), distributed_training=section())
    seen: list[Any] = []
    dist_utils.call_main(cfg, lambda cfg, extra: seen.append(extra), extra=3)
    assert seen == [3]
    assert dist_utils.is_master(cfg.distributed_training)


def test_alone_every_collective_returns_what_it_got() -> None:
    x = torch.ones(2)
    assert dist_utils.all_reduce(x, None) is x and dist_utils.broadcast(x, 0, None) is x
    assert dist_utils.all_gather_list({"a": 1}) == [{"a": 1}]
    assert dist_utils.broadcast_object("o", 0, None) == "o"
    assert (dist_utils.get_global_rank(), dist_utils.get_data_parallel_world_size()) == (0, 1)
    summed = dist_utils.all_reduce_dict({"n": 2, "t": torch.tensor([1.5])}, torch.device("cpu"), None)
    assert summed["n"].dtype == torch.float64 and summed["n"].item() == 2 and summed["t"].tolist() == [1.5]
