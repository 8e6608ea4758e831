"""Architecture presets as tables."""

from __future__ import annotations

import argparse

import pytest

from fairseq.compat.arch import Preset, apply_preset, derived, forced, is_given, preset_functions, same_as, times

TABLE = {
    "toy": Preset(width=8, ffn=times("width", 4), out=same_as("width"), sizes=[1, 2], path=None),
    "toy_wide": Preset(base="toy", width=16),
    "toy_wider": Preset(base="toy_wide", ffn=100),
}


def filled(name: str, **given: object) -> argparse.Namespace:
    args = argparse.Namespace(**given)
    apply_preset(args, name, TABLE)
    return args


def test_own_values_come_before_those_of_the_base() -> None:
    assert vars(filled("toy_wider")) == {"ffn": 100, "width": 16, "out": 16, "sizes": [1, 2], "path": None}


def test_what_the_user_gave_stays_and_leads_what_follows_it() -> None:
    args = filled("toy", width=3)
    assert (args.width, args.ffn, args.out) == (3, 12, 3)


def test_none_that_the_user_gave_is_a_value_unless_the_preset_says_otherwise() -> None:
    assert filled("toy", width=None, ffn=1).width is None
    args = argparse.Namespace(width=None)
    apply_preset(args, Preset(width=5, none_is_missing=True), {})
    assert args.width == 5


def test_forced_values_overrule_the_user() -> None:
    args = argparse.Namespace(norm=False, limit=7)
    apply_preset(args, Preset(norm=forced(True), cap=forced(same_as("limit"))), {})
    assert args.norm is True
    assert args.cap == 7


def test_rules_run_before_and_after_the_values() -> None:
    seen: list[bool] = []
    preset = Preset(
        before=(lambda args: seen.append(hasattr(args, "width")),),
        after=(lambda args: seen.append(hasattr(args, "width")),),
        width=derived(lambda args: len(vars(args))),
    )
    args = argparse.Namespace()
    apply_preset(args, preset, {})
    assert seen == [False, True]
    assert args.width == 0


def test_a_list_of_the_table_is_not_shared_between_models() -> None:
    filled("toy").sizes.append(3)
    assert filled("toy").sizes == [1, 2]


def test_a_closed_config_takes_new_values() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    cfg = omegaconf.OmegaConf.create({"width": 4, "ffn": "???"})
    omegaconf.OmegaConf.set_struct(cfg, True)
    assert not is_given(cfg, "ffn")
    apply_preset(cfg, "toy", TABLE)
    assert cfg == {"width": 4, "ffn": 16, "out": 4, "sizes": [1, 2], "path": None}


def test_a_function_without_a_preset_is_refused() -> None:
    arch = preset_functions(__name__, "lstm", TABLE)
    with pytest.raises(KeyError, match="no preset 'toy_tiny'"):
        arch("toy_tiny")


def test_a_helper_function_is_not_registered() -> None:
    from fairseq.models import ARCH_MODEL_REGISTRY

    helper = preset_functions(__name__, "lstm", TABLE)("helper", preset="toy")
    args = argparse.Namespace()
    helper(args)
    assert args.ffn == 32
    assert (helper.__module__, helper.__qualname__) == (__name__, "helper")
    assert "helper" not in ARCH_MODEL_REGISTRY
