"""A decoding step whose tensors have few shapes and stay where they are, so that a GPU can record it and play it again.

A step of decoding is some two hundred small operations; on a GPU it costs more to start them than to run them. A
recording (CUDA graph) starts all of them at once, but knows addresses and sizes, not tensors. So everything a step
reads or writes lies in ``StaticBuffers``, and its sizes are rounded up: rows of sentences that left, and source
positions and slots that belong to no sentence, are computed and thrown away.

Shapes in this file:  n = sentences that there is room for, B = beam, N = n x B rows, M = rows of the search (the first
of the N until sentences leave), S = source length with room, U = slots with room, C = embedding, V = vocabulary.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairseq.sequence_generator.engine.transformer import Weights, by_head, through_layers, weights_of

__all__ = ["CudaGraphStep", "GraphCache", "StaticBuffers", "room_for"]

logger = logging.getLogger(__name__)

# A shape is recorded when it has come so often: before, its steps only get the libraries going.
_OFTEN = 3


# Sizes below which only doubling is worth a recording of its own, for slots and for the source.
_SMALL = 1024


def room_for(count: int, least: int, coarse_below: int = 0) -> int:
    """The next of ``least`` x (1, 1.5, 2, 3, 4, 6, 8, ...), without the halves below a bound: few sizes, little waste.

    Args:
        count: at least so many.
        least: an even number.
        coarse_below: the smallest size that may be one of the halves.
    """
    size = least
    while size < count:
        half = size * 3 // 2
        if half >= max(count, coarse_below):
            return half
        size *= 2
    return size


class Shape(NamedTuple):
    """What a recording is good for."""

    sentences: int
    beam: int
    source: int
    slots: int


class StaticBuffers:
    """Tensors of one decoder that stay where they are from batch to batch, and the recordings that know their places.

    Args:
        like: a tensor of the decoder's dtype on its device.
        may_record: whether recordings may be made: not while weights can still move.
    """

    def __init__(self, like: Tensor, may_record: bool) -> None:
        self.like = like
        self.graphs = GraphCache(may_record and like.device.type == "cuda")
        self._flat: dict[str, Tensor] = {}
        # Slots that the next word is written to.
        self.where = torch.zeros(0, dtype=torch.long, device=like.device)

    def beams(self, beam: int) -> None:
        """Begin with the first slots."""
        if self.where.numel() != beam:
            self.where = torch.zeros(beam, dtype=torch.long, device=self.like.device)
            self.graphs.forget()
        torch.arange(beam, out=self.where)

    def view(self, name: str, *shape: int) -> Tensor:
        """The tensor ``name`` in another shape: always the same memory, unless it has to grow; zeros at first.

        Growing keeps the contents and forgets the recordings.
        """
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size:
            larger = self.like.new_zeros(size)
            if flat is not None:
                larger[: flat.numel()] = flat
            flat = self._flat[name] = larger
            self.graphs.forget()
        return flat[:size].view(shape)


class GraphCache:
    """Runs the same operations again and again, from a recording where there is one.

    Args:
        active: whether to record at all.
    """

    def __init__(self, active: bool) -> None:
        self.active = active
        self.seen: Counter[Shape] = Counter()
        self.recordings: dict[Shape, Any] = {}
        self._pool: Any = None
        self._stream: Any = None

    def forget(self) -> None:
        """Memory moved: recordings are worth nothing."""
        if self.recordings:
            torch.cuda.synchronize()
            self.recordings.clear()
            # What a pool of no recordings is good for is the allocator's business.
            self._pool = None

    def run(self, shape: Shape, operations: Callable[[], None]) -> None:
        """Run ``operations``, a function without arguments that works on the same memory for the same shape."""
        recording = self.recordings.get(shape)
        if recording is None and self.active and self.seen[shape] >= _OFTEN:
            recording = self._record(shape, operations)
        if recording is not None:
            recording.replay()
            return
        self.seen[shape] += 1
        operations()

    def _record(self, shape: Shape, operations: Callable[[], None]) -> Any:
        """A recording, or ``None`` where the device cannot; then nothing is recorded any more."""
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        self._stream = self._stream or torch.cuda.Stream()
        stream, current = self._stream, torch.cuda.current_stream()
        stream.wait_stream(current)
        try:
            with torch.cuda.stream(stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    operations()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            self.active = False
            self.forget()
            logger.warning("decoding steps cannot be recorded on this device; they run as they are (%s)", error)
            return None
        finally:
            current.wait_stream(stream)
        self.recordings[shape] = graph
        return graph


@dataclass
class _Operations:
    """What is recorded: from ``inputs`` to ``outputs`` and ``seen``; knows no tensor but those of a buffers."""

    shape: Shape
    weights: Weights
    where: Tensor
    inputs: Tensor
    outputs: Tensor
    mask: Tensor
    keys: list[Tensor]
    source: list[Tensor]
    source_mask: Tensor | None
    seen: Tensor | None

    def __call__(self) -> None:
        features, attention = through_layers(
            self.weights, self.inputs, self._write, self.mask, self.source, self.source_mask
        )
        self.outputs.copy_(self.weights.project(features))
        if self.seen is not None and attention is not None:
            self.seen.copy_(attention)
        self.where.add_(self.shape.beam)

    def _write(self, layer: int, values: Tensor) -> Tensor:
        # (n, H, B, 2, D) -> (B, n, 2 C), as the memory is.
        rows = values.permute(2, 0, 3, 1, 4).flatten(2)
        keys = self.keys[layer].index_copy_(0, self.where, rows)
        return by_head(keys.transpose(0, 1), values.size(1))


class CudaGraphStep:
    """As ``TransformerStep``, in a ``StaticBuffers``.

    Args:
        model: one that ``is_known_transformer``.
        encoder_out: of the batch as the encoder gave it, one row per sentence; ``None`` for a language model.
        bsz, beam: sentences of the batch, B.
    """

    def __init__(self, model: Any, encoder_out: Any, bsz: int, beam: int) -> None:
        self.decoder = model.decoder
        self.weights: Weights = weights_of(model)
        like = next(self.decoder.parameters())
        try:
            self.buffers = self.weights.static_buffers.pop()
        except IndexError:
            self.buffers = StaticBuffers(like, self.weights.lasting)
        self.buffers.beams(beam)
        self.width = self.decoder.embed_dim
        self.vocab = self.decoder.output_projection.out_features
        self.used = 0
        # The row of this step's memory for each row of the search; ``None`` while they are the same.
        self.rows: Tensor | None = None
        self.live = bsz
        self.source_length = 0 if encoder_out is None else encoder_out["encoder_out"][0].size(0)
        source = room_for(self.source_length, 32, _SMALL) if self.source_length else 0
        self.shape = Shape(room_for(bsz, 8), beam, source, room_for(16 * beam, 128, _SMALL))
        self.step: _Operations | None = None
        self._clear_mask()
        if encoder_out is not None:
            self._read(encoder_out, bsz)

    def close(self) -> None:
        """Leave the memory to the next batch."""
        self.weights.static_buffers.append(self.buffers)

    @property
    def _mask(self) -> Tensor:
        """Additive, ``(N, U)``: 0 where a row has a slot."""
        return self.buffers.view("mask", self.shape.sentences * self.shape.beam, self.shape.slots)

    def _clear_mask(self) -> None:
        self._mask.fill_(-math.inf)

    def _keys(self, layer: int) -> Tensor:
        """``(U, n, 2 C)``."""
        return self.buffers.view(f"keys {layer}", self.shape.slots, self.shape.sentences, 2 * self.width)

    def _source(self, layer: int) -> Tensor:
        """``(S, n, 2 C)``."""
        return self.buffers.view(f"source {layer}", self.shape.source, self.shape.sentences, 2 * self.width)

    @property
    def _source_mask(self) -> Tensor:
        """Additive, ``(n, S)``."""
        return self.buffers.view("source mask", self.shape.sentences, self.shape.source)

    def _read(self, encoder_out: dict[str, list[Tensor]], bsz: int) -> None:
        """Project the source once for all layers."""
        states = encoder_out["encoder_out"][0]
        length = states.size(0)
        flat = states.reshape(-1, states.size(2))
        for i, layer in enumerate(self.weights.layers):
            assert layer.source_kv is not None
            self._source(i).zero_()[:length, :bsz] = layer.source_kv(flat).view(length, bsz, -1)
        mask = self._source_mask
        mask.fill_(-math.inf)
        mask[:, :length] = 0.0
        if len(encoder_out["encoder_padding_mask"]) > 0:
            mask[:bsz, :length].masked_fill_(encoder_out["encoder_padding_mask"][0], -math.inf)

    def follow(self, rows: Tensor, kept: Tensor | None) -> None:
        """Continue the hypotheses ``rows`` ``(M',)`` of the last step; ``kept``: the sentences that stay."""
        parents = rows if self.rows is None else self.rows.index_select(0, rows)
        mask = self._mask[:, : self.used].index_select(0, parents)
        if kept is not None:
            self._leave(kept)
        if self.rows is None:
            self._mask[: mask.size(0), : self.used] = mask
        else:
            self._mask[:, : self.used].index_copy_(0, self.rows, mask)

    def _leave(self, kept: Tensor) -> None:
        """Give up sentences that are not ``kept``: memory moves when half of it is free, else rows are renumbered."""
        beam, before = self.shape.beam, self.shape
        first = kept * beam if self.rows is None else self.rows[::beam].index_select(0, kept)
        self.live = kept.numel()
        smaller = room_for(self.live, 8)
        if smaller * 2 > before.sentences:
            self.rows = (first.unsqueeze(1) + torch.arange(beam, device=first.device)).view(-1)
            return
        places = torch.div(first, beam, rounding_mode="floor")
        old = [self._keys(i)[: self.used].index_select(1, places) for i in range(len(self.weights.layers))]
        sources = [self._source(i).index_select(1, places) for i in range(len(old))] if self.source_length else []
        masked = self._source_mask.index_select(0, places) if self.source_length else None
        self.rows, self.shape = None, before._replace(sentences=smaller)
        self._clear_mask()
        for i, keys in enumerate(old):
            self._keys(i)[: self.used, : self.live] = keys
        for i, source in enumerate(sources):
            self._source(i).zero_()[:, : self.live] = source
        if masked is not None:
            self._source_mask.zero_()[: self.live] = masked

    def logits(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Score the next word.

        Args:
            tokens: ``(M, length)``, the words so far.

        Returns:
            ``(logits (M, V), attention to the source (M, source length) or None)``; the logits are overwritten by the
            next step.
        """
        beam, sentences = self.shape.beam, self.shape.sentences
        if self.used + beam > self.shape.slots:
            self._make_room(self.used + beam)
        if self.step is None or self.step.shape != self.shape:
            self.step = self._bind()
        rows = slice(0, tokens.size(0)) if self.rows is None else self.rows
        step, inputs = self.step, self.step.inputs
        inputs[rows] = self.decoder._embed(tokens, {})[0].squeeze(1).to(inputs.dtype)
        new = step.mask.view(sentences, beam, -1)[:, :, self.used : self.used + beam]
        new.diagonal(dim1=1, dim2=2).fill_(0.0)
        self.used += beam
        self.buffers.graphs.run(self.shape, step)
        return step.outputs[rows], None if step.seen is None else step.seen[rows][:, : self.source_length].clone()

    def _bind(self) -> _Operations:
        """The step in the shape of now."""
        sentences, beam, source, _ = self.shape
        view, layers = self.buffers.view, range(len(self.weights.layers))
        return _Operations(
            shape=self.shape,
            weights=self.weights,
            where=self.buffers.where,
            inputs=view("inputs", sentences * beam, self.width),
            outputs=view("outputs", sentences * beam, self.vocab),
            mask=self._mask.view(sentences, 1, beam, -1),
            keys=[self._keys(i) for i in layers],
            source=[
                by_head(self._source(i).transpose(0, 1), layer.source_heads)
                for i, layer in enumerate(self.weights.layers)
            ]
            if source
            else [],
            source_mask=self._source_mask.view(sentences, 1, 1, -1) if source else None,
            seen=view("seen", sentences * beam, source) if source else None,
        )

    def _make_room(self, slots: int) -> None:
        """More slots; keys stay where they are, only the mask's rows grow longer."""
        before = self._mask[:, : self.used].clone()
        self.shape = self.shape._replace(slots=room_for(slots, 128, _SMALL))
        self._clear_mask()
        self._mask[:, : self.used] = before
