"""Several data sets of sentence pairs behind each other, each with its own language tokens."""

from collections.abc import Sequence
from typing import Any, Optional

from fairseq.data.concat_dataset import ConcatDataset
from fairseq.data.language_pair_dataset import collate

__all__ = ["TransformEosConcatLangPairDataset"]


class TransformEosConcatLangPairDataset(ConcatDataset):
    """As ``ConcatDataset``; each sample's source ends, and its decoder input begins, with its data set's token.

    Args:
        datasets: sentence pairs with the same dictionaries and padding sides.
        src_eos: end of sources before; new_src_eos: afterwards, one per data set.
        tgt_bos: beginning of decoder inputs before; new_tgt_bos: afterwards, one per data set.

    Raises:
        AssertionError: numbers of tokens and data sets differ, or padding sides do.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        src_eos: int,
        tgt_bos: int,
        new_src_eos: Optional[Sequence[int]] = None,
        new_tgt_bos: Optional[Sequence[int]] = None,
    ) -> None:
        super().__init__(datasets)
        for name, tokens in (("new_src_eos", new_src_eos), ("new_tgt_bos", new_tgt_bos)):
            if tokens is not None and len(tokens) != len(self.datasets):
                raise AssertionError(f"{name} has {len(tokens)} tokens for {len(self.datasets)} data sets")
        self.src_eos = src_eos
        self.tgt_bos = tgt_bos
        self.new_src_eos = new_src_eos
        self.new_tgt_bos = new_tgt_bos
        self.left_pad_source = self.is_left_pad_source(datasets)
        self.left_pad_target = self.is_left_pad_target(datasets)
        self.pad_idx = self.src_dict_pad()

    def src_dict_pad(self) -> int:
        """The padding token."""
        pads = {dataset.src_dict.pad() for dataset in self.datasets}
        if len(pads) != 1:
            raise AssertionError(f"the data sets have different padding tokens: {sorted(pads)}")
        return pads.pop()

    def is_left_pad_source(self, datasets: Sequence[Any]) -> bool:
        """Whether sources are padded in front, which has to hold for all data sets or none."""
        return self._agreed([dataset.left_pad_source for dataset in datasets], "left_pad_source")

    def is_left_pad_target(self, datasets: Sequence[Any]) -> bool:
        """Whether targets are padded in front, which has to hold for all data sets or none."""
        return self._agreed([dataset.left_pad_target for dataset in datasets], "left_pad_target")

    @staticmethod
    def _agreed(values: Sequence[bool], name: str) -> bool:
        if len(set(values)) != 1:
            raise AssertionError(f"the data sets differ in {name}")
        return values[0]

    def __getitem__(self, idx: int) -> tuple[int, Any]:
        """The number of the data set and its sample."""
        dataset, sample = self._get_dataset_and_sample_index(idx)
        return dataset, self.datasets[dataset][sample]

    def collater(self, samples: Sequence[tuple[int, Any]], **extra_args: Any) -> Any:
        if len(samples) == 0:
            return {}
        first = self.datasets[0]
        return collate(
            [self._transformed(number, sample) for number, sample in samples],
            self.pad_idx,
            first.eos,
            self.left_pad_source,
            self.left_pad_target,
            first.input_feeding,
            pad_to_multiple=first.pad_to_multiple,
            **extra_args,
        )

    def _transformed(self, number: int, sample: dict[str, Any]) -> dict[str, Any]:
        """A sample with the tokens of data set ``number``."""
        changed = dict(sample)
        if self.new_src_eos is not None:
            if sample["source"][-1] != self.src_eos:
                raise AssertionError(f"expected sources to end with token {self.src_eos}, got {sample['source']}")
            changed["source"] = sample["source"].clone()
            changed["source"][-1] = self.new_src_eos[number]
        if self.new_tgt_bos is not None and sample.get("target") is not None and self.datasets[number].input_feeding:
            previous = sample["target"].roll(1)
            previous[0] = self.new_tgt_bos[number]
            changed["prev_output_tokens"] = previous
        return changed
