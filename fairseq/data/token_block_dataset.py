"""A stream of sentences cut into blocks of about equal length."""

from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray

from fairseq.data.fairseq_dataset import FairseqDataset
from fairseq.data.token_block_utils_fast import _get_block_to_dataset_index_fast, _get_slice_indices_fast

__all__ = ["TokenBlockDataset"]


class TokenBlockDataset(FairseqDataset):
    """Blocks of tokens of consecutive sentences.

    Args:
        dataset: sentences, each ``(length,)``.
        sizes: their lengths.
        block_size: tokens per block; not needed for ``break_mode="eos"``.
        pad: padding token; before the first token of the stream comes padding.
        eos: end-of-sentence token.
        break_mode: where blocks end: ``none`` (or ``None``): after ``block_size`` tokens; ``complete``: after the
            last sentence that fits; ``complete_doc``: also at the end of a document; ``eos``: after every sentence.
        include_targets: items are ``(source, target, past)``: the block moved by one token, the block, the block
            moved by two tokens.
        document_sep_len: length of the sentence between documents; usually 1, just the end of sentence.
        use_plasma_view: hold index arrays in memory once for all processes of this machine.
        split_path, plasma_path: what names them, and the folder of their files, see
            :class:`fairseq.data.plasma_utils.PlasmaView`.

    Raises:
        AssertionError: no sentences, or a wrong number of sizes.
        ValueError: unknown ``break_mode``.
    """

    def __init__(
        self,
        dataset: Any,
        sizes: Any,
        block_size: Optional[int],
        pad: int,
        eos: int,
        break_mode: Optional[str] = None,
        include_targets: bool = False,
        document_sep_len: int = 1,
        use_plasma_view: bool = False,
        split_path: Optional[str] = None,
        plasma_path: Optional[str] = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.pad = pad
        self.eos = eos
        self.include_targets = include_targets
        if len(dataset) != len(sizes):
            raise AssertionError(f"{len(sizes)} sizes for {len(dataset)} sentences")
        if len(dataset) == 0:
            raise AssertionError("TokenBlockDataset needs at least one sentence; the data set is empty")
        sizes = np.asarray(sizes)
        if sizes.dtype.kind not in "iu":
            sizes = sizes.astype(np.int64)
        blocks = _get_slice_indices_fast(sizes, break_mode, block_size, document_sep_len)
        lengths = blocks[:, 1] - blocks[:, 0]
        longest = max(block_size or 0, int(lengths.max(initial=0)))
        arrays: dict[str, NDArray[Any]] = {
            "sizes": lengths.astype(np.uint16 if longest < 65535 else np.uint32),
            "slices": blocks,
            "sentences": _get_block_to_dataset_index_fast(sizes, blocks),
        }
        if use_plasma_view:
            from fairseq.data.plasma_utils import PlasmaView

            # The views stay with their owner: copies of this data set in other processes open the files again.
            self._views = {key: PlasmaView(array, split_path or "", key, plasma_path) for key, array in arrays.items()}
            arrays = {key: view.array for key, view in self._views.items()}
        self._set_arrays(arrays)

    def _set_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._sizes, self._slice_indices = arrays["sizes"], arrays["slices"]
        self._block_to_dataset_index = arrays["sentences"]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if "_views" in state:
            # A memory map would be sent with all it holds.
            for name in ("_sizes", "_slice_indices", "_block_to_dataset_index"):
                del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_views" in state:
            self._set_arrays({key: view.array for key, view in self._views.items()})

    @property
    def slice_indices(self) -> NDArray[np.int64]:
        """Begin and end of every block in the stream of all tokens, ``(n, 2)``."""
        return self._slice_indices

    @property
    def block_to_dataset_index(self) -> NDArray[np.int64]:
        """First sentence, place in it, and last sentence of every block, ``(n, 3)``."""
        return self._block_to_dataset_index

    @property
    def sizes(self) -> NDArray[Any]:
        return self._sizes

    def attr(self, attr: str, index: int) -> Any:
        return self.dataset.attr(attr, self._block_to_dataset_index[index][0])

    def __len__(self) -> int:
        return len(self._slice_indices)

    def __getitem__(self, index: int) -> Any:
        first, offset, last = self._block_to_dataset_index[index].tolist()
        stream = torch.cat([self.dataset[number] for number in range(first, last + 1)])
        end = offset + int(self._sizes[index])
        block = stream[offset:end]
        if not self.include_targets:
            return block
        # A block at the beginning of a sentence is preceded by an end of sentence, and that by padding.
        before = stream.new_tensor([self.pad, self.eos])
        if offset == 0:
            source = torch.cat([before[1:], stream[: end - 1]])
            past = torch.cat([before, stream[: max(end - 2, 0)]])
        else:
            source = stream[offset - 1 : end - 1]
            past = torch.cat([before[1:], stream[: end - 2]]) if offset == 1 else stream[offset - 2 : end - 2]
        return source, block, past

    def num_tokens(self, index: int) -> int:
        return int(self._sizes[index])

    def num_tokens_vec(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        return self._sizes[indices]

    def size(self, index: int) -> int:
        return int(self._sizes[index])

    @property
    def supports_prefetch(self) -> bool:
        return getattr(self.dataset, "supports_prefetch", False)

    def prefetch(self, indices: Any) -> None:
        rows = self._block_to_dataset_index[np.asarray(list(indices))]
        self.dataset.prefetch({number for first, _, last in rows.tolist() for number in range(first, last + 1)})
