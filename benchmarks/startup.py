"""``--help`` of every tool, as a multiple of a bare ``import torch`` on the same Python, and against the peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks._measure import Row, Setup

TOOLS = ["preprocess", "train", "generate", "interactive", "score", "validate", "eval_lm"]


def rows(setup: Setup) -> Iterator[Row]:
    """One row for the sum of all tools against the peer, then one for every tool against ``import torch``."""
    yield from setup.compare(
        "--help of train", lambda side, turn: side.run("-m", "fairseq_cli.train", "--help").figures()
    )
    torch = statistics.median(setup.this.run("-c", "import torch").cpu for _ in range(setup.repeat))
    for tool in TOOLS:
        times = [setup.this.run("-m", f"fairseq_cli.{tool}", "--help").cpu for _ in range(setup.repeat)]
        took = statistics.median(times)
        yield Row(f"--help of {tool}", "cpu", took, torch, against="import torch", runs=setup.repeat)
