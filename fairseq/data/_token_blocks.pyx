# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compiled grouping of sentences into blocks; ``_token_blocks_numpy`` is the twin, and says what the function does."""

from libc.stdint cimport int32_t, int64_t, uint16_t

import numpy as np

KERNEL_VERSION = 1

ctypedef fused integer:
    uint16_t
    int32_t
    int64_t


def _whole_sentences(const integer[::1] sizes, int64_t block_size, int64_t separator, int64_t shortest):
    cdef Py_ssize_t total = sizes.shape[0], i, found = 0
    cdef int64_t begin = 0, position = 0, size
    # A block has a sentence at least.
    buffer = np.empty((total, 2), dtype=np.int64)
    cdef int64_t[:, ::1] blocks = buffer
    with nogil:
        for i in range(total):
            size = <int64_t>sizes[i]
            if position > begin and (position - begin + size > block_size or size == separator):
                if position - begin >= shortest:
                    blocks[found, 0] = begin
                    blocks[found, 1] = position
                    found += 1
                begin = position
            position += size
            if size == separator:
                begin = position
        if position > begin and position - begin >= shortest:
            blocks[found, 0] = begin
            blocks[found, 1] = position
            found += 1
    return buffer[:found].copy()


def whole_sentences(sizes, block_size, separator, shortest):
    return _whole_sentences(sizes, block_size, separator, shortest)
