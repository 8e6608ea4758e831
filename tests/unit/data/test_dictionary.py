"""The dictionary: what is not in the recorded cases."""

import io
import pickle

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fairseq.data.dictionary import Dictionary, TruncatedDictionary
from fairseq.data.legacy.masked_lm_dictionary import BertDictionary, MaskedLMDictionary
from fairseq.tokenizer import tokenize_line


def dictionary_of(*words, **options):
    dictionary = Dictionary(**options)
    for word in words:
        dictionary.add_symbol(word)
    return dictionary


# No white space and no line ends of any kind; the symbols that every dictionary has are not in its file.
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=8)


SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


@given(entries=st.dictionaries(WORDS.filter(lambda word: word not in SPECIAL), st.integers(-5, 10**12), max_size=20))
@settings(max_examples=60, deadline=None)
def test_what_was_saved_is_loaded(entries):
    written = Dictionary()
    for word, count in entries.items():
        written.add_symbol(word, count)
    file = io.StringIO()
    written.save(file)
    read = Dictionary.load(io.StringIO(file.getvalue()))
    assert read == written
    assert (read.symbols, read.count) == (written.symbols, written.count)


# What a line of a file may have before its count: white space (but no line end), marks, special symbols, repetitions.
ODD_WORDS = st.one_of(
    st.sampled_from(
        [*SPECIAL, "a", "b", "#fairseq:overwrite", "a 5", "a 5 #fairseq:overwrite", "", " ", "\ufeff", "\ufeffa"]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), max_size=4),
)
FLAGS = st.sampled_from(["", " #fairseq:overwrite"])


@given(lines=st.lists(st.tuples(ODD_WORDS, st.integers(-5, 10**12), FLAGS), max_size=12), special=st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_dictionary_that_loads_is_the_same_after_saving_and_loading(lines, special, tmp_path_factory):
    text = "".join(f"{word} {count}{flag}\n" for word, count, flag in lines)
    try:
        first = Dictionary.load(io.StringIO(text), add_special_symbols=special)
    except RuntimeError:
        assume(False)  # a word twice
    path = tmp_path_factory.mktemp("dictionary", numbered=True) / "dict.txt"
    first.save(str(path))
    with open(path.with_name("handle.txt"), "w", encoding="utf-8") as handle:
        first.save(handle)
    for source in (str(path), handle.name):
        again = Dictionary.load(source, add_special_symbols=special)
        assert (again.symbols, again.count, again.indices) == (first.symbols, first.count, first.indices)
    with open(handle.name, encoding="utf-8") as file:
        assert Dictionary.load(file, add_special_symbols=special).symbols == first.symbols
    # A text in memory is what upstream writes.
    memory = io.StringIO()
    first.save(memory)
    assert memory.getvalue().count("\n") == len(first) - 4 * special


def test_a_folder_prepared_with_an_overwriting_dictionary_can_be_read(tmp_path):
    from fairseq import options
    from fairseq.tasks.translation import TranslationTask
    from fairseq_cli.preprocess import main

    given = "a 5\nb 4\na 3 #fairseq:overwrite\n<unk> 1 #fairseq:overwrite\n"
    (tmp_path / "given.txt").write_text(given, encoding="utf-8")
    for language in "xy":
        (tmp_path / f"train.{language}").write_text("a b c\n", encoding="utf-8")
    words = ["-s", "x", "-t", "y", "--trainpref", f"{tmp_path}/train", "--destdir", f"{tmp_path}/bin"]
    words += ["--srcdict", f"{tmp_path}/given.txt", "--joined-dictionary"]
    main(options.get_preprocessing_parser().parse_args(words))
    read = TranslationTask.load_dictionary(f"{tmp_path}/bin/dict.x.txt")
    assert read.symbols[4:] == ["a", "b", "a", "<unk>"]
    assert [read.index(word) for word in ("a", "b", "<unk>", "c")] == [6, 5, 7, 3]


@given(rows=st.lists(st.lists(st.sampled_from(["a", "b", "zz", "<unk>", "</s>"]), max_size=6), max_size=6))
@settings(max_examples=30, deadline=None)
def test_raw_text_is_read_as_it_is_encoded_line_by_line(rows):
    import tempfile

    from fairseq.data.indexed_dataset import IndexedRawTextDataset

    words = dictionary_of("a", "b")
    with tempfile.NamedTemporaryFile("w", suffix=".raw", encoding="utf-8") as file:
        file.write("".join(" ".join(row) + "\n" for row in rows))
        file.flush()
        data = IndexedRawTextDataset(file.name, words)
    assert [data.get_original_text(i) for i in range(len(data))] == [" ".join(row) for row in rows]
    for i, row in enumerate(rows):
        assert data[i].tolist() == words.encode_line(" ".join(row), add_if_not_exist=False).tolist()
    assert data.sizes.tolist() == [len(row) + 1 for row in rows]


def test_without_special_symbols_the_special_attributes_do_not_exist():
    dictionary = Dictionary(add_special_symbols=False)
    assert len(dictionary) == 0
    assert not hasattr(dictionary, "bos_index")
    assert not hasattr(dictionary, "nspecial")


def test_equality_looks_at_indices_only():
    first, second = dictionary_of("a", "b"), dictionary_of("a", "b", "b")
    assert first == second
    assert first != dictionary_of("b", "a")


def test_asking_for_something_that_is_no_string_is_an_assertion_error():
    with pytest.raises(AssertionError):
        Dictionary().index(7)


def test_an_overwritten_word_has_its_new_index_and_the_old_slot_keeps_the_text():
    dictionary = Dictionary.load(io.StringIO("a 3\na 5 #fairseq:overwrite\n"))
    assert dictionary.index("a") == 5
    assert (dictionary[4], dictionary[5]) == ("a", "a")


def test_a_token_may_contain_spaces():
    assert Dictionary.load(io.StringIO("new york 3\n")).index("new york") == 4


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("a 3\n\nb 1\n", ValueError, "line 2"),
        ("a three\n", ValueError, "Incorrect dictionary format"),
        ("a 3\na 3\n", RuntimeError, "Duplicate word found when loading Dictionary: 'a'"),
        ("<unk> 5\n", RuntimeError, "fairseq:overwrite"),
    ],
)
def test_a_wrong_line_is_named(text, error, told, tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text(text)
    with pytest.raises(error, match=told) as caught:
        Dictionary.load(str(path))
    assert str(path) in str(caught.value)


def test_a_file_in_another_encoding_is_refused_by_name(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_bytes("schön 3\n".encode("latin-1"))
    with pytest.raises(
        Exception, match="Incorrect encoding detected in .*dict.txt, please rebuild the dataset .line 1 is not UTF-8"
    ):
        Dictionary.load(str(path))


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Dictionary.load(str(tmp_path / "none"))


def test_saving_makes_the_folder_and_loading_gives_an_equal_dictionary(tmp_path):
    dictionary = dictionary_of("x", "y", "ü▁")
    path = str(tmp_path / "new" / "dict.txt")
    dictionary.save(path)
    loaded = Dictionary.load(path)
    assert (loaded, loaded.count) == (dictionary, dictionary.count)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "dict.txt"
    path.write_text("old 1\n")
    dictionary = dictionary_of("x")
    dictionary.symbols.append("\ud800")  # a lone surrogate cannot be written
    dictionary.count.append(1)
    with pytest.raises(UnicodeEncodeError):
        dictionary.save(str(path))
    assert path.read_text() == "old 1\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["dict.txt"]


def test_subclasses_keep_more_in_the_file_by_the_two_hooks():
    class WithVersion(Dictionary):
        def _get_meta(self):
            return ["#version"], [2]

        def _load_meta(self, lines):
            self.version = int(lines[0].split()[1])
            return 1

    dictionary = WithVersion()
    dictionary.add_symbol("a")
    out = io.StringIO()
    dictionary.save(out)
    assert out.getvalue() == "#version 2\na 1\n"
    loaded = WithVersion.load(io.StringIO(out.getvalue()))
    assert (loaded.version, loaded.index("a")) == (2, 4)


def test_a_subclass_with_its_own_constructor_loads():
    loaded = MaskedLMDictionary.load(io.StringIO("a 1\n"))
    assert (loaded.mask(), loaded.index("a"), loaded.nspecial) == (4, 5, 5)
    bert = BertDictionary()
    assert (bert.cls(), bert.sep(), bert.nspecial) == (5, 6, 7)


def test_pickling_keeps_everything_under_the_public_class_name():
    dictionary = dictionary_of("a", "b")
    assert pickle.loads(pickle.dumps(dictionary)) == dictionary
    assert Dictionary.__module__ == "fairseq.data.dictionary"


def test_two_dimensional_tensors_become_one_line_per_row():
    dictionary = dictionary_of("a", "b")
    rows = torch.tensor([[4, 5, 2], [5, 2, 1]])
    assert dictionary.string(rows) == "a b\nb <pad>"


def test_a_consumer_gets_every_word_and_its_index():
    seen = []
    dictionary_of("a").encode_line("a z a", add_if_not_exist=False, consumer=lambda *pair: seen.append(pair))
    assert seen == [("a", 4), ("z", 3), ("a", 4)]


def test_a_dummy_sentence_has_no_special_symbol_but_its_end():
    dictionary = dictionary_of(*"abcdef")
    sentence = dictionary.dummy_sentence(50)
    assert sentence[-1] == dictionary.eos()
    assert int(sentence[:-1].min()) > dictionary.nspecial


def test_a_truncated_dictionary_reads_as_unknown_beyond_its_length():
    truncated = TruncatedDictionary(dictionary_of("a", "b", "c"), 5)
    assert (len(truncated), truncated[4], truncated[5]) == (5, "a", 3)
    assert (truncated.eos(), truncated.index("a"), "c" in truncated) == (2, 4, True)
    assert isinstance(truncated, Dictionary)
    assert len(pickle.loads(pickle.dumps(truncated))) == 5
    assert TruncatedDictionary(MaskedLMDictionary(), 99).mask() == 4


def test_counting_a_file_gives_the_same_whatever_the_tokenizer_and_the_workers(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("b a\r\na\u2028c\n\n  d\x85d\x0ce \rlast".encode())

    def count(tokenize, workers):
        dictionary = Dictionary()
        Dictionary.add_file_to_dictionary(str(path), dictionary, tokenize, workers)
        return dict(zip(dictionary.symbols, dictionary.count))

    expected = {"<s>": 1, "<pad>": 1, "</s>": 6, "<unk>": 1, "a": 2, "b": 1, "c": 1, "d": 2, "e": 1, "last": 1}
    assert count(tokenize_line, 1) == expected
    assert count(tokenize_line, 3) == expected
    assert count(_slow_tokenize, 2) == expected


def _slow_tokenize(line):
    return tokenize_line(line)
