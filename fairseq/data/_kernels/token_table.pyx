# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Words of UTF-8 text, counted and looked up without a Python object for each of them.

``encode_lines`` and ``token_counts`` hold the twins in Python, with identical results.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy

import os

import numpy as np

KERNEL_VERSION = 1

cdef struct Word:
    uint64_t code
    int64_t value
    int64_t start
    int64_t length

# Chosen anew in every process, so that no prepared text can put all its words into one slot.
cdef uint64_t SEED = int.from_bytes(os.urandom(8), "little")


cdef inline int width_of_space(const unsigned char *at) noexcept nogil:
    """How many bytes the white space at a position takes; 0 if there is none. The text ends with a zero byte."""
    cdef unsigned char first = at[0]
    if first <= 0x20:
        return first == 0x20 or 0x09 <= first <= 0x0D or 0x1C <= first <= 0x1F
    if first < 0xC2 or first > 0xE3:
        return 0
    if first == 0xC2:
        return 2 if at[1] == 0x85 or at[1] == 0xA0 else 0
    if first == 0xE1:
        return 3 if at[1] == 0x9A and at[2] == 0x80 else 0
    if first == 0xE2:
        if at[1] == 0x80:
            return 3 if at[2] <= 0x8A or at[2] == 0xA8 or at[2] == 0xA9 or at[2] == 0xAF else 0
        return 3 if at[1] == 0x81 and at[2] == 0x9F else 0
    if first == 0xE3:
        return 3 if at[1] == 0x80 and at[2] == 0x80 else 0
    return 0


cdef inline int64_t end_of_word(const unsigned char *text, int64_t start, int64_t total, uint64_t *code) noexcept nogil:
    """Where the word that starts at a position ends, and its hash."""
    cdef uint64_t mixed = SEED
    cdef int64_t at = start
    while at < total and not width_of_space(text + at):
        mixed = (mixed ^ text[at]) * <uint64_t>0x100000001B3
        at += 1
    mixed ^= mixed >> 32
    mixed *= <uint64_t>0x9E3779B97F4A7C15
    code[0] = mixed ^ (mixed >> 29)
    return at


cdef class WordTable:
    """Words with a number each, in the order in which they came."""

    cdef Word *words
    cdef int64_t count, room
    cdef int64_t *slots
    cdef int64_t mask
    cdef unsigned char *letters
    cdef int64_t num_letters, letter_room

    def __cinit__(self):
        self.mask = 1023
        self.slots = <int64_t *>calloc(self.mask + 1, sizeof(int64_t))
        if self.slots == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.words)
        free(self.slots)
        free(self.letters)

    def __len__(self):
        return self.count

    cdef int64_t find(self, const unsigned char *text, int64_t length, uint64_t code) noexcept nogil:
        """The place of a word; -1 if it is not there."""
        cdef int64_t slot = <int64_t>(code & <uint64_t>self.mask), place
        cdef Word *word
        while self.slots[slot]:
            place = self.slots[slot] - 1
            word = &self.words[place]
            if word.code == code and word.length == length and memcmp(self.letters + word.start, text, length) == 0:
                return place
            slot = (slot + 1) & self.mask
        return -1

    cdef int64_t insert(self, const unsigned char *text, int64_t length, uint64_t code, int64_t value) noexcept nogil:
        """Put a new word at the end; -1 without memory."""
        cdef int64_t slot, room
        cdef void *larger
        if self.count == self.room:
            room = 1024 if self.room == 0 else 2 * self.room
            larger = realloc(self.words, room * sizeof(Word))
            if larger == NULL:
                return -1
            self.words = <Word *>larger
            self.room = room
        if self.num_letters + length > self.letter_room:
            room = 2 * (self.num_letters + length) + 4096
            larger = realloc(self.letters, room)
            if larger == NULL:
                return -1
            self.letters = <unsigned char *>larger
            self.letter_room = room
        if 2 * (self.count + 1) > self.mask and self.spread() < 0:
            return -1
        memcpy(self.letters + self.num_letters, text, length)
        self.words[self.count].code = code
        self.words[self.count].value = value
        self.words[self.count].start = self.num_letters
        self.words[self.count].length = length
        self.num_letters += length
        self.count += 1
        slot = <int64_t>(code & <uint64_t>self.mask)
        while self.slots[slot]:
            slot = (slot + 1) & self.mask
        self.slots[slot] = self.count
        return self.count - 1

    cdef int spread(self) noexcept nogil:
        """Twice as many slots; -1 without memory."""
        cdef int64_t mask = 2 * self.mask + 1, place, slot
        cdef int64_t *slots = <int64_t *>calloc(mask + 1, sizeof(int64_t))
        if slots == NULL:
            return -1
        for place in range(self.count):
            slot = <int64_t>(self.words[place].code & <uint64_t>mask)
            while slots[slot]:
                slot = (slot + 1) & mask
            slots[slot] = place + 1
        free(self.slots)
        self.slots = slots
        self.mask = mask
        return 0

    def set(self, bytes word, int64_t value):
        """Give a word, which holds no white space, a number."""
        cdef uint64_t code = 0
        cdef const unsigned char *text = word
        cdef int64_t length = len(word), place
        if end_of_word(text, 0, length, &code) != length:
            raise ValueError("a word holds no white space")
        place = self.find(text, length, code)
        if place >= 0:
            self.words[place].value = value
        elif self.insert(text, length, code, value) < 0:
            raise MemoryError()

    def count_words(self, bytes block):
        """Add one to the number of every word of a text, at each of its places; new words begin with one."""
        cdef const unsigned char *text = block
        cdef int64_t total = len(block), at = 0, end, place
        cdef uint64_t code = 0
        cdef int width
        cdef bint failed = False
        with nogil:
            while at < total:
                width = width_of_space(text + at)
                if width:
                    at += width
                    continue
                end = end_of_word(text, at, total, &code)
                place = self.find(text + at, end - at, code)
                if place >= 0:
                    self.words[place].value += 1
                elif self.insert(text + at, end - at, code, 1) < 0:
                    failed = True
                    break
                at = end
        if failed:
            raise MemoryError()

    def items(self):
        """``(word, number)`` pairs, words as text."""
        cdef int64_t place
        for place in range(self.count):
            yield (
                self.letters[self.words[place].start : self.words[place].start + self.words[place].length].decode(),
                self.words[place].value,
            )

    def encode(self, bytes block, int64_t unknown, int64_t end_mark, bint reverse):
        """The numbers of all words, the number of tokens of each line, and begin and end of words that are not here.

        Lines end at each newline byte. ``end_mark`` goes behind each line, unless it is negative.
        """
        cdef const unsigned char *text = block
        cdef int64_t total = len(block), at = 0, end, place, found = 0, line = 0, first = 0, missing = 0, low, high, kept
        cdef uint64_t code = 0
        cdef int width
        # Every token takes a byte at least, as does every line; memory that is not written to is not taken.
        token_array = np.empty(total + 2, dtype=np.int64)
        length_array = np.empty(block.count(b"\n") + 1, dtype=np.int64)
        span_array = np.empty((total // 2 + 1, 2), dtype=np.int64)
        cdef int64_t[::1] tokens = token_array, lengths = length_array
        cdef int64_t[:, ::1] spans = span_array
        with nogil:
            while at <= total:
                if at == total or text[at] == 10:
                    if at == total and (total == 0 or text[total - 1] == 10):
                        break
                    if reverse:
                        low, high = first, found - 1
                        while low < high:
                            kept = tokens[low]
                            tokens[low] = tokens[high]
                            tokens[high] = kept
                            low += 1
                            high -= 1
                    if end_mark >= 0:
                        tokens[found] = end_mark
                        found += 1
                    lengths[line] = found - first
                    line += 1
                    first = found
                    at += 1
                    continue
                width = width_of_space(text + at)
                if width:
                    at += width
                    continue
                end = end_of_word(text, at, total, &code)
                place = self.find(text + at, end - at, code)
                if place >= 0:
                    tokens[found] = self.words[place].value
                else:
                    tokens[found] = unknown
                    spans[missing, 0] = at
                    spans[missing, 1] = end
                    missing += 1
                found += 1
                at = end
        return token_array[:found], length_array[:line], span_array[:missing]
