"""The interface around optimizers, reduced precision, and errors of schedules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq import optim
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.optim.lr_scheduler.cosine_lr_scheduler import CosineLRSchedule
from fairseq.optim.lr_scheduler.fixed_schedule import FixedLRSchedule
from fairseq.optim.lr_scheduler.inverse_square_root_schedule import InverseSquareRootSchedule
from fairseq.optim.lr_scheduler.manual_lr_scheduler import ManualSchedule
from fairseq.optim.lr_scheduler.pass_through import PassThroughScheduleSchedule
from fairseq.optim.lr_scheduler.polynomial_decay_schedule import PolynomialDecayLRSchedule


@pytest.mark.parametrize(("common", "scale"), [({"amp_init_scale": 4}, 4.0), ({"fp16_init_scale": 8}, 8.0)])
def test_amp_starts_at_the_scale_that_was_given(common: dict[str, int], scale: float) -> None:
    p = torch.nn.Parameter(torch.zeros(2))
    assert optim.AMPOptimizer.build_optimizer(configuration(**common), [p]).scaler.get_scale() == scale


def configuration(**common: Any) -> Any:
    adam = FairseqAdamConfig(_name="adam", lr=[0.1], adam_betas="(0.9, 0.98)", tpu=False)
    settings = {
        "bf16": False,
        "fp16_no_flatten_grads": False,
        "fp16_scale_window": None,
        "fp16_init_scale": 4.0,
        "fp16_scale_tolerance": 0.0,
        "threshold_loss_scale": None,
        "min_loss_scale": 1e-4,
        "model_parallel_size": 1,
        "amp_scale_window": None,
    }
    return SimpleNamespace(
        optimizer=adam,
        common=SimpleNamespace(**{**settings, **common}),
        optimization=SimpleNamespace(update_freq=[1]),
        distributed_training=SimpleNamespace(distributed_world_size=1),
    )


def half_parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).half()) for shape in ((3, 2), (4,), (2,))]


def train(opt: Any, params: list[torch.nn.Parameter], steps: int = 3) -> list[torch.Tensor]:
    for step in range(steps):
        opt.zero_grad()
        opt.backward(sum((p.float() * (step + 1) * (k - 0.5)).sum() for k, p in enumerate(params[:2])))
        opt.clip_grad_norm(0.5)
        opt.step()
    return [p.detach().float().clone() for p in params]


def test_an_optimizer_must_set_its_inner_optimizer() -> None:
    wrapper = optim.FairseqOptimizer(None)
    with pytest.raises(NotImplementedError):
        wrapper.optimizer.step()
    wrapper._optimizer = "adam"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="_optimizer must be an instance of torch.optim.Optimizer"):
        wrapper.optimizer.step()


def test_gradients_are_divided_by_the_scale_for_optimizers_that_cannot() -> None:
    p = torch.nn.Parameter(torch.zeros(1))
    opt = FairseqAdam(configuration().optimizer, [p])
    p.grad = torch.tensor([8.0])
    opt.step(scale=4.0)
    assert opt.optimizer.state[p]["exp_avg"].item() == pytest.approx(0.2)


def test_parameters_without_gradient_are_left_out_and_dicts_are_flattened() -> None:
    frozen = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
    trained = torch.nn.Parameter(torch.zeros(1))
    opt = optim.build_optimizer(configuration().optimizer, [{"a": frozen, "b": trained}])
    assert [id(p) for p in opt.params] == [id(trained)]


def test_flat_and_separate_master_copies_train_alike() -> None:
    flat, separate = half_parameters(), half_parameters()
    first = train(optim.FP16Optimizer.build_optimizer(configuration(), flat), flat)
    second = train(optim.FP16Optimizer.build_optimizer(configuration(fp16_no_flatten_grads=True), separate), separate)
    for a, b in zip(first, second):
        torch.testing.assert_close(a, b)


def test_master_copies_carry_the_marks_of_their_parameters() -> None:
    params = half_parameters()
    params[1].expert = True  # type: ignore[attr-defined]
    opt = optim.FP16Optimizer.build_optimizer(configuration(fp16_no_flatten_grads=True), params)
    assert [hasattr(p, "expert") for p in opt.params] == [False, True, False]


def test_the_loss_scale_is_saved_and_restored() -> None:
    params = half_parameters()
    opt = optim.FP16Optimizer.build_optimizer(configuration(), params)
    train(opt, params)
    state = opt.state_dict()
    assert state["loss_scale"] == 4.0
    state["loss_scale"] = 64.0
    opt.load_state_dict(state)
    assert opt.scaler is not None and opt.scaler.loss_scale == 64.0


def test_optimizers_that_treat_a_flat_vector_differently_are_refused() -> None:
    cfg = configuration()
    cfg.optimizer = SimpleNamespace(_name="adagrad", lr=[0.1], weight_decay=0.0)
    with pytest.raises(RuntimeError, match="chosen optimizer Adagrad does not support flat params"):
        optim.FP16Optimizer.build_optimizer(cfg, half_parameters())
    with pytest.raises(ValueError, match="Unsupported optimizer: Adagrad"):
        optim.MemoryEfficientFP16Optimizer.build_optimizer(cfg, half_parameters())


def test_a_changing_update_frequency_needs_an_explicit_scale_window() -> None:
    cfg = configuration()
    cfg.optimization.update_freq = [1, 2]
    with pytest.raises(ValueError, match="--fp16-scale-window must be given explicitly"):
        optim.FP16Optimizer.build_optimizer(cfg, half_parameters())


def test_memory_efficient_training_resumes_with_float32_moments() -> None:
    params = half_parameters()
    opt = optim.MemoryEfficientFP16Optimizer.build_optimizer(configuration(), params)
    train(opt, params)
    again = optim.MemoryEfficientFP16Optimizer.build_optimizer(configuration(), params)
    again.load_state_dict(opt.state_dict())
    moments = again.optimizer.state[params[0]]["exp_avg"]
    assert moments.dtype == torch.float32
    assert torch.equal(moments, opt.optimizer.state[params[0]]["exp_avg"])


def test_amp_skips_the_step_on_overflow_and_halves_the_scale(caplog: pytest.LogCaptureFixture) -> None:
    p = torch.nn.Parameter(torch.ones(2))
    opt = optim.AMPOptimizer.build_optimizer(configuration(amp_scale_window=1), [p])
    with caplog.at_level("INFO"):
        opt.zero_grad()
        opt.backward((p * float("inf")).sum())
        opt.clip_grad_norm(1.0)
        opt.step()
    assert "AMP: overflow detected, setting scale to to 2.0" in caplog.text
    assert torch.equal(p, torch.ones(2)) and opt.scaler.get_scale() == 2.0
    opt.zero_grad()
    opt.backward(p.sum())
    assert float(opt.clip_grad_norm(0.0)) == pytest.approx(2**0.5)
    opt.step()
    assert not torch.equal(p, torch.ones(2)) and opt.scaler.get_scale() == 4.0


def test_amp_gives_up_at_the_minimum_scale() -> None:
    p = torch.nn.Parameter(torch.ones(2))
    opt = optim.AMPOptimizer.build_optimizer(configuration(min_loss_scale=3.0), [p])
    opt.backward((p * float("inf")).sum())
    with pytest.raises(FloatingPointError, match="AMP: Minimum loss scale reached"):
        opt.clip_grad_norm(1.0)


# ---------------------------------------------------------------------------------------------------------- schedules
def adam() -> FairseqAdam:
    return FairseqAdam(configuration().optimizer, [torch.nn.Parameter(torch.zeros(1))])


def test_a_schedule_wants_one_of_our_optimizers() -> None:
    with pytest.raises(ValueError, match="optimizer must be an instance of FairseqOptimizer"):
        FixedLRSchedule(SimpleNamespace(lr=[0.1], warmup_updates=0), torch.optim.SGD([torch.zeros(1)], lr=1))


def test_a_rate_per_epoch_is_refused_by_schedules_that_need_one() -> None:
    cfg = SimpleNamespace(lr=[0.1, 0.2], warmup_updates=4, warmup_init_lr=-1)
    with pytest.raises(ValueError, match="Cannot use a fixed learning rate schedule with inverse_sqrt"):
        InverseSquareRootSchedule(cfg, adam())


def test_settings_without_which_a_schedule_is_undefined_are_asked_for() -> None:
    with pytest.raises(ZeroDivisionError, match="--warmup-updates"):
        InverseSquareRootSchedule(SimpleNamespace(lr=[0.1], warmup_updates=0, warmup_init_lr=-1), adam())
    cosine = SimpleNamespace(lr=[0.1], warmup_updates=0, warmup_init_lr=-1, min_lr=0.0, t_mult=1, lr_shrink=0.1)
    cosine.lr_period_updates, cosine.max_update = -1, 0
    with pytest.raises(AssertionError, match="Either --max_update or --lr-period-updates must be set"):
        CosineLRSchedule(cosine, adam())
    with pytest.raises(AssertionError, match="--total-num-update or --max-update"):
        PolynomialDecayLRSchedule(SimpleNamespace(lr=[0.1], total_num_update=0, warmup_updates=0), adam())
    with pytest.raises(AssertionError, match="Pass-through schedule"):
        PassThroughScheduleSchedule(None, adam())


@pytest.mark.parametrize("table", ["[1, 2]", "{'x': 0.1}", "__import__('os').system('true')"])
def test_tables_of_the_manual_schedule_are_read_not_executed(table: str) -> None:
    with pytest.raises(ValueError):
        ManualSchedule(SimpleNamespace(epoch2lr=table, update2lr="{}", lr=[0.1]), adam())
