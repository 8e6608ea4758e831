"""Checkpoints as safetensors files: tensors as raw bytes, everything else as JSON. Nothing in them can be run.

Format (https://github.com/huggingface/safetensors): 8 bytes little-endian length of the header, the header (JSON: name
-> dtype, shape, byte range; ``__metadata__``: strings), then the tensors' bytes without gaps. The model's parameters
have their own names, so that other programs find them. All other tensors of a state (the optimizer's, averages) are
named ``fairseq.state.0`` and so on, and the rest of the state is JSON under the metadata key ``fairseq``, with marks
for what JSON does not have. So the way back loses nothing.
"""

from __future__ import annotations

import base64
import json
import math
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from fairseq.serialization import strict_json
from fairseq.serialization.errors import CorruptCheckpointError, shown
from fairseq.serialization.keys import KeyGuard, Refused
from fairseq.serialization.placeholders import DTYPE_CODE, Malformed
from fairseq.serialization.source import Source
from fairseq.serialization.write import replacing

__all__ = ["read_safetensors", "write_safetensors"]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000
_OTHERS = "fairseq.state."
# A dictionary with this one key is not one of the state's: its value says what stands here.
_MARK = "__fairseq__"


class _Encoder:
    """A state as JSON; tensors are put aside.

    Attributes:
        tensors: those met so far, by the name they will have in the file.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}

    def encode(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {_MARK: ["float", repr(value)]}
        if isinstance(value, torch.Tensor):
            return {_MARK: ["tensor", self._put_aside(value)]}
        if isinstance(value, Namespace):
            return {_MARK: ["namespace", self.encode(dict(vars(value)))]}
        if isinstance(value, dict):
            plain = type(value) is dict and _MARK not in value and all(type(key) is str for key in value)
            if plain:
                return {key: self.encode(item) for key, item in value.items()}
            kind = "ordered" if isinstance(value, OrderedDict) else "dict"
            return {_MARK: [kind, [[self.encode(key), self.encode(item)] for key, item in value.items()]]}
        if type(value) is list:
            return [self.encode(item) for item in value]
        for kind, cls in _SEQUENCES.items():
            if type(value) is cls:
                return {_MARK: [kind, [self.encode(item) for item in value]]}
        if isinstance(value, (bytes, bytearray)):
            return {_MARK: ["bytes", base64.b64encode(value).decode()]}
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufcSU":
            raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
            kind = "array" if isinstance(value, np.ndarray) else "scalar"
            return {_MARK: [kind, [value.dtype.str, list(value.shape), raw]]}
        if isinstance(value, torch.dtype):
            return {_MARK: ["dtype", str(value).rpartition(".")[2]]}
        if isinstance(value, PurePath):
            return {_MARK: ["path", str(value)]}
        raise ValueError(
            f"a {type(value).__module__}.{type(value).__qualname__} cannot be kept in a safetensors file; "
            "--strip-optimizer leaves out the state of training"
        )

    def _put_aside(self, tensor: torch.Tensor) -> str:
        if id(tensor) not in self._names:
            name = f"{_OTHERS}{len(self.tensors)}"
            self._names[id(tensor)], self.tensors[name] = name, tensor
        return self._names[id(tensor)]


_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class _Decoder:
    """The way back from ``_Encoder``; what it makes is checked as in a pickle."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self._keys = KeyGuard()

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if set(value) != {_MARK}:
            return {key: self.decode(item) for key, item in value.items()}
        kind, body = value[_MARK]
        if kind == "namespace":
            return Namespace(**self.decode(body))
        if kind in ("dict", "ordered"):
            pairs = [(self.decode(key), self.decode(item)) for key, item in body]
            self._keys.check(key for key, _ in pairs)
            return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
        if kind in _SEQUENCES:
            items = [self.decode(item) for item in body]
            if kind != "tuple":
                self._keys.check(items)
            return _SEQUENCES[kind](items)
        if not isinstance(kind, str) or kind not in _LEAVES:
            raise Refused(f"it holds a {shown(str(kind))!r}, which this version does not know")
        return self._tensors[body] if kind == "tensor" else _LEAVES[kind](body)


def _array(body: Any) -> np.ndarray:
    dtype, shape, raw = body
    if not isinstance(dtype, str) or not DTYPE_CODE.fullmatch(dtype):
        raise Refused(f"an array of {shown(str(dtype))}")
    return np.frombuffer(base64.b64decode(raw), dtype=dtype).reshape(shape).copy()


def _float(text: Any) -> float:
    if text not in ("nan", "inf", "-inf"):
        raise Refused(f"the number {shown(str(text))}")
    return float(text)


def _known_dtype(name: Any) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise Refused(f"it holds the dtype {shown(name)!r}")
    return dtype


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "tensor": str,
    "float": _float,
    "bytes": base64.b64decode,
    "array": _array,
    "scalar": lambda body: _array(body)[()],
    "dtype": _known_dtype,
    "path": Path,
}


def write_safetensors(state: dict[str, Any], path: str) -> None:
    """Write a checkpoint, atomically.

    Raises:
        ValueError: an object of a kind that JSON cannot be made of, or a tensor of a dtype the format lacks.
    """
    encoder = _Encoder()
    # The model's place in the order of the state is kept, its tensors are not among the others.
    rest = encoder.encode({key: None if key == "model" else value for key, value in state.items()})
    header: dict[str, Any] = {}
    offset = 0
    tensors = {**state["model"], **encoder.tensors}
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise ValueError(f"{name} is of type {tensor.dtype}, which safetensors files do not have")
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    header["__metadata__"] = {"format": "pt", "fairseq": json.dumps(rest)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin aligned
    with replacing(path) as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for tensor in tensors.values():
            if tensor.numel():
                out.write(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)


def read_safetensors(path: str) -> dict[str, Any]:
    """The checkpoint in a safetensors file; one that other programs wrote has a ``model`` and nothing else.

    Raises:
        CorruptCheckpointError: not such a file, or its header does not fit its size, or its metadata holds what no
            checkpoint needs.
    """
    with Source(path) as source:
        try:
            return _read(source)
        except (Refused, Malformed) as error:
            reason = str(error)
        except MemoryError:
            reason = "not enough memory for it"
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError, ArithmeticError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise CorruptCheckpointError(f"{path} is no safetensors file, or damaged: {shown(reason)}")


def _read(source: Source) -> dict[str, Any]:
    length = int.from_bytes(source.read(0, 8), "little") if source.size >= 8 else 0
    if not 2 <= length <= min(source.size - 8, _MAX_HEADER):
        raise Refused("its header does not fit into it")
    header = strict_json.loads(source.read(8, length))
    if not isinstance(header, dict):
        raise Refused("its header is no table of tensors")
    metadata = header.pop("__metadata__", None) or {}
    entries = [(name, _entry(name, item)) for name, item in header.items()]
    _refuse_gaps([entry for _, entry in entries], source.size - 8 - length)
    tensors: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name, (dtype, shape, begin, end) in entries:
        data = source.copy(8 + length + begin, end - begin)
        tensors[name] = torch.tensor([], dtype=dtype).set_(data).reshape(shape)  # type: ignore[call-overload]
    state = _Decoder(tensors).decode(strict_json.loads(metadata.get("fairseq", "{}")))
    if not isinstance(state, dict):
        raise Refused("its metadata is no dictionary")
    state["model"] = OrderedDict((name, value) for name, value in tensors.items() if not name.startswith(_OTHERS))
    return state


def _refuse_gaps(entries: list[tuple[torch.dtype, list[int], int, int]], size: int) -> None:
    """Each byte belongs to one tensor; otherwise a small file could hold any number of large ones, or hide data."""
    last = 0
    for begin, end in sorted((begin, end) for _, _, begin, end in entries):
        if begin != last:
            raise Refused("its tensors overlap, or leave room between them")
        last = end
    if last != size:
        raise Refused("its tensors do not end where the file ends")


def _entry(name: str, item: dict[str, Any]) -> tuple[torch.dtype, list[int], int, int]:
    if item["dtype"] not in _DTYPES:
        raise Refused(f"{shown(name)} is of the unknown type {shown(str(item['dtype']))}")
    dtype, shape, (begin, end) = _DTYPES[item["dtype"]], item["shape"], item["data_offsets"]
    numbers = [*shape, begin, end]
    if len(shape) > 64 or any(type(number) is not int or not 0 <= number < 1 << 62 for number in numbers):
        raise Refused(f"{shown(name)} has no usable shape or place")
    if begin > end or end - begin != math.prod(shape) * dtype.itemsize:
        raise Refused(f"{shown(name)} does not fit into its place in the file")
    return dtype, shape, begin, end
