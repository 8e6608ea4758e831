"""The alignment functions under the names of compiled extensions, against the recurrence in plain Python."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from alignment_train_cpu_binding import alignment_train_cpu
from alignment_train_cuda_binding import alignment_train_cuda


def _recurrence(p: Tensor) -> Tensor:
    batch, length, source = p.shape
    alpha = torch.zeros_like(p)
    for b in range(batch):
        before = [1.0] + [0.0] * (source - 1)
        for i in range(length):
            arrival = 0.0
            for j in range(source):
                arrival = arrival * (1 - float(p[b, i, j - 1]) if j else 1.0) + before[j]
                alpha[b, i, j] = float(p[b, i, j]) * arrival
            before = alpha[b, i].tolist()
    return alpha


@pytest.mark.parametrize("eps", [0.0, 1e-6])
@pytest.mark.parametrize("shape", [(2, 4, 6), (1, 1, 1), (3, 5, 9), (2, 3, 1)])
def test_it_is_the_recurrence_in_place(shape: tuple[int, int, int], eps: float) -> None:
    p = torch.from_numpy(np.random.RandomState(3).random_sample(shape)).float()
    alpha = torch.full_like(p, 7.0)
    assert alignment_train_cpu(p, alpha, eps) is None
    torch.testing.assert_close(alpha, _recurrence(p), rtol=1e-4, atol=1e-6)
    other = torch.zeros_like(p)
    alignment_train_cuda(p, other, eps)
    assert torch.equal(other, alpha)


def test_certain_stops_need_no_smallest_value() -> None:
    p = torch.tensor([[[0.0, 1.0, 0.3, 1.0], [1.0, 0.0, 1.0, 0.5], [0.2, 0.2, 0.2, 1.0]]])
    alpha = torch.zeros_like(p)
    alignment_train_cpu(p, alpha, 0)
    torch.testing.assert_close(alpha, _recurrence(p))
    assert alpha.sum(2).tolist() == [[1.0, 1.0, 1.0]]
    # Wait-2: the extension's own case of certain stops.
    waitk = torch.zeros(1, 3, 5)
    for i in range(3):
        waitk[0, i, i + 1] = 1.0
    alpha = torch.zeros_like(waitk)
    alignment_train_cpu(waitk, alpha, 1e-6)
    assert torch.equal(alpha, waitk)


def test_a_large_smallest_value_loses_mass_as_recorded() -> None:
    p = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]])
    alpha = torch.zeros_like(p)
    alignment_train_cpu(p, alpha, 0.3)
    # Products of 1 - p are 1, 1/2, 1/4, 1/8; the last two are divided by 0.3 instead.
    first = [0.5, 0.25, 0.125, 0.0625]
    sums = np.cumsum([0.5, 0.25 / 0.5, 0.125 / 0.3, 0.0625 / 0.3])
    torch.testing.assert_close(alpha[0, 0], torch.tensor(first))
    torch.testing.assert_close(alpha[0, 1], torch.tensor(sums * np.array(first)).float())


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_gradients_flow_to_the_probabilities(eps: float) -> None:
    p = torch.from_numpy(np.random.RandomState(1).uniform(0.1, 0.9, (2, 3, 4))).requires_grad_()

    def function(p: Tensor) -> Tensor:
        alpha = torch.zeros_like(p)
        alignment_train_cpu(p, alpha, eps)
        return alpha

    assert torch.autograd.gradcheck(function, (p,))


def test_both_modules_are_in_the_wheel() -> None:
    setup = ast.parse((Path(__file__).parents[2] / "setup.py").read_text(encoding="utf-8"))
    call = next(node for node in ast.walk(setup) if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup")
    modules = next(ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "py_modules")
    assert modules == [alignment_train_cpu.__module__, "alignment_train_cuda_binding"]


def test_half_precision_and_wrong_shapes() -> None:
    p = torch.rand(2, 3, 5)
    alpha = torch.zeros(2, 3, 5, dtype=torch.float16)
    alignment_train_cpu(p.half(), alpha, 1e-6)
    torch.testing.assert_close(alpha.float(), _recurrence(p.half().float()), rtol=1e-2, atol=1e-3)
    with pytest.raises(ValueError, match=r"\(batch, target, source\)"):
        alignment_train_cpu(p, torch.zeros(2, 3, 4), 1e-6)
    with pytest.raises(ValueError, match="eps"):
        alignment_train_cpu(p, torch.zeros(2, 3, 5), -1.0)
