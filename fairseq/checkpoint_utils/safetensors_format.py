"""Checkpoints as safetensors files: parameters as raw bytes, everything else as JSON. Nothing in them can be run.

Format (https://github.com/huggingface/safetensors): 8 bytes little-endian length of the header, the header (JSON: name
-> dtype, shape, byte range; ``__metadata__``: strings), then the tensors' bytes without gaps. Optimizer states are left
out. What is no tensor is kept as JSON under the metadata key ``fairseq``, so that the way back loses nothing else.
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections import OrderedDict
from typing import Any

import torch

from fairseq.serialization.errors import CorruptCheckpointError
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
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100_000_000
_KEPT = ("args", "cfg", "optimizer_history", "task_state", "extra_state")


def _to_json(value: Any) -> Any:
    if isinstance(value, Namespace):
        return {"__namespace__": _to_json(vars(value))}
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {"__tuple__": [_to_json(item) for item in value]}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.tolist() if value.numel() <= 16 else None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__namespace__"}:
            return Namespace(**_from_json(value["__namespace__"]))
        if set(value) == {"__tuple__"}:
            return tuple(_from_json(value["__tuple__"]))
        return {key: _from_json(item) for key, item in value.items()}
    return [_from_json(item) for item in value] if isinstance(value, list) else value


def write_safetensors(state: dict[str, Any], path: str) -> None:
    """Write a checkpoint's model, with its options and history, atomically."""
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in state["model"].items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    rest = {key: _to_json(state.get(key)) for key in _KEPT if key in state}
    if isinstance(rest.get("extra_state"), dict):
        # Running metrics and averages are tensors by the thousand; a converted model does not go on training.
        for key in ("metrics", "ema", "ema_fp32_params"):
            rest["extra_state"].pop(key, None)
    header["__metadata__"] = {"format": "pt", "fairseq": json.dumps(rest)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin aligned
    with replacing(path) as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for tensor in state["model"].values():
            out.write(
                tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
            )


def read_safetensors(path: str) -> dict[str, Any]:
    """The checkpoint in a safetensors file.

    Raises:
        CorruptCheckpointError: not such a file, or its header does not fit its size.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            raise CorruptCheckpointError(f"{path} is no safetensors file: its header does not fit into it")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", None) or {}
            entries = [(name, _entry(name, item, size - 8 - length)) for name, item in header.items()]
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise CorruptCheckpointError(f"{path} is no safetensors file, or damaged: {error}") from error
        model: OrderedDict[str, torch.Tensor] = OrderedDict()
        for name, (dtype, shape, begin, end) in entries:
            file.seek(8 + length + begin)
            raw = bytearray(file.read(end - begin))
            model[name] = (torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)).reshape(shape)
    state = _from_json(json.loads(metadata.get("fairseq", "{}")))
    return {**state, "model": model}


def _entry(name: str, item: dict[str, Any], room: int) -> tuple[torch.dtype, list[int], int, int]:
    dtype, shape, (begin, end) = _DTYPES[item["dtype"]], item["shape"], item["data_offsets"]
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError(f"{name} has the shape {shape}")
        count *= length
    if not 0 <= begin <= end <= room or end - begin != count * dtype.itemsize:
        raise ValueError(f"{name} does not fit into the file")
    return dtype, shape, begin, end
