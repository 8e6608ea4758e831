"""Denoising: sentences permuted, spans masked, tokens inserted, documents rotated (Lewis et al. 2020, BART)."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data import data_utils
from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.indexed_dataset import MMapIndexedDataset

__all__ = ["DenoisingDataset", "collate"]

MASK_LENGTHS = ("subword", "word", "span-poisson")
MAX_SPAN_TERMS = 128
SMALLEST_SPAN_PROBABILITY = 1e-7


def collate(
    samples: Sequence[dict[str, Any]],
    pad_idx: int,
    eos_idx: int,
    vocab: Any,
    left_pad_source: bool = False,
    left_pad_target: bool = False,
    input_feeding: bool = True,
    pad_to_length: Optional[dict[str, int]] = None,
) -> dict[str, Any]:
    """Make a mini-batch of noisy sources and clean targets, longest source first.

    Args:
        samples: dictionaries with ``id``, ``source`` and ``target``, each ``(length,)``.
        pad_idx: padding token.
        eos_idx, vocab: accepted for callers that pass them; each target's own last token is used.
        left_pad_source, left_pad_target: pad in front.
        input_feeding: has to be set.
        pad_to_length: minimal widths under ``source`` and ``target``.

    Returns:
        as for sentence pairs, and ``sort_order`` ``(B,)``; ``nsentences`` is the length of the first sample given
        (recorded behaviour that training logs show).
    """
    if len(samples) == 0:
        return {}
    if not input_feeding:
        raise AssertionError("denoising batches always hold prev_output_tokens")
    widths = pad_to_length or {}

    def merge(key: str, left_pad: bool, rotate: bool = False) -> Tensor:
        return data_utils.collate_tokens(
            [sample[key] for sample in samples],
            pad_idx,
            left_pad=left_pad,
            move_eos_to_beginning=rotate,
            pad_to_length=widths.get(key),
        )

    lengths = torch.tensor([sample["source"].numel() for sample in samples])
    src_lengths, order = lengths.sort(descending=True, stable=True)
    ids = torch.tensor([int(sample["id"]) for sample in samples], dtype=torch.long)
    net_input = {"src_tokens": merge("source", left_pad_source)[order], "src_lengths": src_lengths}
    target: Optional[Tensor] = None
    counted = "source"
    if samples[0].get("target", None) is not None:
        target = merge("target", left_pad_target)[order]
        net_input["prev_output_tokens"] = merge("target", left_pad_target, rotate=True)[order]
        counted = "target"
    return {
        "id": ids[order],
        "ntokens": sum(len(sample[counted]) for sample in samples),
        "net_input": net_input,
        "target": target,
        "nsentences": samples[0]["source"].size(0),
        "sort_order": order,
    }


def _span_length_distribution(mean: float) -> torch.distributions.Categorical:
    """Poisson, cut off where it becomes negligible."""
    term, terms = math.exp(-mean), []
    for length in range(MAX_SPAN_TERMS):
        terms.append(term)
        if term < SMALLEST_SPAN_PROBABILITY:
            break
        term *= mean / (length + 1)
    return torch.distributions.Categorical(torch.tensor(terms, dtype=torch.float))


class DenoisingDataset(FairseqDataset):
    """Noisy and clean versions of items.

    Items begin with the beginning of sentence and end with ``eos``; both stay in place. Which items are rotated, and
    how far, depends on seed, epoch and index; the other noise comes from torch's generator.

    Args:
        dataset: items, each ``(length,)``; sizes: their lengths.
        vocab: dictionary; mask_idx: the mask token.
        mask_whole_words: per vocabulary entry, whether it begins a word, ``(vocab,)``; else every token does.
        shuffle: shuffle items of equal length.
        seed: see above.
        mask: share of words to mask.
        mask_random: share of the masked tokens that becomes a random token.
        insert: share of tokens to insert.
        rotate: probability of rotating an item.
        permute_sentences: share of sentences to permute.
        bpe: ``gpt2`` ends sentences with its full stop, anything else with ``eos``.
        replace_length: 0 deletes what is masked, 1 leaves one mask per span, -1 one per token.
        mask_length: what is masked: ``subword``, ``word``, or ``span-poisson``: ``poisson_lambda`` words on average.
        eos: end-of-sentence token; the dictionary's by default.
        item_transform_func: ``(source, target) -> (source, target)``, applied last.

    Raises:
        ValueError: unknown ``replace_length`` or ``mask_length``, or ones that do not go together.
    """

    def __init__(
        self,
        dataset: Any,
        sizes: Any,
        vocab: Any,
        mask_idx: int,
        mask_whole_words: Optional[Tensor],
        shuffle: bool,
        seed: int,
        mask: float,
        mask_random: float,
        insert: float,
        rotate: float,
        permute_sentences: float,
        bpe: Optional[str],
        replace_length: int,
        mask_length: str,
        poisson_lambda: float,
        eos: Optional[int] = None,
        item_transform_func: Optional[Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = None,
    ) -> None:
        super().__init__()
        if replace_length not in (-1, 0, 1):
            raise ValueError(f"invalid arg: replace_length={replace_length}; choose -1, 0 or 1")
        if mask_length not in MASK_LENGTHS:
            raise ValueError(f"invalid arg: mask-length={mask_length}; choose one of {', '.join(MASK_LENGTHS)}")
        if mask_length == "subword" and replace_length not in (0, 1):
            raise ValueError("if using subwords, use replace-length=1 or 0")
        self.dataset = dataset
        self.eos = eos if eos is not None else vocab.eos()
        self.insert_ratio = insert
        self.item_transform_func = item_transform_func
        self.mask_idx = mask_idx
        self.mask_ratio = mask
        self.mask_whole_word = mask_whole_words
        self.permute_sentence_ratio = permute_sentences
        self.random_ratio = mask_random
        self.rotate_ratio = rotate
        self.seed = seed
        self.shuffle = shuffle
        self.sizes = sizes
        self.vocab = vocab
        self.full_stop_index = vocab.index("13") if bpe == "gpt2" else self.eos
        self.replace_length = replace_length
        self.mask_span_distribution = (
            _span_length_distribution(poisson_lambda) if mask_length == "span-poisson" else None
        )
        self.epoch = 0

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        # Noise changes with the epoch, sizes do not.
        return True

    def set_epoch(self, epoch: int, **unused: Any) -> None:
        super().set_epoch(epoch)
        self.epoch = epoch
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with data_utils.numpy_seed(self.seed, self.epoch, index):
            # Recorded behaviour: the wrapped item itself becomes the noisy one. That shows only where items are kept
            # in memory: the next epoch then starts from there. Files that are mapped must not be written to.
            source = self.dataset[index]
            target = source.clone()
            if isinstance(self.dataset, MMapIndexedDataset):
                source = source.clone()
            if source[-1] != self.eos:
                raise AssertionError(f"item {index} does not end with the end of sentence ({self.eos})")
            for share, noise in (
                (self.permute_sentence_ratio, self.permute_sentences),
                (self.mask_ratio, self.add_whole_word_mask),
                (self.insert_ratio, self.add_insertion_noise),
            ):
                if share > 0.0:
                    source = noise(source, share)
            if self.rotate_ratio > 0.0 and np.random.random() < self.rotate_ratio:
                source = self.add_rolling_noise(source)
        if self.item_transform_func is not None:
            source, target = self.item_transform_func(source, target)
        if source[0] != self.vocab.bos() or source[-1] != self.eos:
            raise AssertionError(f"item {index} has to begin with {self.vocab.bos()} and to end with {self.eos}")
        return {"id": index, "source": source, "target": target}

    def __len__(self) -> int:
        return len(self.dataset)

    # ------------------------------------------------------------------ noise; the order of draws is recorded behaviour
    def permute_sentences(self, source: Tensor, p: float = 1.0) -> Tensor:
        """Permute a share ``p`` of the sentences of ``source`` ``(length,)`` among themselves."""
        stops = source == self.full_stop_index
        # What is left before the end counts as a sentence, with or without a full stop.
        stops[-2] = True
        # A sentence ends at the last of a run of full stops' first one.
        ends = ((stops[1:] & ~stops[:-1]).nonzero().view(-1) + 2).tolist()
        moved = math.ceil(len(ends) * p)
        chosen = torch.randperm(len(ends))[:moved]
        order = torch.arange(len(ends))
        order[chosen] = chosen[torch.randperm(moved)]
        begins = [1, *ends[:-1]]
        pieces = [source[begins[number] : ends[number]] for number in order.tolist()]
        permuted = torch.cat(pieces) if pieces else source[1:1]
        return torch.cat([source[:1], permuted, source[1 + len(permuted) :]])

    def word_starts(self, source: Tensor) -> Tensor:
        """1 where a word begins, else 0, ``(length,)``; neither end of the item is a word."""
        if self.mask_whole_word is not None:
            starts = self.mask_whole_word.gather(0, source).long()
        else:
            starts = torch.ones(len(source), dtype=torch.long)
        starts[0] = 0
        starts[-1] = 0
        return starts

    def _span_lengths(self, words: int) -> tuple[Tensor, int]:
        """Lengths of spans covering ``words`` words, and how many spans of length 0 were drawn along the way."""
        distribution = self.mask_span_distribution
        if distribution is None:
            return torch.ones(words, dtype=torch.long), 0
        lengths = distribution.sample((words,))
        while int(lengths.sum()) < words:
            lengths = torch.cat([lengths, distribution.sample((words,))])
        covered = lengths.cumsum(0)
        last = int((covered >= words).nonzero()[0])
        # The last span is cut to what is missing.
        lengths = lengths[: last + 1].clone()
        lengths[last] = words - (int(covered[last - 1]) if last else 0)
        kept = lengths[lengths > 0]
        return kept, len(lengths) - len(kept)

    def add_whole_word_mask(self, source: Tensor, p: float) -> Tensor:
        """Mask a share ``p`` of the words of ``source`` ``(length,)``, single ones or spans."""
        starts = self.word_starts(source)
        words = math.ceil(float(starts.float().sum() * p))
        if words == 0:
            return source
        lengths, inserts = self._span_lengths(words)
        if len(lengths) == 0:
            return self.add_insertion_noise(source, inserts / len(source))
        places = starts.nonzero().view(-1)
        indices = places[torch.randperm(len(places))[: len(lengths)]]
        lengths = lengths[: len(indices)]
        randomized = torch.empty(len(lengths)).uniform_() < self.random_ratio
        keep = torch.ones(len(source), dtype=torch.bool)
        # A span never goes beyond the end of the item.
        starts[-1] = 255
        if self.replace_length == 0:
            keep[indices] = False
        else:
            self._write_masks(source, indices, randomized)
        # Go on from each first token until the span's words are used up.
        remaining = lengths - 1
        while len(indices) > 0:
            remaining = remaining - starts[indices + 1]
            going = remaining >= 0
            indices, randomized, remaining = indices[going] + 1, randomized[going], remaining[going]
            if self.replace_length == -1:
                self._write_masks(source, indices, randomized)
            else:
                keep[indices] = False
        source = source[keep]
        return self.add_insertion_noise(source, inserts / len(source)) if inserts > 0 else source

    def _write_masks(self, source: Tensor, indices: Tensor, randomized: Tensor) -> None:
        source[indices] = self.mask_idx
        source[indices[randomized]] = torch.randint(1, len(self.vocab), size=(int(randomized.sum()),))

    def add_permuted_noise(self, tokens: Tensor, p: float) -> Tensor:
        """Permute a share ``p`` of the inner tokens among themselves."""
        moved = math.ceil(len(tokens) * p)
        chosen = torch.randperm(len(tokens) - 2)[:moved] + 1
        tokens[chosen] = tokens[chosen[torch.randperm(len(chosen))]]
        return tokens

    def add_rolling_noise(self, tokens: Tensor) -> Tensor:
        """Rotate what is between the first and the last token by a random number of places."""
        offset = np.random.randint(1, max(1, len(tokens) - 1) + 1)
        return torch.cat([tokens[:1], tokens[offset:-1], tokens[1:offset], tokens[-1:]])

    def add_insertion_noise(self, tokens: Tensor, p: float) -> Tensor:
        """Insert masks (and, by ``mask_random``, random tokens), ``p`` per token, anywhere inside."""
        if p == 0.0:
            return tokens
        inserted = math.ceil(len(tokens) * p)
        places = torch.randperm(len(tokens) + inserted - 2)[:inserted] + 1
        old = torch.ones(len(tokens) + inserted, dtype=torch.bool)
        old[places] = False
        result = tokens.new_empty(len(tokens) + inserted)
        randomized = math.ceil(inserted * self.random_ratio)
        result[places[randomized:]] = self.mask_idx
        result[places[:randomized]] = torch.randint(1, len(self.vocab), size=(randomized,))
        result[old] = tokens
        return result

    # ------------------------------------------------------------------ batching
    def collater(self, samples: Sequence[dict[str, Any]], pad_to_length: Optional[dict[str, int]] = None) -> Any:
        """See :func:`collate`."""
        return collate(samples, self.vocab.pad(), self.eos, self.vocab, pad_to_length=pad_to_length)

    def num_tokens(self, index: int) -> int:
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        return np.asarray(self.sizes)[indices]

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    def ordered_indices(self) -> NDArray[np.int64]:
        """By length, ties at random (``shuffle``) or as stored."""
        order = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return order[np.argsort(np.asarray(self.sizes)[order], kind="mergesort")]

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        self.dataset.prefetch(indices)
