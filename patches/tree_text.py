"""The helper module that patched code imports, as text."""

from __future__ import annotations

import pkgutil

__all__ = ["helper_text", "is_helper"]

# First line of the module; how a tree's copy is told from a file of the tree that has the same name.
MARKER = b"# Added by fairseq-patch; `fairseq-patch revert` takes it away again.\n"


def is_helper(data: bytes) -> bool:
    """Whether ``data`` is a copy of the helper module, of this or an earlier version."""
    return data.startswith(MARKER)


def helper_text() -> bytes:
    """Content of the helper module."""
    data = pkgutil.get_data(__package__, "tree_helper.py")
    if data is None:
        raise FileNotFoundError("tree_helper.py is missing from the installed fairseq_patches package: reinstall it")
    return MARKER + data
