"""What the worker processes of the distributed tests do. Kept importable: children are started afresh."""

import json
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from fairseq.compat.torch import fsdp_runs_on
from fairseq.distributed import utils as dist_utils


def tiny_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 4))


def batch(rank, step):
    generator = torch.Generator().manual_seed(100 * step + rank)
    return torch.randn(3, 6, generator=generator)


def write(folder, name, value):
    Path(folder, f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def collectives(cfg, folder):
    rank, group = dist_utils.get_global_rank(), dist_utils.get_global_group()
    sent = {"object": {"w": torch.ones(2), "n": [1, (2, "x")]}, "tensors": [torch.arange(3)]}
    if rank != 0:
        sent = dict.fromkeys(sent)
    seen = {
        "sum": dist_utils.all_reduce(torch.tensor([1.0 + rank]), group).tolist(),
        "max": dist_utils.all_reduce(torch.tensor([1.0 + rank]), group, op="max").tolist(),
        "list": dist_utils.all_gather_list({"rank": rank, "x": torch.tensor([rank], dtype=torch.float16)}, group),
        "dict": dist_utils.all_reduce_dict({"a": 1, "b": torch.tensor([1.0, rank])}, torch.device("cpu"), group),
        "gather": dist_utils.all_gather(torch.tensor([rank]), group, return_tensor=True).tolist(),
        "exchange": dist_utils.all_to_all(torch.arange(4) + 10 * rank, group).tolist(),
        "object": dist_utils.broadcast_object(
            {"w": torch.ones(2), "n": [1, (2, "x")]} if rank == 0 else None, 0, group
        ),
        "tensors": [
            t.tolist() for t in dist_utils.broadcast_tensors([torch.arange(3)] if rank == 0 else None, 0, group)
        ],
        "size": dist_utils.get_data_parallel_world_size(),
    }
    seen["list"] = [[part["rank"], part["x"].tolist(), str(part["x"].dtype)] for part in seen["list"]]
    seen["dict"] = {key: value.tolist() for key, value in seen["dict"].items()}
    seen["object"] = [seen["object"]["w"].tolist(), seen["object"]["n"]]
    try:
        dist_utils.all_gather_list("x" * (100 if rank == 0 else 1), group, max_size=50)
    except ValueError as error:
        seen["too large"] = str(error)
    write(folder, f"collectives{rank}", seen)
    gradients(cfg, folder)


def train(wrapped, params, rank, steps=3):
    from fairseq.optim.adam import Adam

    optimizer = Adam(params, lr=0.01, weight_decay=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        wrapped(batch(rank, step)).square().sum().backward()
        if hasattr(wrapped, "all_reduce_grads"):
            wrapped.all_reduce_grads()
        optimizer.step()
    return optimizer


def gradients(cfg, folder):
    from fairseq.distributed import FullyShardedDataParallel, LegacyDistributedDataParallel, ModuleProxyWrapper

    rank, group = dist_utils.get_global_rank(), dist_utils.get_global_group()
    result = {}
    model = tiny_model()
    legacy = ModuleProxyWrapper(LegacyDistributedDataParallel(model, group, buffer_size=50))
    train(legacy, legacy.parameters(), rank)
    result["legacy"] = [value.flatten().tolist() for value in legacy.state_dict().values()]
    result["zero"] = optimizer_state_in_parts(rank, group)
    result["blocks"] = blocks(rank)
    if fsdp_runs_on("cpu"):
        result.update(sharding(rank, group))
    else:
        try:
            FullyShardedDataParallel(tiny_model(), group)
        except RuntimeError as error:
            result["refused"] = str(error)
    write(folder, f"gradients{rank}", result)


def sharding(rank, group):
    from fairseq.distributed import FullyShardedDataParallel

    result = {}
    sharded = FullyShardedDataParallel(tiny_model(), group)
    optimizer = train(sharded, sharded.parameters(), rank)
    whole = sharded.state_dict()
    result["sharded"] = [value.flatten().tolist() for value in whole.values()]
    other = FullyShardedDataParallel(tiny_model(), group)
    other.load_state_dict(whole)
    result["reloaded"] = [value.flatten().tolist() for value in other.state_dict().values()]
    result["keys"] = list(whole)
    result["resumed"] = resumed_equally(sharded, optimizer, other, rank)
    result["norm"] = float(norm_of(sharded, rank))
    return result


def resumed_equally(model, optimizer, copy, rank):
    """Whether a copy with the optimizer state of a whole-tensor file goes on like the model."""
    from fairseq.optim._sharding import gather, spread
    from fairseq.optim.adam import Adam

    saved = gather(optimizer.state_dict(), model.parameters())
    restored = Adam(copy.parameters(), lr=0.01, weight_decay=0.1)
    restored.load_state_dict(spread(saved, copy.parameters()))
    for wrapped, rule in ((model, optimizer), (copy, restored)):
        wrapped.zero_grad()
        wrapped(batch(rank, 5)).square().sum().backward()
        rule.step()
    same = [torch.equal(a, b) for a, b in zip(model.state_dict().values(), copy.state_dict().values())]
    shapes = [list(entry["exp_avg"].shape) for entry in saved["state"].values()]
    return [all(same), shapes]


def wrapped_adam(params):
    from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig

    return FairseqAdam(FairseqAdamConfig(lr=[0.01], weight_decay=0.1, tpu=False), params)


def optimizer_state_in_parts(rank, group):
    """Train with the optimizer state spread over workers; parameters, and how many states this worker keeps."""
    from fairseq.distributed import LegacyDistributedDataParallel
    from fairseq.optim import shard_

    model = LegacyDistributedDataParallel(tiny_model(), group)
    optimizer = wrapped_adam(model.parameters())
    shard_(optimizer, group)
    for step in range(3):
        optimizer.zero_grad()
        model(batch(rank, step)).square().sum().backward()
        optimizer.all_reduce_grads(model)
        optimizer.step()
        if step == 1:
            whole = optimizer.broadcast_global_state_dict(optimizer.state_dict())
            optimizer.load_state_dict(whole)
    kept = len(optimizer.optimizer.optim.state)
    return [[p.flatten().tolist() for p in model.module.parameters()], kept, len(whole["state"])]


def blocks(rank):
    """Two workers with different data that meet every second update; parameters after four updates."""
    from types import SimpleNamespace

    from fairseq.optim import FairseqBMUF

    model = tiny_model()
    cfg = SimpleNamespace(global_sync_iter=2, block_momentum=0.0, block_lr=1.0, use_nbm=False, warmup_iterations=1)
    cfg.average_sync, cfg.distributed_world_size = False, 2
    optimizer = FairseqBMUF(cfg, wrapped_adam(model.parameters()))
    seen = []
    for step in range(4):
        optimizer.zero_grad()
        optimizer.backward(model(batch(rank, step)).square().sum())
        optimizer.step()
        seen.append(float(sum(p.detach().double().sum() for p in model.parameters())))
    return seen


def norm_of(model, rank):
    from fairseq.utils import clip_grad_norm_

    model.zero_grad()
    model(batch(rank, 9)).square().sum().backward()
    norm = clip_grad_norm_(model.parameters(), 0.5)
    again = clip_grad_norm_(model.parameters(), 0.0)
    return norm if abs(float(again) - 0.5) < 1e-3 else -1


def die(cfg, folder):
    if dist_utils.get_global_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1))
    time.sleep(60)


def complain(cfg, folder):
    if dist_utils.get_global_rank() == 1:
        raise ValueError("the plugin is broken")
    dist.all_reduce(torch.ones(1))
    time.sleep(60)
