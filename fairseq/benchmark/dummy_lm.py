"""Made-up text to continue."""

import logging
from dataclasses import dataclass
from typing import Any, Optional

import torch

from fairseq.benchmark.dummy_dataset import DummyDataset, batch_of_rows, make_dictionary, rows_of_a_batch
from fairseq.data.dictionary import Dictionary
from fairseq.dataclass.configs import II, FairseqDataclass
from fairseq.dataclass.fields import option
from fairseq.tasks import register_task
from fairseq.tasks.fairseq_task import FairseqTask

__all__ = ["DummyLMConfig", "DummyLMTask", "MadeUpTextTask"]

logger = logging.getLogger(__name__)


@dataclass
class DummyLMConfig(FairseqDataclass):
    dict_size: int = 49996
    dataset_size: int = 100000
    tokens_per_sample: int = option(512, "tokens of every sample")
    add_bos_token: bool = False
    batch_size: Optional[int] = II("dataset.batch_size")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    max_target_positions: int = II("task.tokens_per_sample")


class MadeUpTextTask(FairseqTask):
    """Every batch is the same row of ascending tokens, over and over.

    Attributes:
        dictionary: ``word0``, ``word1``, ...
        dummy_src, dummy_tgt: the row and what is to be predicted, ``(tokens_per_sample,)``.
    """

    dummy_src: torch.Tensor
    dummy_tgt: torch.Tensor

    def __init__(self, cfg: Any, *more_symbols: str) -> None:
        super().__init__(cfg)
        self.dictionary = make_dictionary(cfg.dict_size, *more_symbols)
        logger.info("dictionary: %s types", len(self.dictionary))
        # Tokens from the end of sentence on, and one to predict behind them.
        if cfg.tokens_per_sample + self.dictionary.eos() >= len(self.dictionary):
            raise ValueError(
                f"--tokens-per-sample {cfg.tokens_per_sample} needs as many different tokens: --dict-size "
                f"{cfg.dict_size} is too small"
            )

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **kwargs: Any) -> None:  # type: ignore[override]
        cfg = self.cfg
        rows = rows_of_a_batch(cfg.batch_size, cfg.max_tokens, cfg.tokens_per_sample)
        length = cfg.tokens_per_sample
        batch = batch_of_rows(self.dummy_src, self.dummy_tgt, rows, length, length)
        self.datasets[split] = DummyDataset(batch, cfg.dataset_size, cfg.tokens_per_sample)

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary


@register_task("dummy_lm", dataclass=DummyLMConfig)
class DummyLMTask(MadeUpTextTask):
    """Each token is followed by the next one of the dictionary."""

    def __init__(self, cfg: DummyLMConfig) -> None:
        super().__init__(cfg)
        tokens = torch.arange(cfg.tokens_per_sample + 1) + self.dictionary.eos()
        self.dummy_src, self.dummy_tgt = tokens[:-1], tokens[1:]
