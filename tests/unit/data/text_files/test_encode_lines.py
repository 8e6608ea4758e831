"""The compiled counting and encoding of words against the Python they stand for."""

import pickle
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data.dictionary import Dictionary
from fairseq.data.text_files import encode_lines as module
from fairseq.data.text_files import token_counts
from fairseq.data.text_files.encode_lines import TextEncoder, encode_lines

# Every kind of white space, and letters whose bytes look like it.
SPACES = "\n\t\r\x0b\x0c\x1c\x1f \x85\xa0\u1680\u2000\u200a\u2028\u202f\u205f\u3000"
NO_SPACES = "abÿ\u0084\u1681\u200b\u2030\u2060\u3001\U0001f600\x00"
TEXTS = st.text(st.sampled_from(SPACES + NO_SPACES), max_size=60)

compiled_only = pytest.mark.skipif(token_counts.compiled is None, reason="the compiled module was not built")


@pytest.fixture
def dictionary():
    made = Dictionary()
    for word in ("a", "b", "ab", "ÿ", "a b", ""):
        made.add_symbol(word)
    return made


@compiled_only
@given(texts=st.lists(TEXTS, max_size=4))
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_split(texts):
    counts = token_counts.WordCounts()
    for text in texts:
        counts.add(text)
    assert counts.total() == Counter(word for text in texts for word in text.split())


@compiled_only
@given(text=TEXTS, append_eos=st.booleans(), reverse=st.booleans())
@settings(max_examples=200, deadline=None)
def test_codes_are_those_of_the_lines(text, append_eos, reverse):
    dictionary = Dictionary()
    for word in ("a", "b", "ab", "ÿ", "a b", ""):
        dictionary.add_symbol(word)
    found = TextEncoder(dictionary, append_eos, reverse).encode(text)
    lines = text.split("\n")
    expected = encode_lines(lines if lines[-1] else lines[:-1], dictionary, append_eos, reverse)
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.lengths.tolist() == expected.lengths.tolist()
    assert found.replaced == expected.replaced


@compiled_only
def test_many_words_are_kept_apart():
    text = " ".join(f"w{i % 5000}" for i in range(20000))
    counts = token_counts.WordCounts()
    counts.add(text)
    assert counts.total() == Counter(text.split())


def test_without_the_compiled_module_the_result_is_the_same(monkeypatch, dictionary):
    text = "a x b\n\nab <unk> </s>\n"
    found = TextEncoder(dictionary).encode(text)
    counted = token_counts.WordCounts()
    counted.add(text)
    monkeypatch.setattr(module, "compiled", None)
    monkeypatch.setattr(token_counts, "compiled", None)
    twin = TextEncoder(dictionary).encode(text)
    assert (found.tokens.tolist(), found.lengths.tolist()) == (twin.tokens.tolist(), twin.lengths.tolist())
    assert found.replaced == twin.replaced == {"x": 1}
    counted_by_twin = token_counts.WordCounts()
    counted_by_twin.add(text)
    assert counted.total() == counted_by_twin.total()


def test_an_encoder_can_be_sent_to_another_process_and_sees_new_words(dictionary):
    encoder = TextEncoder(dictionary, append_eos=False)
    assert encoder.encode("z a").tokens.tolist() == [3, 4]
    sent = pickle.loads(pickle.dumps(encoder))
    assert sent.encode("z a").tokens.tolist() == [3, 4]
    new = dictionary.add_symbol("z")
    assert encoder.encode("z a").tokens.tolist() == [new, 4]


def test_lone_surrogates_are_counted_as_letters(dictionary):
    assert TextEncoder(dictionary).encode("a \ud800").replaced == {"\ud800": 1}
    counts = token_counts.WordCounts()
    counts.add("a \ud800")
    assert counts.total() == {"a": 1, "\ud800": 1}
