"""Noise for denoising autoencoders: words shuffled, dropped and blanked (Lample et al. 2018, sec. 2.3)."""

from typing import Any, Optional, Union

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray
from torch import Tensor

from fairseq.data.data_utils import numpy_seed

__all__ = ["NoisingDataset", "UnsupervisedMTNoising", "WordDropout", "WordNoising", "WordShuffle"]


class WordNoising:
    """Base of noise that keeps the pieces of a word together.

    Args:
        dictionary: tells where words end.
        bpe_cont_marker: a token that ends with it is continued by the next one; ``None`` for no such marker.
        bpe_end_marker: a token that ends with it ends a word; used instead of ``bpe_cont_marker``.

    Without either marker every token is a word.
    """

    def __init__(self, dictionary: Any, bpe_cont_marker: Optional[str] = "@@", bpe_end_marker: Optional[str] = None):
        self.dictionary = dictionary
        self.bpe_end: Optional[NDArray[np.bool_]] = None
        words = [dictionary[number] for number in range(len(dictionary))]
        if bpe_end_marker:
            self.bpe_end = np.array([word.endswith(bpe_end_marker) for word in words])
        elif bpe_cont_marker:
            self.bpe_end = np.array([not word.endswith(bpe_cont_marker) for word in words])

    def get_word_idx(self, x: Tensor) -> NDArray[np.int64]:
        """The number of the word that each token belongs to, ``(T, B)`` as ``x``; padding counts as words, too."""
        length, batch = x.shape
        if self.bpe_end is None:
            return np.tile(np.arange(length)[:, None], (1, batch))
        if length == 1 and batch == 1:
            # A single token, the end of sentence, has nothing to be compared with.
            return np.array([[0]])
        ends = self.bpe_end[x.numpy()]
        remaining = ends[::-1].cumsum(0)[::-1]
        return remaining.max(0)[None, :] - remaining

    def noising(self, x: Tensor, lengths: Tensor, noising_prob: float = 0.0) -> Any:
        """Noise for a batch.

        Args:
            x: tokens, ``(T, B)``.
            lengths: ``(B,)``.
            noising_prob: how much.

        Returns:
            tokens ``(T', B)`` and lengths ``(B,)``.
        """
        raise NotImplementedError


class WordDropout(WordNoising):
    """Leaves out words at random, or blanks them; the end of sentence stays, and one word at least."""

    def __init__(
        self,
        dictionary: Any,
        default_dropout_prob: float = 0.1,
        bpe_cont_marker: Optional[str] = "@@",
        bpe_end_marker: Optional[str] = None,
    ):
        super().__init__(dictionary, bpe_cont_marker, bpe_end_marker)
        self.default_dropout_prob = default_dropout_prob

    def noising(  # type: ignore[override]
        self, x: Tensor, lengths: Tensor, dropout_prob: Optional[float] = None, blank_idx: Optional[int] = None
    ) -> tuple[Tensor, Tensor]:
        """Drop words with probability ``dropout_prob``; with ``blank_idx`` put that token in their place."""
        probability = self.default_dropout_prob if dropout_prob is None else dropout_prob
        if probability == 0:
            return x, lengths
        if not 0 < probability < 1:
            raise AssertionError(f"dropout_prob should lie between 0 and 1, got {probability}")
        words = self.get_word_idx(x)
        eos = self.dictionary.eos()
        sentences = []
        for column, length in enumerate(lengths.tolist()):
            tokens = x[:length, column].tolist()
            ends_with_eos = tokens[-1] == eos
            # Numbers are drawn for the words of the padded column, the last of which is always kept if it is no word.
            keep = np.random.rand(int(words[:, column].max()) + (0 if ends_with_eos else 1)) >= probability
            if ends_with_eos:
                keep = np.append(keep, True)
            kept = keep[words[:length, column]].tolist()
            if blank_idx is None:
                noisy = [token for token, stays in zip(tokens, kept) if stays]
            else:
                noisy = [token if stays else blank_idx for token, stays in zip(tokens, kept)]
            if len(noisy) <= 1:
                noisy.insert(0, tokens[np.random.randint(0, len(tokens))])
            sentences.append(noisy)
        new_lengths = torch.tensor([len(sentence) for sentence in sentences], dtype=torch.long)
        result = torch.full((int(new_lengths.max()), len(sentences)), self.dictionary.pad(), dtype=torch.long)
        for column, sentence in enumerate(sentences):
            result[: len(sentence), column] = torch.tensor(sentence)
        return result, new_lengths


class WordShuffle(WordNoising):
    """Moves words by a few places; the end of sentence stays."""

    def __init__(
        self,
        dictionary: Any,
        default_max_shuffle_distance: float = 3,
        bpe_cont_marker: Optional[str] = "@@",
        bpe_end_marker: Optional[str] = None,
    ):
        super().__init__(dictionary, bpe_cont_marker, bpe_end_marker)
        self.default_max_shuffle_distance = default_max_shuffle_distance

    def noising(  # type: ignore[override]
        self, x: Tensor, lengths: Tensor, max_shuffle_distance: Optional[float] = None
    ) -> tuple[Tensor, Tensor]:
        """Sort words by their number plus a uniform draw from ``[0, max_shuffle_distance)``."""
        distance = self.default_max_shuffle_distance if max_shuffle_distance is None else max_shuffle_distance
        if distance == 0:
            return x, lengths
        if not distance > 1:
            raise AssertionError(f"max_shuffle_distance should be above 1, got {distance}")
        draws = np.random.uniform(0, distance, size=tuple(x.shape))
        # The first word stays the first.
        draws[0] = -1
        words = self.get_word_idx(x)
        shuffled = x.clone()
        for column, length in enumerate(lengths.tolist()):
            if x[length - 1, column] == self.dictionary.eos():
                length -= 1
            own = words[:length, column]
            # The pieces of a word have equal keys but for a little that keeps their order.
            keys = own + draws[own, column] + 1e-6 * np.arange(length)
            shuffled[:length, column] = x[:length, column][torch.from_numpy(keys.argsort())]
        return shuffled, lengths


class UnsupervisedMTNoising(WordNoising):
    """Shuffles words, drops some, and blanks some of the others."""

    def __init__(
        self,
        dictionary: Any,
        max_word_shuffle_distance: float,
        word_dropout_prob: float,
        word_blanking_prob: float,
        bpe_cont_marker: Optional[str] = "@@",
        bpe_end_marker: Optional[str] = None,
    ):
        super().__init__(dictionary)
        self.max_word_shuffle_distance = max_word_shuffle_distance
        self.word_dropout_prob = word_dropout_prob
        self.word_blanking_prob = word_blanking_prob
        markers = {"bpe_cont_marker": bpe_cont_marker, "bpe_end_marker": bpe_end_marker}
        self.word_dropout = WordDropout(dictionary=dictionary, **markers)  # type: ignore[arg-type]
        self.word_shuffle = WordShuffle(dictionary=dictionary, **markers)  # type: ignore[arg-type]

    def noising(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        """Noisy tokens, ``(T', B)``."""
        x, lengths = self.word_shuffle.noising(x, lengths, self.max_word_shuffle_distance)
        x, lengths = self.word_dropout.noising(x, lengths, self.word_dropout_prob)
        x, _ = self.word_dropout.noising(x, lengths, self.word_blanking_prob, blank_idx=self.dictionary.unk())
        return x


class NoisingDataset(torch.utils.data.Dataset[Tensor]):
    """Noisy items of ``src_dataset``, the same in every epoch.

    Args:
        src_dataset: items, each ``(length,)``.
        src_dict: their dictionary.
        seed: item i is made with numpy's global generator seeded by ``seed + i``.
        noiser: makes the noise; else ``noising_class(dictionary=src_dict, **kwargs)`` does.
    """

    def __init__(
        self,
        src_dataset: Any,
        src_dict: Any,
        seed: int,
        noiser: Union[WordNoising, None] = None,
        noising_class: Any = UnsupervisedMTNoising,
        **kwargs: Any,
    ) -> None:
        self.src_dataset = src_dataset
        self.src_dict = src_dict
        self.seed = seed
        self.noiser = noiser if noiser is not None else noising_class(dictionary=src_dict, **kwargs)
        self.sizes = src_dataset.sizes

    def __getitem__(self, index: int) -> Tensor:
        tokens = self.src_dataset[index]
        with numpy_seed(self.seed + index):
            noisy = self.noiser.noising(tokens[:, None], torch.tensor([len(tokens)]))
        if isinstance(noisy, tuple):
            noisy = noisy[0]
        return noisy[:, 0]

    def __len__(self) -> int:
        return len(self.src_dataset)

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.src_dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        if self.supports_prefetch:
            self.src_dataset.prefetch(indices)
