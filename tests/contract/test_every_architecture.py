"""Every registered architecture: builds, learns, saves, loads and decodes, with and without the fast paths.

``tiny_models.py`` makes each architecture tiny and gives it a task and a batch. A new architecture takes part
as soon as it is registered; its state dict is frozen by ``scripts/freeze_contract.py``.
"""

from __future__ import annotations

import copy
import functools
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from tiny_models import Tiny
from torch import Tensor

from fairseq import optim
from fairseq.criterions import label_smoothed_cross_entropy, projected_loss
from fairseq.modules.fused import attention, dropout_add, feed_forward, layers
from fairseq.sequence_generator.engine.ensemble import EngineSteps

GOLDEN = Path(__file__).parent / "golden"
FROZEN = json.loads((GOLDEN / "state_dict_keys.json").read_text(encoding="utf-8"))["tiny"]
ARCHS = tiny_models.architectures()
# Fast paths add in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(params=ARCHS, scope="module")
def arch(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def tiny(arch: str) -> Tiny:
    """Shared by the tests of an architecture; none of them changes its weights."""
    return Tiny(arch)


def test_the_state_dict_is_the_frozen_one(arch: str, tiny: Tiny) -> None:
    assert arch in FROZEN, "run scripts/freeze_contract.py"
    assert tiny_models.state_rows(tiny.model) == tiny_models.frozen_rows(FROZEN, arch)


def test_forward_and_backward_give_finite_numbers(tiny: Tiny) -> None:
    outputs = tiny.outputs()
    assert outputs and all(not output.isnan().any() for output in outputs)
    loss, gradients = tiny.loss()
    assert loss.isfinite()
    assert gradients and all(gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.abs().sum() > 0 for gradient in gradients.values())


def test_saved_weights_load_strictly_into_a_new_model(tiny: Tiny) -> None:
    file = io.BytesIO()
    torch.save(tiny.model.state_dict(), file)
    file.seek(0)
    other = tiny.build(seed=2)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    for before, after in zip(tiny.outputs(), tiny.outputs(other), strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0, equal_nan=True)


def test_two_updates_change_the_weights(arch: str) -> None:
    tiny = Tiny(arch, dropout=True)
    parameters = {name: p for name, p in tiny.model.named_parameters() if p.requires_grad}
    before = copy.deepcopy({name: p.detach() for name, p in parameters.items()})
    optimizer = optim.build_optimizer(tiny.cfg.optimizer, list(parameters.values()))
    losses = []
    for update in range(2):
        optimizer.zero_grad()
        loss, _, log = tiny.task.train_step(tiny.recipe.sample(), tiny.model, tiny.criterion, optimizer, update)
        losses.append(float(loss.detach()))
        optimizer.step()
    assert torch.tensor(losses).isfinite().all()
    assert losses[0] != losses[1]
    assert log["nsentences"] == 3
    moved = [name for name, p in parameters.items() if not torch.equal(p, before[name])]
    assert len(moved) > len(parameters) / 2
    assert all(p.isfinite().all() for p in parameters.values())


def test_decoding_gives_hypotheses(tiny: Tiny) -> None:
    found = tiny.decode()
    if tiny.recipe.decodes == "probabilities":
        torch.testing.assert_close(found[0].exp().sum(-1), torch.ones(found[0].shape[:-1]))
        return
    assert len(found) == 3
    for hypotheses in found:
        assert len(hypotheses) == (2 if tiny.recipe.decodes == "generate" else 1)
        for tokens, scores in hypotheses:
            assert len(tokens) == len(scores)
            assert scores.isfinite().all()


SCRIPTED = [name for name in ARCHS if tiny_models.recipe_of(name).scripts]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", SCRIPTED)
def test_torchscript_gives_the_same_numbers(name: str) -> None:
    recipe = tiny_models.recipe_of(name)
    model: Any = Tiny(name, **recipe.script_options).model.eval()
    inputs: dict[str, Tensor] = recipe.sample()["net_input"]
    if recipe.scripts == "decoder":
        model, inputs = model.decoder, {"prev_output_tokens": inputs["src_tokens"]}
    with torch.no_grad():
        expected, found = model(**inputs), torch.jit.script(model)(**inputs)
    torch.testing.assert_close(found[0], expected[0])


@pytest.fixture
def small_tensors_take_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SMALLEST", 1)
    monkeypatch.setattr(feed_forward, "SMALLEST", 1)
    monkeypatch.setattr(projected_loss, "SMALLEST_VOCABULARY", 1)
    monkeypatch.setattr("fairseq.criterions.fused_loss.SMALL", 0)
    # Fused dropout is not used for a probability that its 16 bits cannot tell from zero. Here it shall drop nothing.
    pays = dropout_add._pays
    monkeypatch.setattr(dropout_add, "_pays", lambda x, p: pays(x, 0.5 if p > 0 else 0.0))


def both_paths(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for switch in ("0", "1"):
        monkeypatch.setenv("FAIRSEQ_FAST_PATHS", switch)
        yield switch


@pytest.mark.usefixtures("small_tensors_take_the_fast_path")
def test_plain_and_fast_paths_agree(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, decoded = {}, {}
    for switch in both_paths(monkeypatch):
        losses[switch] = tiny.loss()
        decoded[switch] = tiny.decode()
    torch.testing.assert_close(losses["1"][0], losses["0"][0], **CLOSE)
    assert losses["1"][1].keys() == losses["0"][1].keys()
    for name, gradient in losses["0"][1].items():
        torch.testing.assert_close(
            losses["1"][1][name], gradient, **CLOSE, msg=functools.partial("{}: {}".format, name)
        )
    torch.testing.assert_close(decoded["1"], decoded["0"], **CLOSE)


@pytest.mark.usefixtures("small_tensors_take_the_fast_path")
def test_the_fast_paths_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above would compare the plain code with itself."""
    paths = [
        (layers, "attend_add_norm"),
        (layers, "feed_forward_add_norm"),
        (label_smoothed_cross_entropy, "loss_without_logits"),
        (EngineSteps, "make"),
    ]
    taken: set[str] = set()
    for owner, name in paths:
        real = getattr(owner, name)

        def call(*args: Any, real: Any = real, name: str = name, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            if result is not None:
                taken.add(name)
            return result

        monkeypatch.setattr(owner, name, call)
    tiny, seen = Tiny("transformer"), {}
    for switch in both_paths(monkeypatch):
        taken.clear()
        tiny.loss()
        tiny.decode()
        seen[switch] = set(taken)
    assert seen == {"0": set(), "1": {name for _, name in paths}}
