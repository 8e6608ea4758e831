from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data import listed

from fairseq.data import TokenBlockDataset
from fairseq.data._kernels import token_blocks_numpy
from fairseq.data._kernels.loading import compiled_or

COMPILED = compiled_or("token_blocks", token_blocks_numpy)
KERNELS = [token_blocks_numpy] + ([COMPILED] if COMPILED is not token_blocks_numpy else [])


def by_rule(sizes, block_size, separator, shortest):
    blocks, begin, position = [], 0, 0
    for size in [*sizes, None]:
        full = size is None or position - begin + size > block_size or size == separator
        if full and position > begin:
            if position - begin >= shortest:
                blocks.append([begin, position])
            begin = position
        position += size or 0
        if size == separator:
            begin = position
    return blocks


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__.rsplit(".", 1)[-1])
@given(
    sizes=st.lists(st.integers(1, 9), max_size=60),
    block_size=st.integers(1, 20),
    separator=st.sampled_from([-1, 1, 2]),
    shortest=st.sampled_from([1, 2]),
)
@settings(max_examples=80, deadline=None)
def test_blocks_of_whole_sentences_follow_the_rule(kernel, sizes, block_size, separator, shortest):
    found = kernel.whole_sentences(np.array(sizes, dtype=np.int64), block_size, separator, shortest)
    assert found.tolist() == by_rule(sizes, block_size, separator, shortest)


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    in_order=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_kernels_agree_where_a_block_lies(sizes, cuts, in_order):
    from fairseq.data.token_block_utils_fast import _get_block_to_dataset_index_fast

    array, total = np.array(sizes, dtype=np.int32), sum(sizes)
    assert all(kernel.each_sentence(array).tolist() == KERNELS[0].each_sentence(array).tolist() for kernel in KERNELS)
    ends = sorted(min(cut, total) for cut in cuts)
    blocks = np.array([*pairwise(ends)], dtype=np.int64).reshape(-1, 2)
    if not in_order:
        blocks = blocks[::-1]
    found = _get_block_to_dataset_index_fast(array, blocks)
    assert found.tolist() == token_blocks_numpy.sentences_of_blocks(array, blocks).tolist()
    starts = np.cumsum(array) - array
    for (begin, end), (first, offset, last) in zip(blocks.tolist(), found.tolist()):
        if end > begin:
            assert starts[first] + offset == begin
            assert 0 <= offset < sizes[first]
            assert starts[last] < end <= starts[last] + sizes[last]


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30), block_size=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_no_token_is_lost_or_repeated(sizes, block_size):
    numbers = iter(range(10**6))
    sentences = [[next(numbers) for _ in range(size)] for size in sizes]
    base = listed(*sentences)
    for mode in ("none", "complete", "eos"):
        blocks = TokenBlockDataset(base, base.sizes, block_size, pad=1, eos=2, break_mode=mode)
        joined = [token for i in range(len(blocks)) for token in blocks[i].tolist()]
        assert joined == list(range(sum(sizes)))
        assert [len(blocks[i]) for i in range(len(blocks))] == list(blocks.sizes)


def test_an_empty_data_set_is_refused():
    with pytest.raises(AssertionError, match="at least one sentence"):
        TokenBlockDataset([], [], 5, pad=1, eos=2)


def test_a_mode_that_needs_a_block_size_says_so():
    base = listed([4, 2])
    with pytest.raises(ValueError, match="block_size"):
        TokenBlockDataset(base, base.sizes, None, pad=1, eos=2, break_mode="complete")
