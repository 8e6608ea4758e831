"""Causal convolution that runs over a whole sequence or a step at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairseq.incremental_decoding_utils import FairseqIncrementalState
from fairseq.modules.conv_tbc import ConvTBC

__all__ = ["LinearizedConvolution"]


class LinearizedConvolution(FairseqIncrementalState, ConvTBC):
    """A convolution whose outputs do not see later inputs (with ``padding=kernel_size - 1``).

    In training the layout is ``(time, batch, channel)``; with an incremental state it is ``(batch, 1, channel)``.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: time steps that each output sees.
        kwargs: ``padding``, as for :class:`ConvTBC`.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **kwargs)

    def state_dict(  # type: ignore[override]
        self, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """As of any module; old plugins give the arguments by position."""
        entries: dict[str, Any] = super().state_dict(destination=destination, prefix=prefix, keep_vars=keep_vars)
        return entries

    def upgrade_state_dict_named(self, state_dict: dict[str, Any], name: str) -> None:
        """Drop the copy of the weight that early checkpoints hold."""
        state_dict.pop(name + "._linearized_weight" if name else "_linearized_weight", None)

    def forward(  # type: ignore[override]
        self, input: Tensor, incremental_state: dict[str, dict[str, Tensor | None]] | None = None
    ) -> Tensor:
        """Convolve.

        Args:
            input: ``(time, batch, in)``, or ``(batch, 1 or more, in)`` with a state, of which the last step counts.
            incremental_state: the shared dictionary of generation.

        Returns:
            ``(time, batch, out)``, or ``(batch, 1, out)`` with a state.
        """
        if incremental_state is None:
            output = self.conv_tbc(input)
            if self.kernel_size[0] > 1 and self.padding[0] > 0:
                # What the padding at the end gave sees the future.
                output = output[: -self.padding[0]]
            return output
        window = input[:, -1:]
        if self.kernel_size[0] > 1:
            before = self._get_input_buffer(incremental_state)
            if before is None:
                before = input.new_zeros(input.size(0), self.kernel_size[0], input.size(2))
            window = torch.cat([before[:, 1:], window], dim=1)
            self._set_input_buffer(incremental_state, window)
        output = torch.conv_tbc(window.transpose(0, 1).contiguous(), self.weight, self.bias, 0)
        return output.transpose(0, 1)

    def _get_input_buffer(self, incremental_state: dict[str, dict[str, Tensor | None]]) -> Tensor | None:
        """The last ``kernel_size`` inputs, ``(batch, kernel_size, in)``."""
        state = self.get_incremental_state(incremental_state, "input_buffer")
        return None if state is None else state["input_buffer"]

    def _set_input_buffer(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_buffer: Tensor | None
    ) -> None:
        """Keep the last inputs for the next step, ``(batch, kernel_size, in)``."""
        kept: dict[str, Tensor | None] = {"input_buffer": new_buffer}
        self.set_incremental_state(incremental_state, "input_buffer", kept)

    def reorder_incremental_state(
        self, incremental_state: dict[str, dict[str, Tensor | None]], new_order: Tensor
    ) -> None:
        """Let the inputs kept follow their hypotheses."""
        buffer = self._get_input_buffer(incremental_state)
        if buffer is not None:
            self._set_input_buffer(incremental_state, buffer.index_select(0, new_order))
