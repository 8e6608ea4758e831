"""Made-up text with masks."""

from dataclasses import dataclass
from typing import Optional

import torch

from fairseq.benchmark.dummy_lm import MadeUpTextTask
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task

__all__ = ["DummyMaskedLMConfig", "DummyMaskedLMTask"]

# The first token to predict, and the distance to the next: about 15 %, as in BERT.
FIRST, DISTANCE = 2, 7


@dataclass
class DummyMaskedLMConfig(FairseqDataclass):
    dict_size: int = 49996
    dataset_size: int = 100000
    tokens_per_sample: int = option(512, "tokens of every sample")
    batch_size: Optional[int] = II("dataset.batch_size")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    max_target_positions: int = II("task.tokens_per_sample")


@register_task("dummy_masked_lm", dataclass=DummyMaskedLMConfig)
class DummyMaskedLMTask(MadeUpTextTask):
    """Every seventh token is to be predicted.

    Attributes:
        mask_idx: number of ``<mask>``. In the rows token 0 stands in its place, as it did in every release.
    """

    def __init__(self, cfg: DummyMaskedLMConfig) -> None:
        super().__init__(cfg, "<mask>")
        self.mask_idx = self.dictionary.index("<mask>")
        tokens = torch.arange(cfg.tokens_per_sample) + self.dictionary.eos()
        masked = torch.arange(FIRST, cfg.tokens_per_sample, DISTANCE)
        self.dummy_src = tokens.index_fill(0, masked, 0)
        self.dummy_tgt = torch.full_like(tokens, self.dictionary.pad()).index_copy(0, masked, tokens[masked])
