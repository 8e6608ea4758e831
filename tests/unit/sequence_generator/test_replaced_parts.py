"""Parts that others put in the place of ours: each is called, and what it does shows in the hypotheses."""

from __future__ import annotations

import math
from argparse import Namespace
from typing import Any

import pytest
import torch
import toys
from test_engine import WORDS, assert_same, transformer
from torch import Tensor

from fairseq import search
from fairseq.models.transformer import TransformerDecoder, TransformerModel
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from fairseq.tasks.translation import TranslationConfig, TranslationTask

TASK = TranslationTask(TranslationConfig(), WORDS, WORDS)
OPTIONS = Namespace(beam=4, max_len_b=9)


def generate(models: Any = None, task: Any = TASK, **build: Any) -> Any:
    """What the command-line tools do: the task builds a generator, and takes a step with it."""
    models = models or [transformer()]
    generator = task.build_generator(models, OPTIONS, **build)
    return task.inference_step(generator, models, toys.batch(WORDS, toys.SOURCES))


def words(found: Any) -> list[list[list[int]]]:
    return [[h["tokens"].tolist() for h in hypotheses] for hypotheses in found]


def test_a_generator_class_gets_its_own_arguments_through_the_task() -> None:
    class Loud(SequenceGenerator):
        def __init__(self, models: Any, words: Any, banned: int = -1, **kwargs: Any) -> None:
            super().__init__(models, words, **kwargs)
            self.banned = banned

        def generate(self, models: Any, sample: Any, **kwargs: Any) -> Any:
            found = super().generate(models, sample, **kwargs)
            return [[h for h in hypotheses if self.banned not in h["tokens"].tolist()] for hypotheses in found]

    plain = generate()
    banned = next(w for h in words(plain)[0][1:] for w in h if w not in words(plain)[0][0])
    found = generate(seq_gen_cls=Loud, extra_gen_cls_kwargs={"banned": banned})
    assert words(found) == [[h for h in hypotheses if banned not in h] for hypotheses in words(plain)]
    assert words(found) != words(plain)


def test_further_arguments_reach_our_own_generator() -> None:
    found = generate(extra_gen_cls_kwargs={"tokens_to_suppress": ["w3", "w4"], "eos": WORDS.index("w5")})
    banned = {WORDS.index(word) for word in ("w3", "w4")}
    for hypotheses in found:
        for h in hypotheses:
            assert not banned & set(h["tokens"].tolist()) and h["tokens"][-1] == WORDS.index("w5")
    assert any(banned & set(h) for hypotheses in words(generate()) for h in hypotheses)


def test_a_task_may_take_its_own_steps() -> None:
    class Own(TranslationTask):
        def inference_step(
            self, generator: Any, models: Any, sample: Any, prefix_tokens: Any = None, constraints: Any = None
        ) -> Any:
            prefix = torch.full((3, 1), 11)
            return super().inference_step(generator, models, sample, prefix, constraints)

    found = generate(task=Own(TranslationConfig(), WORDS, WORDS))
    assert all(h[0] == 11 for hypotheses in words(found) for h in hypotheses)
    assert words(found) != words(generate())


def test_a_search_may_choose_otherwise() -> None:
    calls: list[int] = []

    class Odd(search.BeamSearch):
        """Only words with odd numbers, and the end."""

        def step(self, step: int, lprobs: Tensor, scores: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(step)
            ending = lprobs[:, :, self.eos].clone()
            lprobs[:, :, ::2] = -math.inf
            lprobs[:, :, self.eos] = ending
            return super().step(step, lprobs, scores, *args, **kwargs)

    model = transformer()
    generator = SequenceGenerator([model], WORDS, beam_size=4, max_len_b=9, search_strategy=Odd(WORDS))
    found = words(generator.generate(None, toys.batch(WORDS, toys.SOURCES)))
    assert all(word % 2 or word == WORDS.eos() for hypotheses in found for h in hypotheses for word in h)
    assert calls[:3] == [0, 1, 2] and found != words(generate([model]))


def test_a_decoder_reorders_a_state_of_its_own() -> None:
    class Counting(TransformerDecoder):
        """Favours words that its hypothesis has said, which it knows from a state of its own."""

        follows = True

        def forward(self, prev_output_tokens: Tensor, *args: Any, incremental_state: Any = None, **kwargs: Any) -> Any:
            scores, extra = super().forward(prev_output_tokens, *args, incremental_state=incremental_state, **kwargs)
            kept = self.get_incremental_state(incremental_state, "said")
            said = scores.new_zeros(scores.size(0), scores.size(2)) if kept is None else kept["counts"]
            said = said.scatter_add(1, prev_output_tokens[:, -1:], torch.ones(len(said), 1))
            self.set_incremental_state(incremental_state, "said", {"counts": said})
            wanted = torch.nn.functional.one_hot(prev_output_tokens, scores.size(2)).sum(1)
            right.append(torch.equal(said, wanted.to(said)))
            return scores + said.unsqueeze(1), extra

        def reorder_incremental_state(self, incremental_state: Any, new_order: Tensor) -> None:
            super().reorder_incremental_state(incremental_state, new_order)
            kept = self.get_incremental_state(incremental_state, "said")
            if kept is not None and self.follows:
                counts = kept["counts"].index_select(0, new_order)
                self.set_incremental_state(incremental_state, "said", {"counts": counts})

    right: list[bool] = []
    found = generate([transformer(decoder=Counting)])
    assert all(right) and words(found) != words(generate())
    right.clear()
    Counting.follows = False
    generate([transformer(decoder=Counting)])
    assert not all(right)


@pytest.mark.parametrize("owner", ["model", "decoder"])
def test_probabilities_may_be_normalised_otherwise(owner: str) -> None:
    calls: list[bool] = []

    def flat(self: Any, net_output: Any, log_probs: bool, sample: Any = None) -> Tensor:
        calls.append(log_probs)
        return torch.log_softmax(net_output[0].float() * 0.1, dim=-1)

    base: Any = TransformerModel if owner == "model" else TransformerDecoder
    own = type("Own", (base,), {"get_normalized_probs": flat})
    found = generate([transformer(**{owner: own})])
    scores = [float(h["positional_scores"][0]) for hypotheses in found for h in hypotheses]
    assert calls and all(calls)
    # Ten times flatter distributions.
    assert max(scores) < max(float(h["positional_scores"][0]) for found in generate() for h in found)


def test_an_ensemble_may_step_otherwise() -> None:
    class Without(EnsembleModel):
        def forward_decoder(self, *args: Any, **kwargs: Any) -> Any:
            lprobs, attention = super().forward_decoder(*args, **kwargs)
            lprobs[:, banned] = -math.inf
            return lprobs, attention

    plain = generate()
    banned = plain[0][0]["tokens"][0].item()
    found = generate(Without([transformer()]))
    assert all(banned not in h for hypotheses in words(found) for h in hypotheses)
    assert_same(generate(EnsembleModel([transformer()])), plain)
