"""Whatever text goes in comes out again: raw text and FASTA."""

import pickle

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairseq.data import Dictionary
from fairseq.data.fasta_dataset import FastaDataset
from fairseq.data.indexed_dataset import make_dataset

FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4)
LINES = st.lists(st.lists(WORDS, max_size=5), max_size=8)
LETTERS = st.text("ACDEFGHIKLMNPQRSTVWY", max_size=40)
TITLES = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), max_size=8).filter(
    lambda title: not title.startswith(">")
)


@FEW
@given(lines=LINES, reverse=st.booleans(), ends=st.booleans(), known=st.integers(0, 40))
def test_raw_text_is_read_line_by_line(lines, reverse, ends, known, tmp_path):
    words = Dictionary()
    for word in [word for line in lines for word in line][:known]:
        words.add_symbol(word)
    (tmp_path / "t").write_text("".join(" ".join(line) + "\n" for line in lines), encoding="utf-8", newline="")
    data = make_dataset(str(tmp_path / "t"), "raw", dictionary=words)
    if reverse or not ends:
        data = type(data)(str(tmp_path / "t"), words, append_eos=ends, reverse_order=reverse)
    assert len(data) == len(lines)
    for i, line in enumerate(lines):
        assert data.get_original_text(i) == " ".join(line)
        shown = [word if word in words else words.unk_word for word in (line[::-1] if reverse else line)]
        assert [words[token] for token in data[i].tolist()] == shown + [words.eos_word] * ends
        assert data.sizes[i] == len(data[i])


@FEW
@given(
    rows=st.lists(st.tuples(TITLES, LETTERS), max_size=6),
    width=st.integers(1, 20),
    line_end=st.sampled_from(["\n", "\r\n"]),
    cached=st.booleans(),
)
def test_fasta_sequences_come_back_however_they_were_wrapped(rows, width, line_end, cached, tmp_path):
    lines = []
    for title, letters in rows:
        lines += [f">{title}", *(letters[i : i + width] for i in range(0, len(letters), width))]
    (tmp_path / "p.fasta").write_bytes("".join(line + line_end for line in lines).encode())
    (tmp_path / "p.fasta.idx.npy").unlink(missing_ok=True)
    for _ in range(2):  # the second time from the kept index, if there is one
        data = FastaDataset(str(tmp_path / "p"), cache_indices=cached)
        assert [data[i] for i in reversed(range(len(data)))] == rows[::-1]
        assert data.sizes.tolist() == [len(letters) for _, letters in rows]
    assert [pickle.loads(pickle.dumps(data))[i] for i in range(len(rows))] == rows
