"""Index arrays in memory once, however many processes of a machine use them.

The names are those of upstream, which kept such arrays in a Plasma server; pyarrow dropped it. Here they are files that
every process maps (:mod:`fairseq.utils.shared_arrays`), and no server is needed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
import zlib
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairseq.utils.shared_arrays import ArrayFolder

__all__ = ["DEFAULT_PLASMA_PATH", "GB100", "PYARROW_AVAILABLE", "PlasmaArray", "PlasmaStore", "PlasmaView", "plasma"]

GB100 = 1024**3 * 100
DEFAULT_PLASMA_PATH = "/tmp/plasma"

# Programs ask this before they use views. Views work, with pyarrow or without.
PYARROW_AVAILABLE = True
plasma = None

# Smaller arrays travel to other processes faster than through a file.
SMALLEST_SHARED_BYTES = 1 << 27


class PlasmaArray:
    """An array that is shared, not copied, with processes it is sent to (data-loader workers that are spawned).

    Args:
        array: any array. Small ones are sent as they are.

    Attributes:
        array: the array.
        disable: it is too small to be worth a file.
        object_id: its name among the shared arrays, once it was sent.
        path: the folder of the file, once it was sent.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        self.disable = array.nbytes < SMALLEST_SHARED_BYTES
        self.object_id: str | None = None
        self.path: str | None = None
        self._owner: int | None = None

    @property
    def plasma(self) -> None:
        """No module is needed."""
        return

    def start_server(self) -> None:
        """Make the folder for the file."""
        if self.path is None:
            self.path = tempfile.mkdtemp(prefix="fairseq-array-")
            self._owner = os.getpid()

    @property
    def client(self) -> ArrayFolder:
        """Where the file is."""
        self.start_server()
        return ArrayFolder(str(self.path))

    def __getstate__(self) -> dict[str, Any]:
        if self.disable:
            return self.__dict__
        if self.object_id is None:
            folder = self.client
            self.object_id = "0"
            folder.put(self.object_id, self.array)
        return {**self.__dict__, "array": None, "_owner": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not self.disable:
            self.array = self.client.get(str(self.object_id))

    def __del__(self) -> None:
        # Forked children have the object, but the file is their parent's.
        if getattr(self, "_owner", None) == os.getpid():
            self.client.clear()


class PlasmaView:
    """An array that all processes of a machine hold in common: the first stores it, the others map it.

    Args:
        array: the array. Its contents are part of its name, so that one left by an earlier run does no harm.
        split_path: the data it belongs to.
        hash_data: what else tells it apart from other arrays of that data; equal numbers, texts or tuples of them give
            equal names in every process.
        plasma_path: the folder to store it in.

    Raises:
        TypeError: ``split_path`` is no text.
    """

    def __init__(
        self,
        array: NDArray[Any],
        split_path: str | os.PathLike[str],
        hash_data: Hashable,
        plasma_path: str | os.PathLike[str] | None = None,
    ) -> None:
        split_path = os.fspath(split_path) if isinstance(split_path, os.PathLike) else split_path
        if not isinstance(split_path, str):
            raise TypeError(f"split_path names the data, so it has to be text; got {split_path!r}")
        self.path = plasma_path or DEFAULT_PLASMA_PATH
        self.split_path = split_path
        contents = (array.shape, array.dtype.str, zlib.crc32(np.ascontiguousarray(array).data.cast("B")))
        self.object_id = self.get_object_id(split_path, (hash_data, contents))
        self._mapped: NDArray[Any] | None = None
        self.client.put(self.object_id, array)

    @staticmethod
    def get_object_id(split_path: str | os.PathLike[str], hash_data: Hashable) -> str:
        """The name of an array, the same in every process."""
        return hashlib.blake2b(repr((os.fspath(split_path), hash_data)).encode(), digest_size=20).hexdigest()

    @property
    def client(self) -> ArrayFolder:
        """Where the file is."""
        return ArrayFolder(self.path, GB100)

    @property
    def array(self) -> NDArray[Any]:
        """The array, read-only."""
        if self._mapped is None:
            self._mapped = self.client.get(self.object_id)
        return self._mapped

    def __len__(self) -> int:
        return len(self.array)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def disconnect(self) -> None:
        """Let go of the array; it is mapped again when it is asked for."""
        self._mapped = None

    def __del__(self) -> None:
        self.disconnect()


class _Server:
    """Stands where upstream has a server process."""

    def __init__(self, folder: ArrayFolder) -> None:
        self.pid = os.getpid()
        self._folder = folder

    def poll(self) -> None:
        """It runs."""

    def kill(self) -> None:
        """Remove the stored arrays. Copies of this object in forked processes leave them alone."""
        if self.pid == os.getpid():
            self._folder.clear()

    terminate = kill


class PlasmaStore:
    """The folder of the views, removed when this object goes.

    Args:
        path: the folder.
        nbytes: how much may be stored in it.
    """

    def __init__(self, path: str = DEFAULT_PLASMA_PATH, nbytes: int = GB100) -> None:
        self.server = self.start(path, nbytes)
        # Also at the end of the program, when objects that are still alive are not deleted any more.
        self._end = weakref.finalize(self, self.server.kill)

    def __del__(self) -> None:
        if hasattr(self, "_end"):
            self._end()

    @staticmethod
    def start(path: str = DEFAULT_PLASMA_PATH, nbytes: int = GB100) -> Any:
        """Make the folder. Returns what stands for the server, with ``pid`` and ``kill()``.

        Raises:
            OSError: it cannot be made.
        """
        folder = ArrayFolder(path, nbytes)
        folder.make()
        return _Server(folder)
