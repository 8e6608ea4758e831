import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data import data_utils
from fairseq.data._kernels import batching_numpy
from fairseq.data._kernels.loading import compiled_or
from fairseq.data.batching.batches import Batches

COMPILED = compiled_or("batching", batching_numpy)
KERNELS = [batching_numpy] + ([COMPILED] if COMPILED is not batching_numpy else [])

SIZES = st.lists(st.integers(1, 40), max_size=120)
LIMITS = st.fixed_dictionaries(
    {"max_tokens": st.integers(40, 300) | st.just(-1), "max_sentences": st.integers(1, 20) | st.just(-1)}
)


def by_rule(sizes, max_tokens, max_sentences, multiple):
    """The rule sentence by sentence: a current batch, a tail that waits for the next multiple."""
    batches, current, tail = [], [], []
    for position, _ in enumerate(sizes):
        together = [*current, *tail, position]
        longest = max(sizes[i] for i in together)
        over = len(together) > max_sentences > 0 or len(together) * longest > max_tokens > 0
        tail.append(position)
        if over:
            batches.append(current)
            if max(sizes[i] for i in tail) * len(tail) > max_tokens > 0:
                batches.append(tail[:-1])
                tail = tail[-1:]
            current, tail = tail, []
        elif len(together) < multiple or len(together) % multiple == 0:
            current, tail = together, []
    return [batch for batch in (*batches, current, tail) if batch]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__.rsplit(".", 1)[-1])
@given(sizes=SIZES, limits=LIMITS, multiple=st.sampled_from([1, 2, 3, 8]))
@settings(max_examples=80, deadline=None)
def test_batches_follow_the_rule_exactly(kernel, sizes, limits, multiple):
    ends = kernel.batch_ends(np.array(sizes, dtype=np.int64), limits["max_tokens"], limits["max_sentences"], multiple)
    starts = [0, *ends.tolist()[:-1]]
    found = [list(range(start, end)) for start, end in zip(starts, ends.tolist())]
    assert found == by_rule(sizes, limits["max_tokens"], limits["max_sentences"], multiple)


@given(sizes=SIZES, limits=LIMITS, multiple=st.sampled_from([1, 2, 3, 8]), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_batching_keeps_every_sample_once_and_exceeds_no_limit(sizes, limits, multiple, seed):
    sizes = np.array(sizes, dtype=np.int32)
    order = np.random.RandomState(seed).permutation(len(sizes))
    batches = data_utils.batch_by_size(
        order, None, num_tokens_vec=sizes[order], required_batch_size_multiple=multiple, **limits
    )
    assert [int(i) for batch in batches for i in batch] == order.tolist()
    for batch in batches:
        assert len(batch) <= limits["max_sentences"] or limits["max_sentences"] < 0
        assert len(batch) * sizes[batch].max() <= limits["max_tokens"] or limits["max_tokens"] < 0


def test_the_last_batch_is_kept_whatever_the_multiple_says():
    batches = data_utils.batch_by_size(np.arange(10), lambda i: 5, max_sentences=4, required_batch_size_multiple=8)
    assert sum(len(batch) for batch in batches) == 10


@given(
    sizes=SIZES,
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 45)), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_fixed_shapes_agree_between_kernels_and_hold_every_sample(sizes, shapes):
    sizes = np.array(sizes, dtype=np.int64)
    shapes = np.array(sorted(shapes), dtype=np.int64)
    results = [kernel.fixed_shape_ends(sizes, shapes).tolist() for kernel in KERNELS]
    assert all(result == results[0] for result in results)
    assert (results[0][-1] if results[0] else 0) == len(sizes)
    for start, end in zip([0, *results[0]], results[0]):
        longest = sizes[start:end].max()
        assert end - start == 1 or any(end - start <= rows and longest <= tokens for rows, tokens in shapes)


@given(keys=st.lists(st.integers(0, 50), min_size=1, max_size=80), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_sorting_by_counting_is_a_stable_sort(keys, seed):
    from fairseq.data.data_utils_fast import stable_order

    minor = np.array(keys, dtype=np.int32)
    major = np.random.RandomState(seed).randint(0, 4, len(keys)).astype(np.uint16)
    order = np.random.RandomState(seed).permutation(len(keys)).astype(np.int32)
    expected = order[np.argsort(minor[order], kind="stable")]
    expected = expected[np.argsort(major[expected], kind="stable")]
    for permutation in (True, False):
        assert stable_order(order, minor, major, is_permutation=permutation).tolist() == expected.tolist()
    far = minor.astype(np.int64) * 10**12
    assert stable_order(order, far, major).tolist() == expected.tolist()
    for kernel in KERNELS:
        out = np.empty(len(keys), dtype=np.int32)
        kernel.counting_order(order, minor, 50, True, out)
        assert out.tolist() == order[np.argsort(minor[order], kind="stable")].tolist()


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.__name__.rsplit(".", 1)[-1])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 63, 64, 65, 127, 128, 129, 5000])
def test_the_shuffle_is_that_of_numpy_and_leaves_the_generator_where_numpy_does(kernel, dtype, length):
    ours, theirs = np.arange(length, dtype=dtype), np.arange(length, dtype=dtype)
    after = []
    for values, shuffle in ((ours, kernel.shuffle), (theirs, np.random.shuffle)):
        with data_utils.numpy_seed(length + 1):
            shuffle(values)
            after.append(np.random.randint(1 << 30))
    assert ours.tolist() == theirs.tolist()
    assert after[0] == after[1]


@given(sizes=st.lists(st.integers(-3, 50), min_size=1, max_size=90), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_sizes_are_looked_up_the_same_by_either_kernel_and_for_every_type(sizes, seed):
    from fairseq.data.batching.size_limits import take_sizes

    random = np.random.RandomState(seed)
    first, second = np.array(sizes), random.randint(-5, 60, len(sizes))
    rows = random.randint(0, len(sizes), 2 * len(sizes))
    expected = np.maximum(first[rows], second[rows]).tolist()
    for dtype in (np.int64, np.int32, np.float64):
        assert take_sizes(rows, first.astype(dtype), second.astype(dtype)).tolist() == expected
    for kernel in KERNELS:
        out = np.full(len(rows), -100, dtype=np.int32)
        for array in (first, second):
            kernel.take_larger(rows.astype(np.int32), array.astype(np.int32), out)
        assert out.tolist() == expected
    with pytest.raises(IndexError):
        take_sizes(np.array([len(sizes)]), first)


def test_a_sample_over_the_limit_is_refused_by_name_of_the_limit():
    with pytest.raises(AssertionError, match="should not exceed max_tokens=10"):
        data_utils.batch_by_size(np.arange(2), lambda i: 11, max_tokens=10)


def test_batches_behave_as_a_list_of_index_arrays():
    batches = Batches(np.array([5, 3, 4, 9, 1]), np.array([2, 3, 5]))
    assert len(batches) == 3 and batches[-1].tolist() == [9, 1]
    assert batches[1:] == [[4], [9, 1]]
    assert [batch.tolist() for batch in batches] == [[5, 3], [4], [9, 1]]
    assert [4] in batches and len(batches + [[7]]) == 4
    with pytest.raises(IndexError):
        batches[3]
    batches[0] = [8]
    batches.append([2])
    del batches[1]
    assert [list(batch) for batch in batches] == [[8], [9, 1], [2]]


def test_shuffling_batches_is_the_shuffle_of_the_list_they_stand_for():
    plain = [[0, 1], [2], [3, 4], [5], [6], [7, 8]]
    batches = Batches(np.arange(9), np.cumsum([len(batch) for batch in plain]))
    for items in (plain, batches):
        with data_utils.numpy_seed(7):
            np.random.shuffle(items)
    assert [list(batch) for batch in batches] == plain


def test_long_samples_are_named_when_they_are_not_to_be_skipped():
    from fairseq.data import FairseqDataset

    class Sized(FairseqDataset):
        sizes = np.array([3, 9, 4])

        def size(self, index):
            return int(self.sizes[index])

    with pytest.raises(Exception, match=r"Size of sample #1 is invalid \(=9\) since max_positions=5"):
        data_utils.filter_by_size(np.arange(3), Sized(), 5, raise_exception=True)


@pytest.mark.parametrize(
    ("size", "limit", "fits"),
    [
        (5, 5, True),
        ((5, 7), (5, 6), False),
        ((5, 7), (5, None), True),
        ({"a": (3, 4), "b": (9, 9)}, {"a": (3, 4)}, True),
        ({"a": (3, 5)}, {"a": (3, 4)}, False),
        ({"a": (3, 5)}, 4, False),
    ],
)
def test_sizes_of_every_shape_are_compared_with_their_limits(size, limit, fits):
    from fairseq.data.batching.size_limits import select_by_size_fn

    kept, ignored = select_by_size_fn(np.array([0]), lambda index: size, limit)
    assert (len(kept), len(ignored)) == ((1, 0) if fits else (0, 1))
