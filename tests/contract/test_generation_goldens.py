"""Search, scoring and constraints give the numbers that were recorded from the original toolkit.

The model of these cases is a table (see ``tests/unit/toys.py``); sampling draws from NumPy's stream through
inverse cumulative sums, because torch's own draws differ between its versions.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "unit"))
import toys  # noqa: E402

CASES = json.loads((HERE / "golden" / "generation.json").read_text(encoding="utf-8"))["cases"]


@contextmanager
def fixed_draws(seed: int) -> Iterator[None]:
    rng = np.random.RandomState(seed)

    def multinomial(probs: Any, num_samples: int, replacement: bool = False) -> Any:
        rows = probs.double().reshape(-1, probs.size(-1))
        cumulative = (rows.cumsum(-1) / rows.sum(-1, keepdim=True)).contiguous()
        numbers = torch.from_numpy(rng.random_sample((rows.size(0), num_samples)))
        picked = torch.searchsorted(cumulative, numbers, right=True).clamp(max=rows.size(1) - 1)
        return picked.view(*probs.shape[:-1], num_samples)

    with mock.patch.object(torch, "multinomial", multinomial):
        yield


def strategy(given: dict[str, Any], words: Any) -> Any:
    from fairseq import search

    name, options = given.get("search", (None, {}))
    if name is None:
        return None
    if name == "PrefixConstrainedBeamSearch":

        def allowed(batch_id: int, tokens: Any) -> list[int]:
            good = [w for w in options["allowed"] if (w + len(tokens)) % 2 == 0 or len(tokens) > 4]
            return [words.eos(), *good]

        return search.PrefixConstrainedBeamSearch(words, allowed)
    return getattr(search, name)(words, **options)


def batch(given: dict[str, Any], words: Any) -> dict[str, Any]:
    sample = toys.batch(words, given["source"])
    if "target" in given:
        rows = [torch.tensor([*row, words.eos()]) for row in given["target"]]
        pad = torch.nn.utils.rnn.pad_sequence
        sample["target"] = pad(rows, batch_first=True, padding_value=words.pad())
        sample["net_input"]["prev_output_tokens"] = pad(
            [row.roll(1) for row in rows], batch_first=True, padding_value=words.pad()
        )
    return sample


def plain(found: list[Any], nbest: int | None = None) -> list[Any]:
    result = []
    for hypotheses in found:
        rows = []
        for h in hypotheses[:nbest]:
            row = {"tokens": h["tokens"].tolist(), "score": float(h["score"])}
            row["positional_scores"] = h["positional_scores"].tolist()
            if h["attention"] is not None and h["attention"].numel() > 0:
                row["attention_sum"] = h["attention"].sum(0).tolist()
            rows.append(row)
        result.append(rows)
    return result


def generate(given: dict[str, Any]) -> Any:
    from fairseq.sequence_generator import SequenceGenerator
    from fairseq.token_generation_constraints import pack_constraints

    words = toys.dictionary(given["vocab"])
    members = [toys.model(words, given["seed"] + i, given["gain"]) for i in range(given.get("ensemble", 1))]
    generator = SequenceGenerator(members, words, search_strategy=strategy(given, words), **given["args"])
    call: dict[str, Any] = {}
    if "prefix" in given:
        call["prefix_tokens"] = torch.tensor(given["prefix"])
    if "constraints" in given:
        call["constraints"] = pack_constraints([[torch.tensor(c) for c in row] for row in given["constraints"]])
    with fixed_draws(given.get("draws", 0)):
        return plain(generator.generate(None, batch(given, words), **call), given.get("nbest"))


def score(given: dict[str, Any]) -> Any:
    from fairseq.sequence_scorer import SequenceScorer

    words = toys.dictionary(given["vocab"])
    members = [toys.model(words, given["seed"] + i, given["gain"]) for i in range(given.get("ensemble", 1))]
    return plain(SequenceScorer(words, **given.get("args", {})).generate(members, batch(given, words)))


def search_step(given: dict[str, Any]) -> Any:
    words = toys.dictionary(given["vocab"])
    chosen = strategy(given, words)
    rng = np.random.RandomState(given["seed"])
    (bsz, beam), step, size = given["shape"], given["step"], len(words)
    lprobs = torch.from_numpy(rng.standard_normal((bsz, beam, size)).astype("float32")).log_softmax(-1)
    scores = torch.from_numpy(-np.abs(rng.standard_normal((bsz, beam, max(step, 1)))).astype("float32"))
    chosen.set_src_lengths(torch.tensor([6] * bsz))
    with fixed_draws(given.get("draws", 0)):
        return [part.tolist() for part in chosen.step(step, lprobs, scores if step else None)]


def ngram_block(given: dict[str, Any]) -> Any:
    from fairseq.ngram_repeat_block import NGramRepeatBlock

    tokens = torch.tensor(given["tokens"])
    lprobs = torch.zeros(tokens.size(0), given["vocab"])
    NGramRepeatBlock(given["n"])(tokens, lprobs, given["bsz"], given["beam"], given["step"])
    return [row.isinf().nonzero().flatten().tolist() for row in lprobs]


def constraint_states(given: dict[str, Any]) -> Any:
    from fairseq import token_generation_constraints as constraints

    packed = constraints.pack_constraints([[torch.tensor(c) for c in row] for row in given["constraints"]])
    name = "OrderedConstraintState" if given["ordered"] else "UnorderedConstraintState"
    runs = []
    for row in packed:
        state, log = getattr(constraints, name).create(row), []
        for token in given["feed"]:
            state = state.advance(token)
            following = sorted(state.next_tokens())
            log.append([state.name, state.bank, state.num_completed, state.finished, following])
        runs.append(log)
    unpacked = [[c.tolist() for c in constraints.unpack_constraints(row)] for row in packed]
    return {"packed": packed.tolist(), "unpacked": unpacked, "runs": runs}


def same(want: Any, got: Any, where: str = "") -> None:
    if isinstance(want, dict):
        for key, value in want.items():
            same(value, got[key], f"{where}/{key}")
    elif isinstance(want, list):
        assert len(want) == len(got), f"{where}: {len(want)} items expected, {len(got)} found"
        for i, (a, b) in enumerate(zip(want, got)):
            same(a, b, f"{where}[{i}]")
    elif isinstance(want, float):
        close = math.isclose(want, got, rel_tol=1e-4, abs_tol=1e-5) or (math.isnan(want) and math.isnan(got))
        assert close, f"{where}: {want} expected, {got} found"
    else:
        assert want == got, f"{where}: {want!r} expected, {got!r} found"


KINDS = {f.__name__: f for f in (generate, score, search_step, ngram_block, constraint_states)}


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_recorded_numbers_are_found_again(case: dict[str, Any]) -> None:
    same(case["expect"], KINDS[case["kind"]](case["given"]))
