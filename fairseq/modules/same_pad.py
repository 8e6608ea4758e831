"""Cut what padding adds, so that a convolution keeps the length of its input."""

from torch import Tensor, nn

__all__ = ["SamePad", "SamePad2d"]


class SamePad(nn.Module):
    """For 1-d convolutions padded by ``kernel_size // 2`` on both sides (``kernel_size - 1`` if causal).

    Args:
        kernel_size: an even one leaves one frame too many at the end.
        causal: cut all that the padding on the right adds: ``kernel_size - 1`` frames.
    """

    def __init__(self, kernel_size: int, causal: bool = False) -> None:
        super().__init__()
        self.remove = kernel_size - 1 if causal else int(kernel_size % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, frames + extra)`` -> ``(batch, channels, frames)``."""
        return x[:, :, : -self.remove] if self.remove > 0 else x


class SamePad2d(nn.Module):
    """For 2-d convolutions padded by ``kernel_size // 2`` on all sides."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.remove = int(kernel_size % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, rows + extra, columns + extra)`` -> the same without the extra last row and column."""
        if x.dim() != 4:
            raise AssertionError(f"SamePad2d wants (batch, channels, rows, columns), got {x.shape}")
        return x[:, :, : -self.remove, : -self.remove] if self.remove > 0 else x
