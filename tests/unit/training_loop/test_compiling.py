"""What ``--compile`` compiles: the layers of a deep stack, anything else whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fairseq.training_loop.compiling import compile_if_asked, repeated_blocks


class Block(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.halves = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Stack(nn.Module):
    def __init__(self, depth: int, vocabulary: int = 1000) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, 8)
        self.layers = nn.ModuleList([Block() for _ in range(depth)])
        self.out = nn.Linear(8, vocabulary, bias=False)
        self.out.weight = self.words.weight


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[nn.Module, dict[str, Any]]]:
    calls: list[tuple[nn.Module, dict[str, Any]]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: calls.append((self, how)))
    monkeypatch.setenv("FAIRSEQ_COMPILE", "1")
    return calls


def test_the_layers_of_a_stack_are_compiled_and_not_what_is_inside_them(compiled: list[Any]) -> None:
    model = Stack(3)
    compile_if_asked(model)
    assert [module for module, _ in compiled] == list(model.layers)
    assert all(how == {"mode": "default", "dynamic": True} for _, how in compiled)


def test_a_model_without_repetition_is_compiled_whole(compiled: list[Any]) -> None:
    model = nn.Sequential(nn.LSTM(4, 4), nn.Linear(4, 4))
    compile_if_asked(model)
    assert [module for module, _ in compiled] == [model]


def test_layers_that_are_the_smaller_part_do_not_count() -> None:
    model = nn.ModuleDict({"stack": Stack(2), "rest": nn.Linear(100, 100)})
    assert repeated_blocks(model) == []
    del model["rest"]
    assert len(repeated_blocks(model)) == 2


def test_one_layer_alone_has_nobody_to_share_with() -> None:
    assert repeated_blocks(Stack(1)) == []
