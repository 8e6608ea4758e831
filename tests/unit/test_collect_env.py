"""``fairseq-env`` reports, whatever the state of the installation."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import fairseq
from fairseq import collect_env


def test_the_report_has_versions_compiled_parts_and_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    collect_env.main(["--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["fairseq"]["version"] == fairseq.__version__
    assert found["system"]["python"] == sys.version.split()[0]
    assert all(found["required packages"][name] for name in ("torch", "numpy", "omegaconf", "hydra-core", "sacrebleu"))
    assert {"fairseq.data._kernels.batching", "fairseq.data._kernels.token_blocks"} <= set(found["compiled extensions"])
    assert {"tutorial_lstm", "classifying_names"} <= set(found["shipped plugins"])


def test_every_compiled_module_is_asked_for() -> None:
    package = Path(fairseq.__file__).parent
    sources = list(package.rglob("*.pyx"))
    if not sources:
        pytest.skip("sources of compiled modules are part of the checkout only")
    names = {".".join(path.relative_to(package.parent).with_suffix("").parts) for path in sources}
    assert names == set(collect_env.EXTENSIONS)


def test_the_text_has_a_dash_for_what_is_missing() -> None:
    text = collect_env.render({"one": {"here": "1.0", "gone": None}, "two": {"x": 3}})
    assert [line.split() for line in text.splitlines()] == [
        ["one"],
        ["here", "1.0"],
        ["gone", "-"],
        [],
        ["two"],
        ["x", "3"],
    ]


def test_a_broken_torch_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "cannot be imported" in collect_env.collect()["torch"]


def test_an_extension_that_cannot_be_loaded_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRSEQ_NO_EXTENSIONS", raising=False)
    monkeypatch.setitem(sys.modules, "fairseq.data._kernels.batching", None)
    assert collect_env._extension("fairseq.data._kernels.batching") is None
    monkeypatch.setenv("FAIRSEQ_NO_EXTENSIONS", "1")
    assert "switched off" in str(collect_env._extension("fairseq.data._kernels.batching"))
