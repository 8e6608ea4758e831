"""Build a model only to fill it from a file: no weights are drawn to be overwritten, no size is taken on trust.

``SkipInit``   a context in which large random fills are left out, files with initial weights are not opened, and models
             far larger than the file are refused before their memory is taken
``fill``     load a state dict, giving back the file's pages as they are copied
``naming_file`` say which file an error comes from
``releasing_pages``  the same for whatever copies from the file
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
from fairseq.utils.embeddings import weights_follow

__all__ = ["SkipInit", "drawing_weights", "fill", "releasing_pages", "naming_file"]

_FILLS = frozenset(
    ("normal_", "uniform_", "trunc_normal_", "exponential_", "orthogonal_")
    + ("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_")
)
_FACTORIES = frozenset(("empty", "zeros", "ones", "rand", "randn", "full"))
# Smaller tensors are drawn all the same: heads that a file lacks, and the small models of tests, stay what they were.
_LARGE = 1 << 16
# Room for tables that are not saved (positions, masks), besides what the file holds several times: for all of them,
# and for the result of one operation.
_ROOM_BYTES, _ROOM_AT_ONCE = 1 << 29, 1 << 27
_ROOM_TENSORS = 20_000

# Operations with smaller arguments are not looked at before they are done.
_WORTH_A_LOOK = 1 << 20
# What models are built with needs no look at the meta device, which has to import much first. Questions and views take
# no memory; one number per number of the (broadcast) arguments; all the numbers of the arguments together.
_FREE = frozenset(
    ("__get__", "__set__", "__len__", "size", "dim", "numel", "stride", "data_ptr", "is_floating_point", "is_complex")
    + ("view", "unsqueeze", "squeeze", "transpose", "t", "permute", "expand", "expand_as", "narrow", "select", "detach")
    + ("fill_", "zero_", "copy_", "mul_", "add_", "div_", "sub_", "clamp_", "requires_grad_", "__setitem__")
)
_ALIKE = frozenset(
    ("sin", "cos", "exp", "log", "neg", "abs", "sqrt", "tanh", "sigmoid", "to", "float", "half", "clone", "contiguous")
    + ("add", "sub", "mul", "div", "pow", "__add__", "__sub__", "__mul__", "__truediv__", "__neg__", "__pow__")
    + ("__radd__", "__rsub__", "__rmul__", "reshape", "cumsum", "triu", "tril")
)
_JOINED = frozenset(("cat", "concat", "stack"))

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


def _is_large(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() >= _WORTH_A_LOOK
    if isinstance(value, (tuple, list)):
        return any(map(_is_large, value))
    return isinstance(value, (int, float)) and abs(value) >= _WORTH_A_LOOK


def _count_by_name(name: str, args: Any) -> int | None:
    """How many numbers a well-known operation gives; ``None`` for others."""
    if name in _JOINED and args and isinstance(args[0], (tuple, list)):
        return sum(part.numel() for part in args[0] if isinstance(part, Tensor))
    if name == "__getitem__" and not _has_tensor(args[1]):
        return 0  # a view
    if name in _ALIKE:
        try:
            return math.prod(torch.broadcast_shapes(*(arg.shape for arg in args if isinstance(arg, Tensor))))
        except RuntimeError:
            return 0  # shapes that do not go together: the operation says so
    return None


def _has_tensor(value: Any) -> bool:
    return any(map(_has_tensor, value)) if isinstance(value, (tuple, list)) else isinstance(value, Tensor)


def _on_meta(value: Any, copies: dict[int, Tensor]) -> Any:
    """Arguments with every tensor replaced by one of its shape without data; ``copies`` gathers those."""
    if isinstance(value, Tensor):
        if id(value) not in copies:
            copies[id(value)] = torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device="meta")
        return copies[id(value)]
    if isinstance(value, dict):
        return {key: _on_meta(item, copies) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_on_meta(item, copies) for item in value)
    return value


class SkipInit(TorchFunctionMode):
    """While a model is built for ``weights``.

    Each operation with a large number or tensor among its arguments is first done on the meta device, where tensors
    have sizes but no data.

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
        self._bytes_at_once = math.inf if weights is None else 8 * held + _ROOM_AT_ONCE
        self._tensors_left = math.inf if weights is None else 20 * len(tensors) + _ROOM_TENSORS
        self._held = held
        self._files = weights_follow()

    def __enter__(self) -> SkipInit:
        self._files.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._files.__exit__(*error)

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
        elif name not in _FREE and any(map(_is_large, (*args, *kwargs.values()))):
            self._foresee(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _account(self, args: Any, kwargs: dict[str, Any]) -> None:
        size = args[0] if args and isinstance(args[0], (tuple, list)) else kwargs.get("size", args)
        self._take(4 * math.prod(number for number in size if isinstance(number, int)))

    def _take(self, count: int) -> None:
        self._bytes_left -= count
        self._tensors_left -= 1
        if self._bytes_left < 0 or self._tensors_left < 0:
            self._refuse()

    def _refuse(self) -> None:
        raise CheckpointError(
            f"{self._name}: its options describe a model far larger than the {self._held:,} parameters it holds; "
            "the file is damaged, or not what it claims to be"
        )

    def _foresee(self, func: Any, name: str, args: Any, kwargs: dict[str, Any]) -> None:
        """Refuse an operation whose result would be out of proportion; its arguments are left as they are."""
        if self._bytes_at_once is math.inf:
            return
        known = _count_by_name(name, args)
        if known is not None:
            if 4 * known > self._bytes_at_once:
                self._refuse()
            return
        copies: dict[int, Tensor] = {}
        try:
            with torch.no_grad():
                meta_args, meta_kwargs = _on_meta(args, copies), _on_meta(kwargs, copies)
                if not copies or kwargs.get("device") is not None:
                    meta_kwargs["device"] = "meta"
                result = func(*meta_args, **meta_kwargs)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return  # no such operation on the meta device, or a mistake that the real one reports
        shared = {tensor.untyped_storage()._cdata for tensor in copies.values()}
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in shared:
                size = tensor.untyped_storage().nbytes()
                if not copies:
                    self._take(size)
                if size > self._bytes_at_once:
                    self._refuse()

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
    with releasing_pages(mapped):
        model.load_state_dict(weights, **options)


def releasing_pages(mapped: MappedTensors | None) -> contextlib.AbstractContextManager[Any]:
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
