"""Build a model only to fill it from a file: no weights are drawn to be overwritten, no size is taken on trust.

``Frugal``   a context in which large random fills are left out, and models far larger than the file are refused
``fill``     load a state dict, giving back the file's pages as they are copied
``naming_file`` say which file an error comes from
``letting_go``  the same for whatever copies from the file
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fairseq.serialization.errors import CheckpointError, shown
from fairseq.serialization.mapped import MappedTensors

__all__ = ["Frugal", "drawing_weights", "fill", "letting_go", "naming_file"]

_FILLS = frozenset(
    ("normal_", "uniform_", "trunc_normal_", "exponential_", "orthogonal_")
    + ("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_")
)
_FACTORIES = frozenset(("empty", "zeros", "ones", "rand", "randn", "full"))
# Smaller tensors are drawn all the same: heads that a file lacks, and the small models of tests, stay what they were.
_LARGE = 1 << 16
# Room for tables that are not saved (positions, masks), besides twice what the file holds.
_ROOM_BYTES = 1 << 29
_ROOM_TENSORS = 20_000

_drawing: contextvars.ContextVar[bool] = contextvars.ContextVar("drawing_weights", default=False)


@contextlib.contextmanager
def drawing_weights() -> Iterator[None]:
    """Draw all weights of models that are built in this context, as if they were to be trained.

    What is drawn afterwards (sampling) then begins where it would after an ordinary start of the program.
    """
    token = _drawing.set(True)
    try:
        yield
    finally:
        _drawing.reset(token)


class Frugal(TorchFunctionMode):
    """While a model is built for ``weights``.

    Args:
        weights: the state dict that will be loaded; ``None`` sets no limits.
        name: the file, for messages.
        skip: leave out large random fills. The first number of a tensor that was left out is NaN until it is loaded.

    Attributes:
        skipped: tensors that were left out.
    """

    def __init__(self, weights: dict[str, Any] | None, name: str, skip: bool) -> None:
        super().__init__()
        self.skipped: list[Tensor] = []
        self._skip, self._name = skip and not _drawing.get(), name
        tensors = [value for value in (weights or {}).values() if isinstance(value, Tensor)]
        held = sum(tensor.numel() for tensor in tensors)
        self._bytes_left = math.inf if weights is None else 16 * held + _ROOM_BYTES
        self._tensors_left = math.inf if weights is None else 20 * len(tensors) + _ROOM_TENSORS
        self._held = held

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _FACTORIES:
            self._account(args, kwargs)
        elif self._skip and name in _FILLS:
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, Tensor) and tensor.numel() >= _LARGE and tensor.is_floating_point():
                with torch.no_grad():
                    tensor[(0,) * tensor.dim()] = math.nan
                self.skipped.append(tensor)
                return tensor
        return func(*args, **kwargs)

    def _account(self, args: Any, kwargs: dict[str, Any]) -> None:
        size = args[0] if args and isinstance(args[0], (tuple, list)) else kwargs.get("size", args)
        count = math.prod(number for number in size if isinstance(number, int))
        self._bytes_left -= 4 * count
        self._tensors_left -= 1
        if self._bytes_left < 0 or self._tensors_left < 0:
            raise CheckpointError(
                f"{self._name}: its options describe a model far larger than the {self._held:,} parameters it holds; "
                "the file is damaged, or not what it claims to be"
            )

    def unfilled(self, model: nn.Module) -> bool:
        """Whether some tensor of the model that was left out has still not been loaded."""
        # Layers that were replaced while the model was built (shared embeddings) leave tensors that are nobody's.
        used = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
        return any(
            tensor.data_ptr() in used and bool(torch.isnan(tensor.detach()[(0,) * tensor.dim()]))
            for tensor in self.skipped
        )


class _LettingGo(TorchFunctionMode):
    """Give back the pages of each tensor that was copied from."""

    def __init__(self, mapped: MappedTensors) -> None:
        super().__init__()
        self._mapped = mapped

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        source = args[1] if name == "copy_" and len(args) > 1 else args[0] if name in ("to", "clone") else None
        # ``to`` may return what it was given.
        if isinstance(source, Tensor) and (name == "copy_" or result.data_ptr() != source.data_ptr()):
            self._mapped.let_go(source)
        return result


def fill(model: nn.Module, weights: dict[str, Any], mapped: MappedTensors | None, **options: Any) -> None:
    """``model.load_state_dict(weights, **options)`` with little memory besides the model's own."""
    with letting_go(mapped):
        model.load_state_dict(weights, **options)


def letting_go(mapped: MappedTensors | None) -> contextlib.AbstractContextManager[Any]:
    """A context in which the pages of mapped tensors are given back once something was copied from them."""
    return _LettingGo(mapped) if mapped is not None else contextlib.nullcontext()


@contextlib.contextmanager
def naming_file(name: str) -> Iterator[None]:
    """Say which file an error comes from where the error itself would not: options or states of the wrong kind."""
    try:
        yield
    except (AttributeError, ArithmeticError, LookupError, NameError, TypeError) as error:
        if isinstance(error, FloatingPointError):
            raise
        reason = shown(" ".join(str(error).split()), 500)
        raise CheckpointError(
            f"{name} cannot be used ({type(error).__name__}: {reason}): it is damaged, or does not fit this version or "
            "a plugin. FAIRSEQ_TRACEBACK=1 shows where"
        ) from error
