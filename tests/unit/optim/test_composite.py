"""Several optimizers in one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from fairseq import optim
from fairseq.optim.composite import FairseqCompositeOptimizer


@pytest.fixture(autouse=True)
def fresh_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FairseqCompositeOptimizer, "optimizers", {})
    monkeypatch.setattr(FairseqCompositeOptimizer, "lr_schedulers", {})


def group(lr: float) -> dict[str, Any]:
    sgd = {"_name": "nag", "momentum": 0.0, "weight_decay": 0.1, "lr": [lr]}
    fixed = {"_name": "fixed", "force_anneal": None, "lr_shrink": 0.5, "warmup_updates": 0, "lr": [lr]}
    return {"lr": [lr], "lr_float": None, "optimizer": sgd, "lr_scheduler": fixed}


def build(params: list[torch.nn.Parameter], dynamic: bool = False, **groups: Any) -> Any:
    cfg = OmegaConf.create({"_name": "composite", "dynamic_groups": dynamic, "groups": groups})
    return optim.build_optimizer(cfg, params)


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]


def test_groups_of_parameters_and_of_the_configuration_must_agree() -> None:
    params = parameters()
    params[0].param_group = "encoder"  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match=r"\['default', 'encoder'\] and optimizer groups \['default'\]"):
        build(params, default=group(0.1))
    with pytest.raises(AssertionError, match="fp16_no_flatten_grads: true"):
        build(params[:1], default=group(0.1))


def test_overrides_of_parameters_make_groups_and_scale_rate_and_decay() -> None:
    params = parameters()
    overrides = {"optimizer": {"lr_scale": 10, "weight_decay_scale": 0}}
    params[1].optim_overrides = overrides  # type: ignore[attr-defined]
    opt = build(params, dynamic=True, default=group(0.1))
    assert sorted(round(part.get_lr(), 6) for part in opt.optimizers.values()) == [0.1, 1.0]
    assert opt.get_lr() == 0.1
    scaled = next(part for name, part in opt.optimizers.items() if name != "default")
    assert scaled.param_groups[0]["weight_decay"] == 0
    assert overrides == {"optimizer": {"lr_scale": 10, "weight_decay_scale": 0}}


def test_some_groups_can_be_updated_alone_and_states_are_kept_by_name() -> None:
    params = parameters()
    params[0].param_group = "encoder"  # type: ignore[attr-defined]
    opt = build(params, encoder=group(0.1), default=group(0.2))
    for p in params:
        p.grad = torch.ones(2)
    opt.step(groups=["encoder"])
    assert not torch.equal(params[0], torch.ones(2)) and torch.equal(params[1], torch.ones(2))
    assert list(opt.state_dict()) == ["encoder", "default"]
    opt.load_state_dict({**opt.state_dict(), "loss_scale": 2.0})
    with pytest.raises(KeyError, match="decoder"):
        opt.load_state_dict({"decoder": {}})
    assert opt.lr_scheduler.step_update(1) == {"encoder": 0.1, "default": 0.2}
