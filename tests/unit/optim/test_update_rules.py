"""What holds for the update rules beyond recorded numbers: kernels agree, half precision, states, errors."""

from __future__ import annotations

import copy
import math
from argparse import Namespace
from typing import Any

import pytest
import torch

from fairseq.compat import torch as torch_compat
from fairseq.optim import adam as adam_module
from fairseq.optim.adafactor import Adafactor, FairseqAdafactor
from fairseq.optim.adam import Adam
from fairseq.optim.adamax import Adamax
from fairseq.optim.cpu_adam import CPUAdam
from fairseq.optim.fused_adam import FusedAdamV1
from fairseq.optim.fused_lamb import LAMB
from fairseq.optim.nag import NAG


def parameters(dtype: torch.dtype = torch.float32, seed: int = 0) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3), (5,), (2, 2, 2)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def set_grads(params: list[torch.nn.Parameter], step: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for p in params:
        p.grad = (torch.randn(p.shape, generator=generator) * scale).to(p.dtype)


def run(optimizer: Any, params: list[torch.nn.Parameter], steps: int = 5) -> list[torch.Tensor]:
    for step in range(steps):
        set_grads(params, step)
        optimizer.step()
    return [p.detach().clone() for p in params]


def test_the_fused_kernel_and_our_own_operations_give_the_same_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"lr": 0.05, "eps": 1e-3, "weight_decay": 0.1}
    first, second = parameters(), parameters()
    fused = run(Adam(first, **settings), first)
    monkeypatch.setattr(adam_module, "fused_adamw", lambda *a, **k: False)
    plain = run(Adam(second, **settings), second)
    for a, b in zip(fused, plain):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_fused_kernel_leaves_tensors_with_gaps_to_others() -> None:
    p = torch.randn(3, 4).t()
    assert not torch_compat.fused_adamw(
        [p], [p], [p], [p], step=1, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.0
    )


def test_adam_follows_its_formula_with_epsilon_outside_of_the_bias_correction() -> None:
    p = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = Adam([p], lr=0.1, betas=(0.9, 0.99), eps=0.5, weight_decay=0.2)
    p.grad = torch.tensor([3.0])
    optimizer.step()
    shrunk = 2.0 * (1 - 0.1 * 0.2)
    step = 0.1 * math.sqrt(1 - 0.99) / (1 - 0.9)
    assert p.item() == pytest.approx(shrunk - step * 0.3 / (math.sqrt(0.09) + 0.5))


def test_amsgrad_never_divides_by_less_than_before() -> None:
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = Adam([p], amsgrad=True)
    for gradient in (10.0, 0.0, 0.0):
        p.grad = torch.tensor([gradient])
        optimizer.step()
    assert optimizer.state[p]["max_exp_avg_sq"] > optimizer.state[p]["exp_avg_sq"]


@pytest.mark.parametrize("rule", [Adam, Adamax, NAG, LAMB, Adafactor])
def test_half_precision_parameters_have_float32_states(rule: Any) -> None:
    params = parameters(torch.bfloat16)
    settings = {} if rule is Adafactor else {"lr": 0.01}
    optimizer = rule(params, **settings)
    run(optimizer, params, steps=2)
    for p in params:
        assert p.dtype == torch.bfloat16
        for value in optimizer.state[p].values():
            assert not isinstance(value, torch.Tensor) or value.dtype == torch.float32


@pytest.mark.parametrize("rule", [Adam, Adamax, NAG, LAMB, CPUAdam, Adafactor])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(rule: Any) -> None:
    settings = {} if rule is Adafactor else {"lr": 0.01}
    params = parameters(torch.bfloat16)
    optimizer = rule(params, **settings)
    run(optimizer, params, steps=3)
    others = [torch.nn.Parameter(p.detach().clone()) for p in params]
    restored = rule(others, **settings)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in (7, 8):
        set_grads(params, step)
        set_grads(others, step)
        optimizer.step()
        restored.step()
    for p, other in zip(params, others):
        assert torch.equal(p, other)
    assert all(isinstance(s.get("step", 0), int) for s in restored.state.values())


def test_a_step_counter_saved_as_a_tensor_is_read() -> None:
    params = parameters()
    optimizer = Adam(params)
    run(optimizer, params, steps=2)
    state = optimizer.state_dict()
    for entry in state["state"].values():
        entry["step"] = torch.tensor(float(entry["step"]))
    restored = Adam(params)
    restored.load_state_dict(state)
    assert restored.state[params[0]]["step"] == 2 and isinstance(restored.state[params[0]]["step"], int)


@pytest.mark.parametrize("rule", [Adam, Adamax, NAG])
def test_sparse_gradients_are_refused_by_name(rule: Any) -> None:
    p = torch.nn.Parameter(torch.zeros(3))
    p.grad = torch.zeros(3).to_sparse()
    with pytest.raises(RuntimeError, match=f"{rule.__name__} does not support sparse gradients"):
        rule([p], lr=0.1).step()


def test_moments_in_half_precision_change_little_and_take_half_the_memory() -> None:
    exact, compressed = parameters(), parameters()
    expected = run(Adam(exact, lr=0.05), exact)
    optimizer = FusedAdamV1(compressed, lr=0.05, use_fp16_stats=True)
    found = run(optimizer, compressed)
    assert optimizer.state[compressed[0]]["exp_avg_sq"].dtype == torch.float16
    for a, b in zip(expected, found):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3)


def test_the_fused_interface_divides_gradients_by_the_scale() -> None:
    a, b = parameters(), parameters()
    first, second = Adam(a, lr=0.1, eps=1e-2), FusedAdamV1(b, lr=0.1, eps=1e-2)
    set_grads(a, 0)
    set_grads(b, 0, scale=8.0)
    first.step()
    second.step(scale=8.0)
    for p, q in zip(a, b):
        torch.testing.assert_close(p, q)


def test_cpu_adam_gives_the_numbers_of_adam() -> None:
    a, b = parameters(), parameters()
    for p, q in zip(run(Adam(a, lr=0.05, weight_decay=0.1), a), run(CPUAdam(b, lr=0.05, weight_decay=0.1), b)):
        torch.testing.assert_close(p, q)


def test_lamb_scales_each_tensor_by_its_trust_ratio() -> None:
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = LAMB([p], lr=0.1, eps=0.0, weight_decay=0.01)
    p.grad = torch.tensor([0.3, -0.4])
    optimizer.step()
    update = torch.tensor([1.0, -1.0]) + 0.01 * torch.tensor([3.0, 4.0])
    expected = torch.tensor([3.0, 4.0]) - 0.1 * 5.0 / update.norm() * update
    torch.testing.assert_close(p.detach(), expected)


def test_lamb_clips_to_a_norm_of_one() -> None:
    small, large = parameters(), parameters()
    first, second = LAMB(small, lr=0.1), LAMB(large, lr=0.1)
    set_grads(small, 0, scale=100.0)
    set_grads(large, 0, scale=1000.0)
    first.step()
    second.step()
    for p, q in zip(small, large):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "Invalid learning rate: -1.0"),
        ({"eps": -1.0}, "Invalid epsilon value: -1.0"),
        ({"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ({"weight_decay": -0.5}, "Invalid weight_decay value: -0.5"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adamax(parameters(), **settings)


def test_adafactor_refuses_contradictions() -> None:
    with pytest.raises(ValueError, match="Cannot combine manual lr and relative_step options"):
        Adafactor(parameters(), lr=0.1)
    with pytest.raises(ValueError, match="warmup_init requires relative_step=True"):
        Adafactor(parameters(), lr=0.1, relative_step=False, warmup_init=True)


def test_relative_steps_of_adafactor_work_from_the_command_line_though_lr_has_a_default() -> None:
    args = Namespace(lr=[0.25], adafactor_eps="(1e-30, 1e-3)", clip_threshold=1.0, decay_rate=-0.8, beta1=None)
    args = Namespace(**vars(args), weight_decay=0.0, scale_parameter=True, relative_step=True, warmup_init=False)
    params = parameters()
    before = [p.detach().clone() for p in params]
    optimizer = FairseqAdafactor(args, params)
    run(optimizer.optimizer, params, steps=1)
    assert not torch.equal(before[0], params[0])


def test_nag_without_a_learning_rate_says_so() -> None:
    with pytest.raises(ValueError, match="needs a learning rate"):
        NAG(parameters())
