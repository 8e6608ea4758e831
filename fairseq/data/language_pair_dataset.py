"""Pairs of source and target sentences, the data of translation."""

import logging
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.batching.size_limits import take_sizes
from fairseq.data.data_utils_fast import shuffle, stable_order
from fairseq.data.fairseq_dataset import FairseqDataset

__all__ = ["LanguagePairDataset", "collate"]

logger = logging.getLogger(__name__)

Sample = dict[str, Any]


def collate(
    samples: Sequence[Sample],
    pad_idx: int,
    eos_idx: Optional[int],
    left_pad_source: bool = True,
    left_pad_target: bool = False,
    input_feeding: bool = True,
    pad_to_length: Optional[dict[str, int]] = None,
    pad_to_multiple: int = 1,
) -> dict[str, Any]:
    """Make a mini-batch of sentence pairs, longest source first.

    Args:
        samples: dictionaries with ``id``, ``source`` ``(source length,)``, ``target`` (a tensor or ``None``) and
            possibly ``alignment`` (``[s0, t0, s1, t1, ...]``) and ``constraints``.
        pad_idx: padding token.
        eos_idx: begins ``prev_output_tokens``; ``None`` takes each target's own last token.
        left_pad_source, left_pad_target: pad in front.
        input_feeding: add ``prev_output_tokens``, the targets with the end of sentence moved to the front.
        pad_to_length: minimal widths under ``source`` and ``target``.
        pad_to_multiple: widths are rounded up to it.

    Returns:
        ``id`` ``(B,)``, ``nsentences``, ``ntokens`` (of the target; of the source without one), ``net_input`` with
        ``src_tokens`` ``(B, S)``, ``src_lengths`` ``(B,)`` and ``prev_output_tokens`` ``(B, T)``, and ``target``
        ``(B, T)`` or ``None``; with alignments ``alignments`` ``(N, 2)``, positions in the padded source row and in
        the flattened target, and ``align_weights`` ``(N,)``; with constraints ``constraints``. No samples give ``{}``.
    """
    if len(samples) == 0:
        return {}
    widths = pad_to_length or {}

    def merge(key: str, left_pad: bool, rotate: bool = False) -> Tensor:
        return data_utils.collate_tokens(
            [sample[key] for sample in samples],
            pad_idx,
            eos_idx,
            left_pad=left_pad,
            move_eos_to_beginning=rotate,
            pad_to_length=widths.get(key),
            pad_to_multiple=pad_to_multiple,
        )

    source = merge("source", left_pad_source)
    src_lengths, order = source.ne(pad_idx).sum(1).sort(descending=True, stable=True)
    source = source[order]
    ids = torch.tensor([int(sample["id"]) for sample in samples], dtype=torch.long)[order]
    net_input: dict[str, Any] = {"src_tokens": source, "src_lengths": src_lengths}
    target: Optional[Tensor] = None
    tgt_lengths: Optional[Tensor] = None
    ntokens = int(src_lengths.sum())
    if samples[0].get("target", None) is not None:
        target = merge("target", left_pad_target)[order]
        tgt_lengths = target.ne(pad_idx).sum(1)
        ntokens = int(tgt_lengths.sum())
        if samples[0].get("prev_output_tokens", None) is not None:
            net_input["prev_output_tokens"] = merge("prev_output_tokens", left_pad_target)[order]
        elif input_feeding:
            net_input["prev_output_tokens"] = merge("target", left_pad_target, rotate=True)[order]
    batch: dict[str, Any] = {
        "id": ids,
        "nsentences": len(samples),
        "ntokens": ntokens,
        "net_input": net_input,
        "target": target,
    }
    if target is not None and tgt_lengths is not None and samples[0].get("alignment", None) is not None:
        batch.update(
            _collate_alignments(
                [samples[i]["alignment"] for i in order.tolist()],
                (source.shape[1] - src_lengths if left_pad_source else torch.zeros_like(src_lengths)),
                (target.shape[1] - tgt_lengths if left_pad_target else torch.zeros_like(tgt_lengths)),
                src_lengths,
                tgt_lengths,
                target.shape[1],
            )
        )
    if samples[0].get("constraints", None) is not None:
        rows = [samples[i]["constraints"] for i in order.tolist()]
        batch["constraints"] = data_utils.collate_tokens(rows, 0).long()
    return batch


def _collate_alignments(
    alignments: Sequence[Tensor],
    src_offsets: Tensor,
    tgt_offsets: Tensor,
    src_lengths: Tensor,
    tgt_lengths: Tensor,
    tgt_width: int,
) -> dict[str, Tensor]:
    """Word alignments of a batch as ``alignments`` ``(N, 2)`` and ``align_weights`` ``(N,)``; empty without any.

    A target word aligned to n source words gives each of them the weight 1/n.
    """
    kept: list[Tensor] = []
    for row, flat in enumerate(alignments):
        pairs = flat.view(-1, 2)
        if len(pairs) == 0:
            continue
        # The last token of either side is the end of sentence, which no word is aligned to.
        if pairs[:, 0].max() >= src_lengths[row] - 1 or pairs[:, 1].max() >= tgt_lengths[row] - 1:
            logger.warning("alignment size mismatch found, skipping alignment!")
            continue
        offset = torch.stack([src_offsets[row], tgt_offsets[row] + row * tgt_width])
        kept.append(pairs + offset)
    if not kept:
        return {}
    merged = torch.cat(kept)
    _, inverse, counts = torch.unique(merged[:, 1], return_inverse=True, return_counts=True)
    return {"alignments": merged, "align_weights": 1.0 / counts[inverse].float()}


class LanguagePairDataset(FairseqDataset):
    """Sentence pairs; sources alone where there is no target (generation).

    Args:
        src: source sentences, each ``(length,)``.
        src_sizes: their lengths.
        src_dict: their dictionary.
        tgt, tgt_sizes, tgt_dict: the same for targets.
        left_pad_source, left_pad_target: pad batches in front.
        shuffle: shuffle sentences of equal length before batching.
        input_feeding: give the decoder the previous target tokens.
        remove_eos_from_source: drop a final end of sentence.
        append_eos_to_target: add an end of sentence where there is none.
        align_dataset: word alignments, flat ``[s0, t0, s1, t1, ...]`` per pair.
        constraints: packed lexical constraints per source, see :mod:`fairseq.token_generation_constraints`.
        append_bos: begin both sides with the beginning of sentence where they do not yet.
        eos: end-of-sentence token for batches; the source dictionary's by default.
        num_buckets: when > 0, pad sentences to one of so many lengths, so that batches have few shapes.
        src_lang_id, tgt_lang_id: language numbers put into batches.
        pad_to_multiple: round batch widths up to a multiple.
        max_source_positions, max_target_positions: given by tasks written for 0.9, where batches that were made up had
            this size; no data are made up any more, and tasks filter lengths.
    """

    def __init__(
        self,
        src: Any,
        src_sizes: Any,
        src_dict: Any,
        tgt: Any = None,
        tgt_sizes: Any = None,
        tgt_dict: Any = None,
        left_pad_source: bool = True,
        left_pad_target: bool = False,
        shuffle: bool = True,
        input_feeding: bool = True,
        remove_eos_from_source: bool = False,
        append_eos_to_target: bool = False,
        align_dataset: Any = None,
        constraints: Any = None,
        append_bos: bool = False,
        eos: Optional[int] = None,
        num_buckets: int = 0,
        src_lang_id: Optional[int] = None,
        tgt_lang_id: Optional[int] = None,
        pad_to_multiple: int = 1,
        max_source_positions: Optional[int] = None,
        max_target_positions: Optional[int] = None,
    ) -> None:
        super().__init__()
        _check_dictionaries(src_dict, tgt_dict)
        if tgt is not None and len(src) != len(tgt):
            raise AssertionError(
                f"every source needs one target, but there are {len(src)} sources and {len(tgt)} targets"
            )
        if align_dataset is not None and (tgt_sizes is None or tgt is None):
            raise AssertionError("Both source and target needed when alignments are provided")
        self.src = src
        self.tgt = tgt
        self.src_sizes = np.asarray(src_sizes)
        self.tgt_sizes = np.asarray(tgt_sizes) if tgt_sizes is not None else None
        self._sizes: Optional[NDArray[Any]] = None
        self.align_dataset = align_dataset
        self.append_eos_to_target = append_eos_to_target
        self.input_feeding = input_feeding
        self.left_pad_source = left_pad_source
        self.left_pad_target = left_pad_target
        self.remove_eos_from_source = remove_eos_from_source
        self.shuffle = shuffle
        self.src_dict = src_dict
        self.tgt_dict = tgt_dict
        self.constraints = constraints
        self.append_bos = append_bos
        self.eos = eos if eos is not None else src_dict.eos()
        self.src_lang_id = src_lang_id
        self.tgt_lang_id = tgt_lang_id
        self.pad_to_multiple = pad_to_multiple
        self.buckets: Optional[list[tuple[Optional[int], int]]] = None
        self.bucketed_num_tokens: Optional[NDArray[Any]] = None
        if num_buckets > 0:
            self._fill_buckets(num_buckets)

    def _fill_buckets(self, num_buckets: int) -> None:
        from fairseq.data.bucket_pad_length_dataset import BucketPadLengthDataset

        self.src = BucketPadLengthDataset(
            self.src, self.src_sizes, num_buckets, self.src_dict.pad(), left_pad=self.left_pad_source
        )
        self.src_sizes = self.src.sizes
        logger.info("bucketing source lengths: %s", list(self.src.buckets))
        if self.tgt is not None:
            self.tgt = BucketPadLengthDataset(
                self.tgt, self.tgt_sizes, num_buckets, self.tgt_dict.pad(), left_pad=self.left_pad_target
            )
            self.tgt_sizes = self.tgt.sizes
            logger.info("bucketing target lengths: %s", list(self.tgt.buckets))
        self.bucketed_num_tokens = self.num_tokens_vec(np.arange(len(self.src)))
        self.buckets = [(None, int(tokens)) for tokens in np.unique(self.bucketed_num_tokens)]

    @property
    def sizes(self) -> NDArray[Any]:
        """``(n, 2)`` source and target lengths; ``(n,)`` without targets. Made when asked for, unless it was set."""
        if self._sizes is not None:
            return self._sizes
        if self.tgt_sizes is None:
            return self.src_sizes
        return np.vstack((self.src_sizes, self.tgt_sizes)).T

    @sizes.setter
    def sizes(self, value: NDArray[Any]) -> None:
        self._sizes = value

    def get_batch_shapes(self) -> Optional[list[tuple[Optional[int], int]]]:
        return self.buckets

    def __len__(self) -> int:
        return len(self.src)

    def __getitem__(self, index: int) -> Sample:
        source = self.src[index]
        target = self.tgt[index] if self.tgt is not None else None
        if self.append_eos_to_target and target is not None:
            eos = (self.tgt_dict or self.src_dict).eos()
            if target[-1] != eos:
                target = torch.cat([target, target.new_tensor([eos])])
        if self.append_bos:
            source = _begin_with(source, self.src_dict.bos())
            if target is not None:
                target = _begin_with(target, (self.tgt_dict or self.src_dict).bos())
        if self.remove_eos_from_source and source[-1] == self.src_dict.eos():
            # Recorded behaviour: the stored sentence is cut, so this option takes precedence over append_bos.
            source = self.src[index][:-1]
        sample = {"id": index, "source": source, "target": target}
        if self.align_dataset is not None:
            sample["alignment"] = self.align_dataset[index]
        if self.constraints is not None:
            sample["constraints"] = self.constraints[index]
        return sample

    def collater(self, samples: Sequence[Sample], pad_to_length: Optional[dict[str, int]] = None) -> dict[str, Any]:
        """See :func:`collate`; language numbers are ``net_input.src_lang_id`` ``(B, 1)`` and ``tgt_lang_id``."""
        batch = collate(
            samples,
            eos_idx=self.eos,
            input_feeding=self.input_feeding,
            left_pad_source=self.left_pad_source,
            left_pad_target=self.left_pad_target,
            pad_idx=self.src_dict.pad(),
            pad_to_length=pad_to_length,
            pad_to_multiple=self.pad_to_multiple,
        )
        if not batch:
            return batch
        rows = len(batch["net_input"]["src_tokens"])
        if self.src_lang_id is not None:
            batch["net_input"]["src_lang_id"] = torch.tensor([[self.src_lang_id]]).expand(rows, -1)
        if self.tgt_lang_id is not None:
            batch["tgt_lang_id"] = torch.tensor([[self.tgt_lang_id]]).expand(rows, -1)
        return batch

    def num_tokens(self, index: int) -> int:
        """The longer side counts."""
        tokens = int(self.src_sizes[index])
        return tokens if self.tgt_sizes is None else max(tokens, int(self.tgt_sizes[index]))

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        if self.tgt_sizes is None:
            return take_sizes(indices, self.src_sizes)
        return take_sizes(indices, self.src_sizes, self.tgt_sizes)

    def size(self, index: int) -> tuple[int, int]:
        """Lengths of source and target, 0 without a target."""
        return (int(self.src_sizes[index]), 0 if self.tgt_sizes is None else int(self.tgt_sizes[index]))

    def ordered_indices(self) -> NDArray[np.integer]:
        """By source length, then by target length, ties at random (``shuffle``) or as stored.

        With buckets: by padded length, ties at random or as stored.
        """
        # Halves the memory of very large data sets; the order is that of 64-bit numbers.
        narrow = np.int32 if len(self) < 2**31 else np.int64
        order: NDArray[Any] = np.arange(len(self), dtype=narrow)
        if self.shuffle:
            shuffle(order)
        if self.buckets is not None:
            return stable_order(order, self.bucketed_num_tokens, is_permutation=True)
        return stable_order(order, self.tgt_sizes, self.src_sizes, is_permutation=True)

    @property
    def supports_prefetch(self) -> bool:
        return any(getattr(part, "supports_prefetch", False) for part in (self.src, self.tgt, self.align_dataset))

    def prefetch(self, indices: Any) -> None:
        # The parts may have different formats: those that can be prefetched must be.
        for part in (self.src, self.tgt, self.align_dataset):
            if getattr(part, "supports_prefetch", False):
                part.prefetch(indices)

    def filter_indices_by_size(
        self, indices: NDArray[Any], max_sizes: Union[int, float, tuple[int, int], None]
    ) -> tuple[NDArray[Any], list[int]]:
        """Keep pairs of which both sides are short enough; ``max_sizes`` may be ``(source, target)``."""
        return data_utils.filter_paired_dataset_indices_by_size(self.src_sizes, self.tgt_sizes, indices, max_sizes)


def _check_dictionaries(src_dict: Any, tgt_dict: Any) -> None:
    """Special tokens must have the same numbers on both sides."""
    if tgt_dict is None:
        return
    for name in ("pad", "eos", "unk"):
        ours, theirs = getattr(src_dict, name)(), getattr(tgt_dict, name)()
        if ours != theirs:
            raise AssertionError(
                f"{name} has number {ours} in the source dictionary and {theirs} in the target dictionary; "
                "build both with the same special symbols"
            )


def _begin_with(tokens: Tensor, bos: int) -> Tensor:
    return tokens if tokens[0] == bos else torch.cat([tokens.new_tensor([bos]), tokens])
