"""Random generators that data may draw from, as text for a checkpoint's notes.

The model's draws are a function of the update (``Trainer._set_seed``). Data sets that draw from the global generators
of torch or NumPy between two updates (noise, masks of audio) are not: a resumed run must find the generators as they
were. What loader processes and the thread that reads ahead draw is not covered: it depends on when they run.
"""

from __future__ import annotations

import base64
import logging
from typing import Any

import numpy as np
import torch

__all__ = ["resume_draws", "state_of_draws"]

logger = logging.getLogger("fairseq.trainer")


def state_of_draws() -> dict[str, Any]:
    """The states of this process's generators on the CPU."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # type: ignore[misc]
    return {
        "torch": _text(torch.get_rng_state().numpy().tobytes()),
        "numpy": [
            str(name),
            _text(np.asarray(keys, dtype="<u4").tobytes()),
            int(position),
            int(has_gauss),
            float(gauss),
        ],
    }


def resume_draws(saved: Any) -> None:
    """Set the generators to what ``state_of_draws`` returned; anything else is left out with a warning."""
    if not saved:
        return
    try:
        name, keys, position, has_gauss, gauss = saved["numpy"]
        state = (str(name), np.frombuffer(_bytes(keys), dtype="<u4"), int(position), int(has_gauss), float(gauss))
        torch_state = torch.frombuffer(bytearray(_bytes(saved["torch"])), dtype=torch.uint8)
        torch.set_rng_state(torch_state)
        np.random.set_state(state)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        logger.warning("the checkpoint's random states are not understood; data may draw other numbers (%s)", error)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
