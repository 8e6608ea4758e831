"""Two gloo processes on the CPU against one process that sees both halves of the data."""

import json
from types import SimpleNamespace

import pytest
import torch
import two_workers

from fairseq.compat.torch import fsdp_runs_on
from fairseq.distributed import utils as dist_utils
from fairseq.optim.adam import Adam

needs_sharding = pytest.mark.skipif(not fsdp_runs_on("cpu"), reason="sharding on the CPU needs a newer PyTorch")
SHARDED = [pytest.param(kind, marks=needs_sharding) for kind in ("sharded", "reloaded")]


def config(world_size=2):
    return SimpleNamespace(
        common=SimpleNamespace(cpu=True, tpu=False, model_parallel_size=1),
        distributed_training=SimpleNamespace(
            distributed_world_size=world_size,
            distributed_rank=0,
            distributed_num_procs=1,
            distributed_init_method=None,
            distributed_port=-1,
            distributed_backend="nccl",
            distributed_no_spawn=False,
            device_id=0,
            heartbeat_timeout=-1,
            tpu=False,
        ),
    )


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "SLURM_JOB_NODELIST", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    dist_utils.call_main(config(), two_workers.collectives, folder=str(folder))
    names = ("collectives0", "collectives1", "gradients0", "gradients1")
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}


@pytest.mark.parametrize("rank", [0, 1])
def test_collectives_give_every_worker_everybodys_data(results, rank):
    seen = results[f"collectives{rank}"]
    assert seen["sum"] == [3.0] and seen["max"] == [2.0]
    assert seen["list"] == [[0, [0.0], "torch.float32"], [1, [1.0], "torch.float32"]]
    assert seen["dict"] == {"a": 2.0, "b": [2.0, 1.0]}
    assert seen["gather"] == [[0], [1]]
    assert seen["exchange"] == [[0, 1, 10, 11], [2, 3, 12, 13]][rank]
    assert seen["object"] == [[1.0, 1.0], [1, [2, "x"]]]
    assert seen["tensors"] == [[0, 1, 2]]
    assert seen["size"] == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_an_object_too_large_is_refused_by_all_workers_alike(results, rank):
    assert "exceeds max_size (50)" in results[f"collectives{rank}"]["too large"]


def one_process():
    model = two_workers.tiny_model()
    optimizer = Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(3):
        optimizer.zero_grad()
        for rank in (0, 1):
            (model(two_workers.batch(rank, step)).square().sum() / 2).backward()
        optimizer.step()
    return [value.flatten().tolist() for value in model.state_dict().values()]


@pytest.mark.parametrize("kind", ["legacy", *SHARDED])
def test_two_workers_train_like_one_with_both_halves(results, kind):
    expected = one_process()
    for rank in (0, 1):
        found = results[f"gradients{rank}"][kind]
        for got, want in zip(found, expected):
            torch.testing.assert_close(torch.tensor(got), torch.tensor(want), rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(fsdp_runs_on("cpu"), reason="sharding on the CPU works here")
def test_sharding_on_the_cpu_is_refused_where_torch_cannot(results):
    assert "needs a newer PyTorch" in results["gradients0"]["refused"]


@needs_sharding
def test_a_sharded_model_saves_whole_tensors_under_plain_names(results):
    assert results["gradients0"]["keys"] == ["0.weight", "0.bias", "2.weight", "2.bias"]


@needs_sharding
def test_optimizer_states_of_sharded_parameters_are_saved_whole_and_spread_again(results):
    for rank in (0, 1):
        assert results[f"gradients{rank}"]["resumed"] == [True, [[10, 6], [10], [4, 10], [4]]]


def test_optimizer_states_in_parts_train_alike(results):
    for rank in (0, 1):
        params, kept, saved = results[f"gradients{rank}"]["zero"]
        assert kept < 4 == saved
        for got, want in zip(params, one_process()):
            torch.testing.assert_close(torch.tensor(got), torch.tensor(want), rtol=1e-6, atol=1e-6)


def test_workers_of_block_updates_differ_between_their_meetings(results):
    first, second = results["gradients0"]["blocks"], results["gradients1"]["blocks"]
    equal = [a == pytest.approx(b, abs=1e-9) for a, b in zip(first, second)]
    assert equal == [True, True, False, True]


@needs_sharding
def test_sharded_gradients_are_clipped_by_their_common_norm(results):
    assert results["gradients0"]["norm"] > 0.5
    assert results["gradients0"]["norm"] == pytest.approx(results["gradients1"]["norm"])


@pytest.mark.parametrize(
    ("work", "cause"),
    [(two_workers.die, "killed by SIGKILL"), (two_workers.complain, "ValueError: the plugin is broken")],
)
def test_a_failed_worker_ends_the_job_and_is_named(tmp_path, work, cause):
    with pytest.raises(ChildProcessError, match=f"worker 1 of 2 failed \\({cause}"):
        dist_utils.call_main(config(), work, folder=str(tmp_path))
