"""State that modules keep from one decoding step to the next.

The caller owns one plain dictionary, ``incremental_state``, and hands it to every step. Each module files its tensors
there under a key of its own, so that many modules (and copies of one class) share the dictionary.
"""

from __future__ import annotations

import uuid

from torch import Tensor

__all__ = ["FairseqIncrementalState", "with_incremental_state"]


class FairseqIncrementalState:
    """Mix-in for modules with decoding state; put it on a class with :func:`with_incremental_state`."""

    def __init__(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        super().__init__(*args, **kwargs)
        self.init_incremental_state()

    def init_incremental_state(self) -> None:
        """Give this instance its own name in the shared dictionary."""
        self._incremental_state_id = str(uuid.uuid4())

    def _get_full_incremental_state_key(self, key: str) -> str:
        return f"{self._incremental_state_id}.{key}"

    def get_incremental_state(
        self,
        incremental_state: dict[str, dict[str, Tensor | None]] | None,
        key: str,
    ) -> dict[str, Tensor | None] | None:
        """Return what this module filed under ``key``; ``None`` without a state or before the first step."""
        if incremental_state is not None:
            mine = self._get_full_incremental_state_key(key)
            if mine in incremental_state:
                return incremental_state[mine]
        return None

    def set_incremental_state(
        self,
        incremental_state: dict[str, dict[str, Tensor | None]] | None,
        key: str,
        value: dict[str, Tensor | None],
    ) -> dict[str, dict[str, Tensor | None]] | None:
        """File ``value`` under ``key`` and return the dictionary; does nothing when there is none (training)."""
        if incremental_state is not None:
            full_key = self._get_full_incremental_state_key(key)
            incremental_state[full_key] = value
        return incremental_state


def with_incremental_state(cls: type) -> type:
    """Class decorator: make :class:`FairseqIncrementalState` the first base of ``cls``."""
    others = tuple(base for base in cls.__bases__ if base is not FairseqIncrementalState)
    cls.__bases__ = (FairseqIncrementalState, *others)
    return cls
