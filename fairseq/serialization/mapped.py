"""Tensors that still lie in the checkpoint file (``mmap=True``): copy them out, and let go of what was copied.

Pages of a mapped file count as memory of the process once they were read. Copying a model out of a mapped file would
therefore seem to take twice its size, and on a machine with little memory would push out other programs' pages. Pages
that were not written to can be given back one tensor after another; the file still has them.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Any

import torch

from fairseq.serialization.source import mapped_ranges

__all__ = ["MappedTensors"]

_MADV_DONTNEED = 4
# Below this size the system call costs more than it gives back.
_WORTH_IT = 1 << 20


def _madvise() -> Any:
    if not sys.platform.startswith("linux"):
        return None  # elsewhere the same call may throw away what was changed
    function = getattr(ctypes.CDLL(None, use_errno=True), "madvise", None)
    if function is not None:
        function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.layout is torch.strided


class MappedTensors:
    """The tensors of a state that was read with ``mmap=True`` a moment ago.

    Args:
        state: as it was read; no tensor in it may have been changed yet.
        path: the file. Tensors that do not lie in it are left alone.
    """

    def __init__(self, state: Any, path: str | os.PathLike[str]) -> None:
        # By address: every tensor there, with the number of changes made to it so far. Holding the tensors keeps the
        # addresses theirs.
        self._known: dict[int, list[tuple[torch.Tensor, int]]] = {}
        ranges = mapped_ranges(path)
        self._advise = _madvise() if ranges else None
        if self._advise is None:
            return
        todo, seen = [state], set()
        while todo:
            node = todo.pop()
            if isinstance(node, torch.Tensor):
                if _is_plain(node) and any(begin <= node.data_ptr() < end for begin, end in ranges):
                    self._known.setdefault(node.data_ptr(), []).append((node, node._version))
            elif isinstance(node, (dict, list, tuple)) and id(node) not in seen:
                seen.add(id(node))
                todo.extend(node.values() if isinstance(node, dict) else node)

    def let_go(self, tensor: torch.Tensor) -> None:
        """Give back the pages of a tensor whose contents are not needed any more, unless somebody wrote to them."""
        if self._advise is None or not _is_plain(tensor):
            return
        size = tensor.numel() * tensor.element_size()
        known = self._known.get(tensor.data_ptr())
        if known is None or size < _WORTH_IT or not tensor.is_contiguous():
            return
        if any(other._version != version for other, version in known):
            return
        begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (tensor.data_ptr() + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin:
            self._advise(begin, end - begin, _MADV_DONTNEED)

    def own(self, tree: Any) -> Any:
        """``tree`` with every mapped tensor replaced by a copy in memory; tensors that were one stay one.

        Containers are changed in place where they can be.
        """
        copies: dict[int, torch.Tensor] = {}
        entered: set[int] = set()

        def owned(node: Any) -> Any:
            if isinstance(node, torch.Tensor):
                if not _is_plain(node) or type(node) is not torch.Tensor or node.data_ptr() not in self._known:
                    return node
                if id(node) not in copies:
                    copies[id(node)] = node.clone(memory_format=torch.preserve_format)
                    self.let_go(node)
                return copies[id(node)]
            if type(node) is tuple:
                return tuple(owned(part) for part in node)
            if id(node) in entered:
                return node
            if isinstance(node, (dict, list)):
                entered.add(id(node))
            if isinstance(node, dict):
                for key in node:
                    node[key] = owned(node[key])
            elif isinstance(node, list):
                node[:] = [owned(part) for part in node]
            return node

        return owned(tree) if self._advise is not None else tree
