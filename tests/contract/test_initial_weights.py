"""A seed gives the initial weights it always gave: same draws, in the same order.

``golden/initial_weights.json`` holds what upstream 0.12.2 drew after ``torch.manual_seed(1)`` for dictionaries of
twelve words: the sum of the magnitudes of each parameter, and the next random number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

CASES = json.loads((Path(__file__).parent / "golden" / "initial_weights.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dictionaries")
    words = [*"abcdefghij", "madeupword0000", "madeupword0001"]
    for name in ("dict.txt", "dict.aa.txt", "dict.bb.txt"):
        (folder / name).write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["options"].replace("--", "").replace(" ", "-")[:90])
def test_initial_weights_are_those_of_upstream(case: dict[str, Any], data: Path) -> None:
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    words = case["options"].split()
    pair = [] if "language_modeling" in words else ["-s", "aa", "-t", "bb"]
    args = options.parse_args_and_arch(options.get_training_parser(), [str(data), *pair, *words])
    cfg = convert_namespace_to_omegaconf(args)
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    weights = task.build_model(cfg.model).state_dict()
    found = {name: float(weights[name].double().abs().sum()) for name in case["sums"]}
    assert found == pytest.approx(case["sums"], rel=1e-5, abs=1e-7)
    assert [name for name in weights if name in case["sums"]] == list(case["sums"]), "order of the state dict"
    assert float(torch.rand(1)) == pytest.approx(case["next"])
