"""Optimizers, schedules, loss scaling and clipping against recorded numbers of the original toolkit.

Parameter k starts as ``RandomState(seed + k)`` normal numbers, its gradient at step t as ``RandomState(1000 (t + 1) +
seed + k)`` normal numbers times ``grad_scale``.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairseq import optim, utils
from fairseq.optim import lr_scheduler
from fairseq.optim.adafactor import Adafactor
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

CASES = json.loads((Path(__file__).parent / "golden" / "optim.json").read_text(encoding="utf-8"))
SHAPES = [[3, 4], [5], [2, 3]]
_configs: dict[tuple[str, ...], Any] = {}


def config(flags: list[str]) -> Any:
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    key = tuple(flags)
    if key not in _configs:
        argv = ["data", "--arch", "transformer", "--cpu", "--max-tokens", "10", *flags]
        args = options.parse_args_and_arch(options.get_training_parser(), argv)
        _configs[key] = convert_namespace_to_omegaconf(args)
    return copy.deepcopy(_configs[key])


def start(given: dict[str, Any], dtype: str = "float32") -> list[torch.nn.Parameter]:
    params = []
    for k, shape in enumerate(given.get("shapes", SHAPES)):
        x = np.random.RandomState(given["seed"] + k).standard_normal(shape).astype("float32")
        p = torch.nn.Parameter(torch.from_numpy(x).to(getattr(torch, dtype)))
        if str(k) in given.get("groups", {}):
            p.param_group = given["groups"][str(k)]  # type: ignore[attr-defined]
        params.append(p)
    return params


def gradient(given: dict[str, Any], t: int, k: int, shape: Any) -> torch.Tensor:
    rng = np.random.RandomState(1000 * (t + 1) + given["seed"] + k)
    return torch.from_numpy(rng.standard_normal(list(shape)).astype("float32") * given.get("grad_scale", 1.0))


def optimizer(given: dict[str, Any]) -> Any:
    params = start(given)
    opt = optim.build_optimizer(config(given["flags"]).optimizer, params)
    log = []
    for t in range(given["steps"]):
        for k, p in enumerate(params):
            p.grad = None if k in given.get("no_grad", []) else gradient(given, t, k, p.shape)
        if str(t) in given.get("lr_at", {}):
            opt.set_lr(given["lr_at"][str(t)])
        if given.get("multiply"):
            opt.multiply_grads(given["multiply"])
        norm = float(opt.clip_grad_norm(given["clip"])) if "clip" in given else None
        opt.step()
        sums = [float(p.detach().double().sum()) for p in params]
        log.append({"lr": float(opt.get_lr()), "sums": sums, "norm": norm})
        if given.get("reload_at") == t:
            state = opt.state_dict()
            opt = optim.build_optimizer(config(given["flags"]).optimizer, params)
            opt.load_state_dict(state, given.get("overrides"))
        opt.zero_grad()
    flags = [bool(opt.supports_memory_efficient_fp16), bool(opt.supports_flat_params)]
    return {"steps": log, "final": [p.tolist() for p in params], "flags": flags}


def adafactor_class(given: dict[str, Any]) -> Any:
    params = start(given)
    opt = Adafactor(params, **given["args"])
    sums = []
    for t in range(given["steps"]):
        for k, p in enumerate(params):
            p.grad = gradient(given, t, k, p.shape)
        opt.step()
        sums.append([float(p.detach().double().sum()) for p in params])
    return {"sums": sums, "final": [p.tolist() for p in params]}


def composite(given: dict[str, Any]) -> Any:
    from omegaconf import OmegaConf

    params = start(given)
    opt: Any = optim.build_optimizer(OmegaConf.create(given["config"]), params)
    log = []
    for t in range(given["steps"]):
        for k, p in enumerate(params):
            p.grad = gradient(given, t, k, p.shape)
        opt.step()
        opt.lr_scheduler.step_update(t + 1)
        log.append({name: float(part.get_lr()) for name, part in sorted(opt.optimizers.items())})
        opt.zero_grad()
    return {"lr": log, "final": [p.tolist() for p in params]}


def schedule(given: dict[str, Any]) -> Any:
    opt = optim.build_optimizer(config(given["flags"]).optimizer, [torch.nn.Parameter(torch.zeros(2))])
    sched = lr_scheduler.build_lr_scheduler(config(given["flags"]).lr_scheduler, opt)
    log: list[Any] = [["built", opt.get_lr()]]
    sched.step_update(0)
    log.append(["update 0", opt.get_lr()])
    updates = 0
    for epoch in range(1, given["epochs"] + 1):
        sched.step_begin_epoch(epoch)
        log.append([f"begin {epoch}", opt.get_lr()])
        for _ in range(given["per_epoch"]):
            updates += 1
            log.append([sched.step_update(updates), opt.get_lr()])
        loss = given["losses"][epoch - 1] if given.get("losses") else None
        log.append([sched.step(epoch, loss), opt.get_lr()])
        if given.get("reload_at") == epoch:
            state = sched.state_dict()
            sched = lr_scheduler.build_lr_scheduler(config(given["flags"]).lr_scheduler, opt)
            sched.load_state_dict(state)
            log.append(["reloaded", opt.get_lr()])
    return log


def loss_scaler(given: dict[str, Any]) -> Any:
    scaler = DynamicLossScaler(**given["args"])
    log = []
    for norm in given["norms"]:
        note = "step"
        try:
            scaler.check_overflow(float(norm))
            scaler.update()
        except FloatingPointError:
            note = "minimum"
        except OverflowError:
            note = "overflow"
        log.append([note, float(scaler.loss_scale), float(scaler.scale(2.0))])
    return log


def mixed_precision(given: dict[str, Any]) -> Any:
    params = start(given, given["dtype"])
    kind = optim.MemoryEfficientFP16Optimizer if given["memory_efficient"] else optim.FP16Optimizer
    opt = kind.build_optimizer(config(given["flags"]), params)
    log = []
    for t in range(given["steps"]):
        opt.zero_grad()
        loss: Any = 0.0
        for k, p in enumerate(params):
            g = gradient(given, t, k, p.shape)
            loss = loss + (p.float() * (g * float("inf") if t in given.get("overflow_at", []) else g)).sum()
        opt.backward(loss)
        opt.multiply_grads(given.get("multiply", 1.0))
        norm: Any
        try:
            norm = float(opt.clip_grad_norm(given.get("clip", 0.0)))
            opt.step()
        except OverflowError:
            norm = "overflow"
        scale = float(opt.scaler.loss_scale) if opt.scaler is not None else None
        log.append({"norm": norm, "scale": scale, "lr": opt.get_lr()})
    return {"steps": log, "final": [p.float().tolist() for p in params], "state": sorted(opt.state_dict())}


def clip(given: dict[str, Any]) -> Any:
    out = []
    for max_norm in given["max_norms"]:
        params = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
        for k, p in enumerate(params):
            rng = np.random.RandomState(given["seed"] + k)
            p.grad = torch.from_numpy(rng.standard_normal(SHAPES[k]).astype("float32") * given["scale"])
        if given.get("none"):
            params[1].grad = None
        norm = utils.clip_grad_norm_(params, max_norm, (lambda n: n * 2) if given.get("aggregate") else None)
        out.append([float(norm), [None if p.grad is None else p.grad.tolist() for p in params]])
    return out


KINDS = {f.__name__: f for f in (optimizer, adafactor_class, composite, schedule, loss_scaler, mixed_precision, clip)}


def assert_close(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert sorted(found) == sorted(expected), where
        for key, value in expected.items():
            assert_close(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            assert_close(found[index], value, f"{where}[{index}]")
    elif isinstance(expected, float):
        assert math.isclose(float(found), expected, rel_tol=1e-4, abs_tol=1e-5), f"{where}: {found} != {expected}"
    else:
        assert found == expected, where


@pytest.fixture(autouse=True)
def fresh_composite_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq.optim.composite import FairseqCompositeOptimizer

    monkeypatch.setattr(FairseqCompositeOptimizer, "optimizers", {})
    monkeypatch.setattr(FairseqCompositeOptimizer, "lr_schedulers", {})


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_the_numbers_are_those_of_the_original(case: dict[str, Any]) -> None:
    assert_close(KINDS[case["kind"]](case["given"]), case["expect"], case["id"])


REGISTERED = {
    "optimizer": ["adadelta", "adafactor", "adagrad", "adam", "adamax", "composite", "cpu_adam", "lamb", "nag", "sgd"],
    "lr_scheduler": [
        "cosine",
        "fixed",
        "inverse_sqrt",
        "manual",
        "pass_through",
        "polynomial_decay",
        "reduce_lr_on_plateau",
        "step",
        "tri_stage",
        "triangular",
    ],
}


def test_every_optimizer_and_schedule_is_found_by_name() -> None:
    assert set(REGISTERED["optimizer"]) <= set(optim.OPTIMIZER_REGISTRY)
    assert set(REGISTERED["lr_scheduler"]) <= set(lr_scheduler.LR_SCHEDULER_REGISTRY)
    for name in REGISTERED["optimizer"]:
        assert issubclass(optim.OPTIMIZER_REGISTRY[name], optim.FairseqOptimizer)
    for name in REGISTERED["lr_scheduler"]:
        assert issubclass(lr_scheduler.LR_SCHEDULER_REGISTRY[name], lr_scheduler.FairseqLRScheduler)
