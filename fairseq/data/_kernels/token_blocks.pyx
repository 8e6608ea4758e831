# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compiled grouping of sentences into blocks; ``token_blocks_numpy`` is the twin, and says what the function does."""

from libc.stdint cimport int32_t, int64_t, uint16_t

import numpy as np

KERNEL_VERSION = 2

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


def _each_sentence(const integer[::1] sizes):
    cdef Py_ssize_t total = sizes.shape[0], i
    cdef int64_t position = 0
    buffer = np.empty((total, 2), dtype=np.int64)
    cdef int64_t[:, ::1] blocks = buffer
    with nogil:
        for i in range(total):
            blocks[i, 0] = position
            position += <int64_t>sizes[i]
            blocks[i, 1] = position
    return buffer


def each_sentence(sizes):
    return _each_sentence(sizes)


def _sentences_of_blocks(const integer[::1] sizes, const int64_t[:, ::1] blocks):
    cdef Py_ssize_t total = sizes.shape[0], count = blocks.shape[0], first = 0, last = 0, i
    cdef int64_t end_of_first, end_of_last, begin, final, before_begin = -1, before_final = -1
    cdef bint in_order = True
    buffer = np.empty((count, 3), dtype=np.int64)
    cdef int64_t[:, ::1] found = buffer
    if total == 0:
        return None
    with nogil:
        end_of_first = end_of_last = <int64_t>sizes[0]
        for i in range(count):
            begin = blocks[i, 0]
            final = blocks[i, 1] - 1
            if begin < before_begin or final < before_final:
                in_order = False
                break
            before_begin = begin
            before_final = final
            while end_of_first <= begin and first < total - 1:
                first += 1
                end_of_first += <int64_t>sizes[first]
            while end_of_last <= final and last < total - 1:
                last += 1
                end_of_last += <int64_t>sizes[last]
            found[i, 0] = first
            found[i, 1] = begin - (end_of_first - <int64_t>sizes[first])
            found[i, 2] = last
    return buffer if in_order else None


def sentences_of_blocks(sizes, blocks):
    return _sentences_of_blocks(sizes, blocks)
