# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Compiled batching; ``batching_numpy`` is the twin with identical results, and says what each function does."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

import numpy as np

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define FETCH_SOON(address) __builtin_prefetch(address, 1)
    #else
    #define FETCH_SOON(address) ((void)(address))
    #endif
    """
    void FETCH_SOON(const void *address) noexcept nogil

# The head of what a NumPy bit generator's capsule points to; NumPy documents it for C code.
ctypedef uint64_t (*draw_64)(void *state) noexcept nogil
ctypedef uint32_t (*draw_32)(void *state) noexcept nogil
ctypedef struct Generator:
    void *state
    draw_64 next_64
    draw_32 next_32

KERNEL_VERSION = 2

# How far ahead memory is asked for: enough to hide its latency, little enough to stay in the first cache.
cdef enum:
    AHEAD = 64

ctypedef fused integer:
    uint16_t
    int32_t
    int64_t

ctypedef fused position:
    int32_t
    int64_t


cdef Py_ssize_t _find_ends(
    const integer[::1] sizes, int64_t max_tokens, int64_t max_sentences, int64_t multiple, int64_t[::1] ends
) noexcept nogil:
    cdef Py_ssize_t total = sizes.shape[0], start = 0, stop, cut, i, found = 0
    cdef int64_t longest, count, tail_longest
    cdef bint overflow
    while start < total:
        longest = 0
        stop = start
        overflow = False
        while stop < total:
            if <int64_t>sizes[stop] > longest:
                longest = <int64_t>sizes[stop]
            count = stop + 1 - start
            if (max_sentences > 0 and count > max_sentences) or (max_tokens > 0 and count * longest > max_tokens):
                overflow = True
                break
            stop += 1
        count = stop - start
        cut = stop if count < multiple else start + count - count % multiple
        ends[found] = cut
        found += 1
        if not overflow:
            if cut < total:
                ends[found] = total
                found += 1
            break
        # The sentences after the cut open the next batch, if they and the one that did not fit go together.
        if cut < stop and max_tokens > 0:
            tail_longest = 0
            for i in range(cut, stop + 1):
                if <int64_t>sizes[i] > tail_longest:
                    tail_longest = <int64_t>sizes[i]
            if tail_longest * (stop + 1 - cut) > max_tokens:
                ends[found] = stop
                found += 1
                cut = stop
        start = cut
    return found


def _ends_of(const integer[::1] sizes, int64_t max_tokens, int64_t max_sentences, int64_t multiple):
    # Every batch has a sentence at least, so there are never more ends than sentences.
    buffer = np.empty(sizes.shape[0], dtype=np.int64)
    cdef int64_t[::1] ends = buffer
    cdef Py_ssize_t found
    with nogil:
        found = _find_ends(sizes, max_tokens, max_sentences, multiple, ends)
    return buffer[:found].copy()


def batch_ends(sizes, max_tokens, max_sentences, multiple):
    return _ends_of(sizes, max_tokens, max_sentences, multiple)


def fixed_shape_ends(const int64_t[::1] sizes, const int64_t[:, ::1] shapes):
    cdef Py_ssize_t total = sizes.shape[0], kinds = shapes.shape[0], pos = 0, start = 0, found = 0, kind
    cdef int64_t longest = 0, grown
    cdef bint fits
    buffer = np.empty(total, dtype=np.int64)
    cdef int64_t[::1] ends = buffer
    with nogil:
        while pos < total:
            grown = sizes[pos] if sizes[pos] > longest else longest
            fits = pos == start
            for kind in range(kinds):
                if pos + 1 - start <= shapes[kind, 0] and grown <= shapes[kind, 1]:
                    fits = True
                    break
            if fits:
                longest = grown
                pos += 1
            else:
                ends[found] = pos
                found += 1
                start = pos
                longest = 0
        if start < total:
            ends[found] = total
            found += 1
    return buffer[:found].copy()


def _counting_order(
    const position[::1] order, const integer[::1] keys, int64_t top, bint is_permutation, position[::1] out
):
    cdef Py_ssize_t i, total = order.shape[0]
    cdef int64_t slot, running = 0, here
    counts = np.zeros(top + 1, dtype=np.int64)
    cdef int64_t[::1] place = counts
    with nogil:
        for i in range(total):
            # The sum is the same, and reading the keys as they lie is much faster.
            place[<Py_ssize_t>(keys[i] if is_permutation else keys[order[i]])] += 1
        for i in range(top + 1):
            here = place[i]
            place[i] = running
            running += here
        for i in range(total):
            if i + AHEAD < total:
                FETCH_SOON(&keys[order[i + AHEAD]])
            here = <int64_t>keys[order[i]]
            slot = place[here]
            out[slot] = order[i]
            place[here] = slot + 1


def counting_order(order, keys, top, is_permutation, out):
    _counting_order(order, keys, top, is_permutation, out)


cdef void _shuffle(position[::1] values, Generator *source) noexcept nogil:
    cdef Py_ssize_t last = values.shape[0] - 1, k, count
    cdef uint32_t mask = 0, drawn
    cdef position kept
    cdef uint32_t partner[AHEAD]
    while mask < <uint32_t>last:
        mask = mask << 1 | 1
    while last > 0:
        # Draw a few partners at once, so that their memory is on its way when they are swapped.
        count = AHEAD if last > AHEAD else last
        for k in range(count):
            while mask >> 1 >= <uint32_t>(last - k):
                mask >>= 1
            drawn = source.next_32(source.state) & mask
            while drawn > <uint32_t>(last - k):
                drawn = source.next_32(source.state) & mask
            partner[k] = drawn
            FETCH_SOON(&values[drawn])
        for k in range(count):
            kept = values[last - k]
            values[last - k] = values[partner[k]]
            values[partner[k]] = kept
        last -= count


def _shuffle_array(position[::1] values, capsule):
    cdef Generator *source = <Generator *>PyCapsule_GetPointer(capsule, "BitGenerator")
    with nogil:
        _shuffle(values, source)


def shuffle(values):
    generator = np.random.get_bit_generator()
    with generator.lock:
        _shuffle_array(values, generator.capsule)


def _take_larger(const position[::1] indices, const integer[::1] values, integer[::1] out):
    cdef Py_ssize_t i, total = indices.shape[0]
    cdef integer value
    with nogil:
        for i in range(total):
            if i + AHEAD < total:
                FETCH_SOON(&values[indices[i + AHEAD]])
            value = values[indices[i]]
            if value > out[i]:
                out[i] = value


def take_larger(indices, values, out):
    _take_larger(indices, values, out)
