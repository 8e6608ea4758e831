"""What the binary formats share: file names, magic numbers, element types, checks. All numbers are little-endian."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
from array import array
from collections.abc import Iterable
from typing import IO, Any, NoReturn

import numpy as np

from fairseq.file_io import naming_file

__all__ = [
    "best_fitting_int_dtype",
    "data_file_path",
    "dtype_code",
    "index_file_path",
    "read_longs",
    "write_longs",
]

MMAP_MAGIC = b"MMIDIDX\x00\x00"
TNT_MAGIC = b"TNTIDX\x00\x00"
HUFFMAN_MAGIC = b"HUFFIDX\x00\x00"

# Codes 6 and 7 come from two names of one numpy type; writers use 6.
DTYPES: dict[int, Any] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    6: np.float64,
    7: np.float64,
    8: np.uint16,
    9: np.uint32,
    10: np.uint64,
}
REBUILD = "Copy it again from its source, or build it again with fairseq-preprocess."


def damaged(path: str, what: str) -> NoReturn:
    """Raise the ``ValueError`` for a file that breaks its format's promise: which, what is wrong, what to do."""
    raise ValueError(f"{path} is damaged: {what}. {REBUILD}")


def index_file_path(prefix_path: str | os.PathLike[str]) -> str:
    """The index file of a prefix."""
    return os.fspath(prefix_path) + ".idx"


def data_file_path(prefix_path: str | os.PathLike[str]) -> str:
    """The data file of a prefix."""
    return os.fspath(prefix_path) + ".bin"


def best_fitting_int_dtype(max_int_to_represent: int | None) -> Any:
    """The numpy type that tokens are stored in, given the size of the vocabulary (``None``: not known)."""
    if max_int_to_represent is None:
        return np.uint32
    # 65500, not 65536: room for symbols that are added later.
    if max_int_to_represent < 65500:
        return np.uint16
    return np.uint32 if max_int_to_represent < 4294967295 else np.int64


def dtype_code(dtype: Any) -> int:
    """The number that stands for an element type in an index file.

    Raises:
        ValueError: the formats have no number for the type.
    """
    wanted = np.dtype(dtype)
    for code, known in DTYPES.items():
        if wanted == np.dtype(known):
            return code
    names = ", ".join(sorted({np.dtype(known).name for known in DTYPES.values()}))
    raise ValueError(f"data of type {wanted.name} cannot be stored; convert it to one of {names}")


def dtype_of_code(path: str, code: int) -> np.dtype:
    """The element type that an index file names."""
    if code not in DTYPES:
        damaged(path, f"unknown element type {code} (known: {min(DTYPES)} to {max(DTYPES)})")
    return np.dtype(DTYPES[code])


def read_longs(f: IO[bytes], n: int) -> np.ndarray:
    """Read ``n`` 64-bit integers.

    Raises:
        ValueError: the file has fewer left.
    """
    left = os.fstat(f.fileno()).st_size - f.tell()
    if not 0 <= 8 * n <= left:
        damaged(str(f.name), f"it should hold {n} more numbers of 8 bytes and has {left} bytes left")
    return np.fromfile(f, dtype="<i8", count=n)


def write_longs(f: IO[bytes], a: Iterable[int]) -> None:
    """Write 64-bit integers."""
    f.write(np.asarray(a if isinstance(a, (array, np.ndarray)) else list(a), dtype="<i8").tobytes())


def map_file(path: str) -> Any:
    """The bytes of a file as a read-only buffer, without reading them."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return b""  # an empty file cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def header(buffer: Any, path: str, magic: bytes, layout: str) -> tuple[Any, ...]:
    """Check the magic number at the start of an index and unpack the numbers behind it; the first is the version.

    Raises:
        AssertionError: another format.
        ValueError: cut short, or of an unknown version.
    """
    start = bytes(buffer[: len(magic)])
    if not magic.startswith(start):
        raise AssertionError(
            f"Index file doesn't match expected format. Make sure that --dataset-impl is configured properly. ({path})"
        )
    if len(buffer) < len(magic) + struct.calcsize(layout):
        damaged(path, f"{len(buffer)} bytes are too few for its header")
    version, *numbers = struct.unpack_from(layout, buffer, len(magic))
    if version != 1:
        damaged(path, f"its format version is {version}, and only 1 is known")
    return tuple(numbers)


def array_at(buffer: Any, path: str, dtype: str, count: int, offset: int) -> np.ndarray:
    """A view of ``count`` numbers in an index.

    Raises:
        ValueError: the index is too short for them.
    """
    itemsize = np.dtype(dtype).itemsize
    if count < 0 or count > (len(buffer) - offset) // itemsize:
        damaged(path, f"{count:,} numbers of {itemsize} bytes should follow byte {offset}; it ends at {len(buffer):,}")
    return np.frombuffer(buffer, dtype=dtype, count=count, offset=offset)


class DataWriter:
    """The data file of a builder: arrays of one type, one behind the other.

    Args:
        path: the file, replaced if it exists.
        dtype: of the elements.
    """

    def __init__(self, path: str, dtype: Any) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        with naming_file(path):
            self.file = open(path, "wb", buffering=1 << 20)  # noqa: SIM115 - close() does it

    def write(self, values: Any) -> int:
        """Append numbers, converted to the type of the file. Returns how many bytes that took.

        Raises:
            ValueError: a number does not fit the type.
            OSError: naming the file.
        """
        values = np.asarray(values)
        converted = values.astype(self.dtype, copy=False)
        if values.size and self.dtype.kind in "iu" and not np.can_cast(values.dtype, self.dtype):
            info, least, most = np.iinfo(self.dtype), values.min(), values.max()
            if least < info.min or most > info.max:
                raise ValueError(
                    f"{self.path}: values from {least} to {most} do not fit {self.dtype.name} "
                    f"({info.min} to {info.max}). Was the builder made for a smaller vocabulary?"
                )
        with naming_file(self.path):
            return self.file.write(converted.tobytes())

    def append_file(self, path: str) -> None:
        """Append the bytes of another data file."""
        with naming_file(self.path), open(path, "rb") as other:
            shutil.copyfileobj(other, self.file, 1 << 20)

    def close(self) -> None:
        """Bring everything to the disk."""
        if not self.file.closed:
            with naming_file(self.path), self.file:
                self.file.flush()
                os.fsync(self.file.fileno())
