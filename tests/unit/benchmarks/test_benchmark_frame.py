"""The frame of the benchmarks: costs of children, ratios, medians, the report. No figure is compared with a clock."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks are part of the checkout only", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import _measure, _report  # noqa: E402


def side(name: str) -> _measure.Side:
    return _measure.Side(name, sys.executable, "", ROOT)


def test_a_child_is_charged_for_its_own_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint('done')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}], check=True)"
    code, used = _measure.measure_child([sys.executable, "-c", parent], os.environ)
    assert code == 0
    assert used.output.strip() == "done"
    assert used.cpu >= 0.3
    assert used.memory > 1


def test_a_failing_side_ends_the_program_with_its_output() -> None:
    with pytest.raises(SystemExit, match=r"(?s)peer: -c .*failed with 3.*what happened"):
        side("peer").run("-c", "print('what happened'); raise SystemExit(3)")


def test_a_ratio_above_one_is_better_whatever_is_counted() -> None:
    assert _measure.Row("x", "cpu", this=2.0, peer=6.0).ratio == 3.0
    assert _measure.Row("x", "words per second", this=6.0, peer=2.0).ratio == 3.0
    assert _measure.Row("x", "tokens", this=6.0, peer=2.0, unit="t", more_is_better=False).ratio == pytest.approx(1 / 3)
    assert _measure.Row("x", "cpu", this=2.0).ratio is None


def test_sides_take_turns_and_medians_are_compared(tmp_path: Path) -> None:
    setup = _measure.Setup(side("this"), side("peer"), 3, tmp_path)
    figures = {"this": [1.0, 100.0, 2.0], "peer": [4.0, 4.0, 5.0]}
    order = []

    def measure(who: _measure.Side, turn: int) -> dict[str, float]:
        order.append((who.name, turn))
        return {"cpu": figures[who.name][turn]}

    (row,) = setup.compare("work", measure)
    assert order == [(name, turn) for turn in range(3) for name in ("this", "peer")]
    assert (row.this, row.peer, row.ratio, row.runs) == (2.0, 4.0, 2.0, 3)
    assert row.spread == 49.0


def test_the_report_has_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        _measure.Row("work", "cpu", 2.0, 4.0, runs=3, spread=0.1),
        _measure.Row("work", "cpu", 3.0, 6.0, against="import torch"),
    ]
    _report.write(tmp_path, {"date": "2026-01-01"}, {"startup": rows})
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| work | cpu, s | 2.00 x peer | 2 | 4 | 3 runs, +-10 % |" in text
    assert "2.00 x import torch" in text
    body = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row["ratio"] for row in body["benchmarks"]["startup"]["rows"]] == [2.0, 2.0]
    said = capsys.readouterr().out
    assert (tmp_path / "report.svg").exists() or "matplotlib is missing" in said


def test_a_later_run_renews_its_part_of_the_report_only(tmp_path: Path) -> None:
    def row(figure: float) -> _measure.Row:
        return _measure.Row("work", "cpu", figure, 6.0)

    _report.write(tmp_path, {"date": "2026-01-01"}, {"startup": [row(1.0)], "tutorial": [row(2.0)]})
    _report.write(tmp_path, {"date": "2026-01-02"}, {"tutorial": [row(3.0)]})
    parts = _report.read(tmp_path)
    assert {name: (part.about["date"], part.rows) for name, part in parts.items()} == {
        "startup": ("2026-01-01", [_measure.Row("work", "cpu", 1.0, 6.0, unit="s")]),
        "tutorial": ("2026-01-02", [_measure.Row("work", "cpu", 3.0, 6.0, unit="s")]),
    }
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.count("- date: 2026-01-01") == text.count("- date: 2026-01-02") == 1


def test_every_benchmark_says_what_it_measures_and_has_rows() -> None:
    assert {"startup", "preprocess", "tutorial"} <= set(_report.names())
    for name in _report.names():
        module = __import__(f"benchmarks.{name}", fromlist=["rows"])
        assert callable(module.rows)
        assert _report.describe(name).endswith(".")
