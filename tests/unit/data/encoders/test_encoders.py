"""Tokenizers and subword encoders: what is not in the recorded cases."""

import json
from argparse import Namespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq.data import encoders
from fairseq.data.dictionary import Dictionary
from fairseq.data.encoders import byte_utils
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode, get_encoder, get_pairs
from fairseq.data.encoders.pipeline import EncodingTokenizer
from fairseq.data.encoders.utils import get_whole_word_mask

MERGES = ["l o", "lo w", "Ġ low", "e r", "Ġlow er", "Ġ w"]


@pytest.fixture
def gpt2_files(tmp_path):
    pytest.importorskip("regex")
    pieces = [*bytes_to_unicode().values(), *(merge.replace(" ", "") for merge in MERGES)]
    (tmp_path / "encoder.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return {"gpt2_encoder_json": str(tmp_path / "encoder.json"), "gpt2_vocab_bpe": str(tmp_path / "vocab.bpe")}


def test_pieces_of_gpt2_are_joined_in_the_order_in_which_they_were_learnt(gpt2_files):
    encoder = get_encoder(*gpt2_files.values())
    assert encoder.bpe("Ġlower") == "Ġlower"
    assert encoder.bpe("lowlow") == "low low"
    assert encoder.bpe("low") == "low"
    assert [encoder.decoder[number] for number in encoder.encode("low lower\n wé")] == [
        "low", "Ġlower", "Ċ", "Ġw", "Ã", "©"
    ]  # fmt: skip
    assert get_pairs("abab") == {("a", "b"), ("b", "a")}


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=20))
def test_every_text_comes_back_from_bytes_characters_and_gpt2(text):
    plain = byte_utils.WHITESPACE_NORMALIZER.sub(" ", text)
    for name in ("bytes", "characters"):
        encoder = encoders.build_bpe(Namespace(bpe=name))
        # A text that holds the sign for a space itself cannot be told from one with spaces.
        source = (plain if name == "bytes" else text).replace("\u2581", "_")
        assert encoder.decode(encoder.encode(source)) == source
    assert byte_utils.byte_decode(byte_utils.byte_encode(text)) == plain


def test_gpt2_numbers_are_words_and_symbols_are_kept(gpt2_files):
    encoder = encoders.build_bpe(Namespace(bpe="gpt2", **gpt2_files))
    for text in ("low lower", "  héllo\n\tx 'll 12", ""):
        assert encoder.decode(encoder.encode(text)) == text
    assert encoder.decode(encoder.encode("low") + " <mask> <unk>") == "low<mask><unk>"
    dictionary = Dictionary()
    for text in (" low", "low"):
        dictionary.add_symbol(encoder.encode(text))
    dictionary.add_symbol("madeupword0000", 0)
    mask = get_whole_word_mask(Namespace(bpe="gpt2", **gpt2_files), dictionary)
    assert mask.tolist() == [1, 1, 1, 1, 1, 0, 1]
    assert get_whole_word_mask(Namespace(bpe=None), dictionary) is None


def test_wrong_gpt2_files_are_named(gpt2_files, tmp_path):
    (tmp_path / "vocab.bpe").write_text("#version\na b\na b c\n")
    with pytest.raises(ValueError, match="vocab.bpe, line 3"):
        get_encoder(*gpt2_files.values())
    (tmp_path / "encoder.json").write_text("{")
    with pytest.raises(ValueError, match="encoder.json is not a JSON file"):
        get_encoder(*gpt2_files.values())


def test_broken_bytes_give_the_longest_text_there_is():
    good = byte_utils.byte_encode("é→z")
    assert byte_utils.byte_decode(good[1:]) == ""
    assert byte_utils.smart_byte_decode(good[1:]) == "→z"
    assert byte_utils.smart_byte_decode(good[:3] + "z") == "éz"
    assert byte_utils.smart_byte_decode("\u2047" + good) == "é→z"


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("subword_nmt", "--bpe-codes"),
        ("fastbpe", "--bpe-codes"),
        ("sentencepiece", "--sentencepiece-model"),
        ("byte_bpe", "--sentencepiece-model-path"),
        ("hf_byte_bpe", "--bpe-vocab"),
    ],
)
def test_an_encoder_says_which_file_it_needs(name, option):
    with pytest.raises(ValueError, match=f"{option} is required for --bpe={name}"):
        encoders.build_bpe(Namespace(bpe=name))


@pytest.mark.parametrize("codes", ["#version: 0.2\na b c\n", "alone\n", "x" * 100_000])
def test_merge_operations_that_cannot_be_read_are_an_error_of_one_line(codes, tmp_path, capsys):
    pytest.importorskip("subword_nmt")
    file = tmp_path / "codes"
    file.write_text(codes)
    with pytest.raises(ValueError, match="--bpe-codes .*codes: not merge operations") as refused:
        encoders.build_bpe(Namespace(bpe="subword_nmt", bpe_codes=str(file)))
    assert len(str(refused.value)) < 1000 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("group", "name", "module", "package"),
    [
        ("bpe", "subword_nmt", "subword_nmt", "subword-nmt"),
        ("bpe", "fastbpe", "fastBPE", "fastBPE"),
        ("bpe", "sentencepiece", "sentencepiece", "sentencepiece"),
        ("bpe", "byte_bpe", "sentencepiece", "sentencepiece"),
        ("bpe", "hf_byte_bpe", "tokenizers", "tokenizers"),
        ("bpe", "bert", "transformers", "transformers"),
        ("bpe", "gpt2", "regex", "regex"),
        ("tokenizer", "moses", "sacremoses", "sacremoses"),
        ("tokenizer", "nltk", "nltk", "nltk"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    group, name, module, package, tmp_path, monkeypatch
):
    import sys

    for loaded in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)  # importing it now fails as if it were not there
    file = tmp_path / "file"
    file.write_text("{}")
    fields = ("bpe_codes", "sentencepiece_model", "sentencepiece_model_path", "bpe_vocab", "bpe_merges")
    fields += ("gpt2_encoder_json", "gpt2_vocab_bpe")
    options = {field: str(file) for field in fields}
    build = encoders.build_bpe if group == "bpe" else encoders.build_tokenizer
    with pytest.raises(ImportError, match=f"Please install {package} with: pip install {package}"):
        build(Namespace(**{group: name}, **options))


def test_the_pipeline_tokenizes_then_cuts():
    pipeline = EncodingTokenizer.from_args(Namespace(tokenizer="space", bpe="characters"), None)
    assert pipeline(" ab \t c\n") == ["a", "b", "\u2581", "c"]


def test_an_unknown_encoder_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="subword_nmt"):
        encoders.build_bpe(Namespace(bpe="subwordnmt"))


def test_sentencepiece_models_cut_and_join(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("the cat sat on the mat\nthe hat\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "m"),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    model = str(tmp_path / "m.model")
    encoder = encoders.build_bpe(Namespace(bpe="sentencepiece", sentencepiece_model=model))
    pieces = encoder.encode("the cat")
    assert encoder.decode(pieces) == "the cat"
    assert encoder.is_beginning_of_word(pieces.split()[0])
    sampler = encoders.build_bpe(
        Namespace(
            bpe="sentencepiece", sentencepiece_model=model, sentencepiece_enable_sampling=True, sentencepiece_alpha=0.1
        )
    )
    drawn = {sampler.encode("the cat sat on the mat") for _ in range(30)}
    assert len(drawn) > 1
    assert {sampler.decode(pieces) for pieces in drawn} == {"the cat sat on the mat"}
    by_bytes = encoders.build_bpe(Namespace(bpe="byte_bpe", sentencepiece_model_path=model))
    assert by_bytes.decode(by_bytes.encode("the  cat")).strip() == "the cat"


def test_byte_level_files_of_ones_own(tmp_path, gpt2_files):
    pytest.importorskip("tokenizers")
    ours = encoders.build_bpe(Namespace(bpe="gpt2", **gpt2_files))
    theirs = encoders.build_bpe(
        Namespace(bpe="hf_byte_bpe", bpe_vocab=gpt2_files["gpt2_encoder_json"], bpe_merges=gpt2_files["gpt2_vocab_bpe"])
    )
    for text in ("low lower lowlow", "é w\n\n x's 12.5"):
        assert theirs.encode(text) == ours.encode(text)
        assert theirs.decode(theirs.encode(text)) == text
    assert theirs.decode("<mask>") == "<mask>"


def test_word_pieces(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "!"]))
    encoder = encoders.build_bpe(Namespace(bpe="bert", bpe_vocab_file=str(tmp_path / "vocab.txt")))
    assert encoder.encode("Playing!") == "play ##ing !"
    assert encoder.decode("play ##ing !") == "playing!"
    assert [encoder.is_beginning_of_word(piece) for piece in ("play", "##ing")] == [True, False]
