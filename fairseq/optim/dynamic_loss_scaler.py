"""Loss scaling for float16: as large as gradients allow (Micikevicius et al. 2018, section 3.2)."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["DynamicLossScaler"]


class DynamicLossScaler:
    """Halve the scale after overflows, double it after a while without.

    Args:
        init_scale: the first scale.
        scale_factor: what to multiply or divide by.
        scale_window: updates without overflow before the scale grows.
        tolerance: share of overflows since the last change that is put up with before the scale shrinks.
        threshold: never shrink below this.
        min_loss_scale: give up at this.
    """

    _COUNTERS = ("_iter", "_last_overflow", "_last_rescale", "_overflows")

    def __init__(
        self,
        init_scale: float = 2.0**15,
        scale_factor: float = 2.0,
        scale_window: int = 2000,
        tolerance: float = 0.0,
        threshold: float | None = None,
        min_loss_scale: float = 1e-4,
    ) -> None:
        self.loss_scale = init_scale
        self.scale_factor = scale_factor
        self.scale_window = scale_window
        self.tolerance = tolerance
        self.threshold = threshold
        self.min_loss_scale = min_loss_scale
        self._iter = 0
        self._last_overflow = -1
        self._last_rescale = -1
        self._overflows = 0

    def notes(self) -> dict[str, Any]:
        """The counters, which decide when the scale changes next; ``loss_scale`` is saved with the optimizer."""
        return {name: int(getattr(self, name)) for name in self._COUNTERS}

    def resume(self, notes: dict[str, Any]) -> None:
        """Restore what ``notes`` returned."""
        values = {name: int(notes[name]) for name in self._COUNTERS}
        for name, value in values.items():
            setattr(self, name, value)

    def scale(self, outputs: Any) -> Any:
        """``outputs`` (a loss) times the scale."""
        return self.loss_scale * outputs

    def update(self) -> None:
        """Count an update without overflow."""
        if (self._iter - self._last_overflow) % self.scale_window == 0:
            self.loss_scale *= self.scale_factor
            self._last_rescale = self._iter
        self._iter += 1

    def check_overflow(self, grad_norm: float) -> None:
        """Raise if the gradients cannot be used.

        Raises:
            OverflowError: the norm is infinite or no number; skip this update and go on with the new scale.
            FloatingPointError: the same, and the scale has reached its minimum; stop.
        """
        if math.isfinite(grad_norm):
            return
        before = self.loss_scale
        self._last_overflow = self._iter
        self._overflows += 1
        if self._overflows / (self._iter - self._last_rescale) >= self.tolerance:
            smaller = self.loss_scale / self.scale_factor
            self.loss_scale = smaller if self.threshold is None else max(smaller, self.threshold)
            self._last_rescale = self._iter
            self._overflows = 0
        if self.loss_scale <= self.min_loss_scale:
            self.loss_scale = before
            raise FloatingPointError(
                f"Minimum loss scale reached ({self.min_loss_scale}). Your loss is probably exploding. "
                "Remedies: a lower learning rate, gradient clipping, a larger batch."
            )
        self._iter += 1
        raise OverflowError(f"setting loss scale to: {self.loss_scale}")
