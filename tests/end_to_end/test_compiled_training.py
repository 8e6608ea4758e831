"""``--compile``: the same training, the same files, with and without it in turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_training
from torch import nn

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.training_loop import compiling, main

TRANSFORMER = (  # noqa: SIM905
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 32 --decoder-embed-dim 32 "
    "--encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64 --encoder-attention-heads 2 --decoder-attention-heads 2 "
    "--dropout 0"
).split()
TUTORIAL = [
    *["--user-dir", str(toy_training.ROOT / "plugins" / "tutorial_lstm"), "--arch", "tutorial_simple_lstm"],
    *["--encoder-embed-dim", "8", "--encoder-hidden-dim", "8", "--encoder-dropout", "0"],
    *["--decoder-embed-dim", "8", "--decoder-hidden-dim", "8", "--decoder-dropout", "0"],
]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Record graphs without making machine code of them, which takes minutes; counts them."""
    real = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: real(module, backend="eager", dynamic=True))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters["stats"]
    torch._dynamo.reset()


def train(pairs: str, folder: Path, model: list[str], updates: int) -> dict[str, Any]:
    words = [pairs, *model, *toy_training.RUN, "--save-dir", str(folder), "--max-update", str(updates)]
    main(convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), words)))
    return toy_training.checkpoint(folder)


@pytest.mark.parametrize("model", [TRANSFORMER, TUTORIAL], ids=["transformer", "tutorial"])
def test_a_run_goes_on_with_and_without_compiling(
    toy_pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: Any, model: list[str]
) -> None:
    plain = train(toy_pairs, tmp_path / "plain", model, 4)["model"]
    assert not graphs.get("unique_graphs")
    mixed = tmp_path / "mixed"
    monkeypatch.setenv("FAIRSEQ_COMPILE", "1")
    compiled = train(toy_pairs, mixed, model, 2)["model"]
    assert graphs["unique_graphs"] > 0
    assert list(compiled) == list(plain)  # no names that only a compiled model has
    monkeypatch.delenv("FAIRSEQ_COMPILE")
    train(toy_pairs, mixed, model, 3)
    monkeypatch.setenv("FAIRSEQ_COMPILE", "1")
    state = train(toy_pairs, mixed, model, 4)
    assert state["optimizer_history"][-1]["num_updates"] == 4
    for name, value in plain.items():
        torch.testing.assert_close(state["model"][name], value, rtol=1e-3, atol=1e-4)


def test_a_machine_without_compiler_says_so_in_one_line(toy_pairs: str, tmp_path: Path) -> None:
    words = [toy_pairs, *toy_training.MODEL, *toy_training.RUN, "--save-dir", tmp_path, "--compile"]
    said = toy_training.tool("train", *words, code=1, CXX="no-such-compiler")
    lines = [line for line in said.splitlines() if "no-such-compiler" in line]
    assert len(lines) == 1 and "install one" in lines[0]
    assert "Traceback" not in said


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRSEQ_COMPILE", "fast")
    with pytest.raises(ValueError, match="choose one of default"):
        compiling.compile_if_asked(nn.Linear(1, 1))
