"""Finding the compiled modules, which are optional."""

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["compiled_or", "for_kernel"]

KERNEL_DTYPES = tuple(np.dtype(name) for name in ("uint16", "int32", "int64"))


def compiled_or(name: str, twin: ModuleType) -> ModuleType:
    """The compiled module of this name; its NumPy twin where that was not built, or was built from older code."""
    try:
        module = importlib.import_module(f"fairseq.data._kernels.{name}")
    except ImportError:
        return twin
    return module if getattr(module, "KERNEL_VERSION", None) == twin.KERNEL_VERSION else twin


def for_kernel(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers, contiguous and in one of the integer types that the kernels take."""
    values = np.asarray(values)
    if values.dtype not in KERNEL_DTYPES:
        values = values.astype(np.int64)
    return np.ascontiguousarray(values)
