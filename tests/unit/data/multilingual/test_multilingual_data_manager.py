"""Data of many language pairs; recorded numbers are those of the released 0.12.2."""

import json
from argparse import ArgumentParser

import pytest
from small_data import write_split

from fairseq.data import ConcatDataset, Dictionary, TransformEosLangPairDataset
from fairseq.data.multilingual.multilingual_data_manager import MultilingualDatasetManager, load_sampling_weights
from fairseq.data.multilingual.sampled_multi_dataset import SampledMultiDataset
from fairseq.data.multilingual.sampled_multi_epoch_dataset import SampledMultiEpochDataset
from fairseq.data.multilingual.sampling_method import SamplingMethod

SIZES = {"de-en": 6, "fr-en": 12}


def words():
    dictionary = Dictionary()
    for number in range(20):
        dictionary.add_symbol(f"w{number}", n=20 - number)
    return dictionary


def write_pairs(folder, sizes, splits=("train", "valid")):
    folder.mkdir(exist_ok=True)
    for split in splits:
        for pair, size in sizes.items():
            for shift, lang in enumerate(pair.split("-")):
                lines = [f"w{(i + shift) % 20} w{(i + 2) % 20} w3"[: 5 if i % 2 else None] for i in range(size)]
                write_split(folder / f"{split}.{pair}.{lang}", words(), lines)
    for lang in {lang for pair in sizes for lang in pair.split("-")}:
        words().save(str(folder / f"dict.{lang}.txt"))


@pytest.fixture
def data(tmp_path):
    write_pairs(tmp_path / "bin", SIZES)
    return tmp_path / "bin"


def parse(data, *options, pairs="de-en,fr-en"):
    parser = ArgumentParser()
    for flag in ("--lang-pairs", "--source-lang", "--target-lang", "--dataset-impl"):
        parser.add_argument(flag)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train-subset", default="train")
    MultilingualDatasetManager.add_args(parser)
    SamplingMethod.add_arguments(parser)
    return parser.parse_args([str(data), *(["--lang-pairs", pairs] if pairs else []), *map(str, options)])


def manager(data, *options, **more):
    args = parse(data, *options, **more)
    langs, dicts, _ = MultilingualDatasetManager.prepare(Dictionary.load, args)
    sampler = SamplingMethod.build_sampler(args, None)
    return MultilingualDatasetManager.setup_data_manager(args, args.lang_pairs, langs, dicts, sampler)


def first(manager, split="valid", key="main:de-en"):
    dataset = dict(manager.load_split_datasets(split, False)[0])[key]
    return dataset, dataset.collater([dataset[0]])


def test_languages_come_from_a_list_a_file_or_the_pairs(data):
    (data / "langs.txt").write_text("fr\nen\nde\n")
    for options in (["--langs", "fr,en,de"], ["--lang-dict", data / "langs.txt"]):
        assert manager(data, *options).langs == ["fr", "en", "de"]
    made = manager(data)
    assert made.langs == ["de", "en", "fr"]
    assert made.lang_dict.symbols == ["<unk>", "de", "en", "fr"]
    assert list(made.dicts) == ["de", "fr", "en"]
    with pytest.raises(ValueError, match="can not both be specified"):
        manager(data, "--langs", "fr,en,de", "--lang-dict", data / "langs.txt")
    with pytest.raises(ValueError, match=r"pair de-en contains languages .* langs: \['fr', 'en'\]"):
        manager(data, "--langs", "fr,en")
    with pytest.raises(ValueError, match="--lang-pairs is required"):
        manager(data, pairs=None)


def test_dictionaries_may_be_shared_and_have_the_language_tokens(data):
    assert manager(data).dicts["de"].symbols[-3:] == ["__de__", "__en__", "__fr__"]
    assert manager(data, "--lang-tok-style", "mbart").dicts["en"].symbols[-4:] == ["[de]", "[en]", "[fr]", "<mask>"]
    shared = manager(data, "--source-dict", data / "dict.de.txt")
    assert list(shared.dicts) == ["src", "en"]
    assert shared.get_source_dictionary("fr") is shared.dicts["src"]
    fixed = manager(data, "--fixed-dictionary", data / "dict.de.txt")
    assert len({id(dictionary) for dictionary in fixed.dicts.values()}) == 1
    assert len(fixed.dicts["en"]) == 27
    _, dicts, training = MultilingualDatasetManager.prepare(
        Dictionary.load, parse(data, "--source-lang", "fr", "--target-lang", "en")
    )
    assert (list(dicts), training) == (["fr", "en"], False)
    (data / "dict.fr.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"dictionary not found: .*dict\.fr\.txt"):
        manager(data)


# Tokens of a sentence: <pad> 1, </s> 2, w0 4, ..., __de__ 24, __en__ 25, __fr__ 26.
@pytest.mark.parametrize(
    ("options", "source", "decoder_input"),
    [
        ([], [4, 6, 7, 2], [2, 5, 6, 7]),
        (["--encoder-langtok", "src"], [24, 4, 6, 7, 2], [2, 5, 6, 7]),
        (["--encoder-langtok", "tgt", "--decoder-langtok"], [25, 4, 6, 7, 2], [2, 25, 5, 6, 7]),
        (["--langtoks", "{'main': ('src', 'tgt')}"], [24, 4, 6, 7, 2], [2, 25, 5, 6, 7]),
        (
            ["--encoder-langtok", "src", "--decoder-langtok", "--lang-tok-replacing-bos-eos"],
            [4, 6, 7, 24],
            [25, 5, 6, 7],
        ),
        (["--truncate-source", "--max-source-positions", 3], [4, 6, 2], [2, 5, 6, 7]),
    ],
)
def test_language_tokens_stand_where_the_options_say(options, source, decoder_input, data):
    dataset, batch = first(manager(data, *options))
    assert batch["net_input"]["src_tokens"][0].tolist() == source
    assert batch["net_input"]["prev_output_tokens"][0].tolist() == decoder_input
    assert isinstance(dataset, TransformEosLangPairDataset) == ("--lang-tok-replacing-bos-eos" in options)


def test_language_numbers_go_into_batches(data):
    _, batch = first(manager(data, "--enable-lang-ids"), key="main:fr-en")
    assert batch["net_input"]["src_lang_id"].tolist() == [[3]]
    assert batch["tgt_lang_id"].tolist() == [[2]]


def test_a_missing_language_token_is_named(data):
    made = manager(data)
    assert made.get_encoder_langtok("de", "en") is made.get_decoder_langtok("en") is None
    with pytest.raises(AssertionError, match="cannot find language token __en_dae__"):
        made.get_decoder_langtok("en", "tgt.mono_dae")


@pytest.mark.parametrize(
    ("options", "kind", "size", "shares"),
    [
        ([], SampledMultiDataset, 18, None),
        (["--sampling-method", "uniform"], SampledMultiDataset, 24, [1, 1]),
        (["--sampling-method", "temperature"], SampledMultiDataset, 19, [0.4807498567691361, 0.7631428283688879]),
        (["--virtual-epoch-size", 4, "--virtual-data-size", 10], SampledMultiEpochDataset, 4, None),
        (["--sampling-weights", "{'main:de-en': 0.2, 'main:fr-en': 0.8}"], SampledMultiDataset, 15, [0.2, 0.8]),
    ],
)
def test_training_data_are_sampled_as_recorded(options, kind, size, shares, data):
    made = manager(data, *options)
    train = made.load_dataset("train", True, epoch=1)
    assert (type(train), len(train)) == (kind, size)
    loaded, params = made.load_split_datasets("train", True)
    assert made.get_sampling_ratios(params, loaded, 1) == shares
    assert isinstance(made.load_dataset("valid", False, epoch=1), ConcatDataset)


def test_weights_come_from_a_file_and_must_be_complete(data):
    path = data / "weights.json"
    path.write_text(json.dumps({"main:de-en": 0.7, "main:fr-en": 0.3}))
    made = manager(data, "--sampling-weights-from-file", path)
    loaded, params = made.load_split_datasets("train", True)
    assert made.get_sampling_ratios(params, loaded, 1) == [0.7, 0.3]
    path.write_text('{"main:de-en": 1}')
    with pytest.raises(ValueError, match=r"weights\.json has no weight for main:fr-en"):
        made.get_sampling_ratios(params, loaded, 1)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="expected an object"):
        load_sampling_weights(str(path))


def test_folders_take_turns_and_their_sizes_are_estimated(data, tmp_path):
    write_pairs(tmp_path / "more", {"de-en": 2, "fr-en": 3}, splits=["train"])
    made = manager(f"{data}:{tmp_path / 'more'}")
    assert made.has_sharded_data("train")
    assert not made.has_sharded_data("valid")
    assert made.get_split_num_data_shards("valid") == {"main:de-en": 1, "main:fr-en": 1}
    sizes = []
    for epoch in (2, 1, 2):
        loaded, params = made.load_split_datasets("train", True, epoch=epoch)
        sizes.append(made.get_train_dataset_sizes(params, loaded, epoch))
    assert sizes == [[4, 6], [8, 15], [8, 15]]
    assert [made.get_shard_id(3, *epochs) for epochs in ((1,), (5,), (1, 2), (2, 4))] == [0, 1, 1, 0]
    made = manager(data, "--virtual-epoch-size", 4, "--virtual-data-size", 10)
    assert [made.estimate_global_pass_epoch(epoch) for epoch in range(1, 8)] == [1, 1, 1, 2, 2, 2, 3]


def test_further_data_are_for_training_only_and_may_be_of_one_language(data, tmp_path):
    write_pairs(tmp_path / "mined", {"de-en": 5}, splits=["train"])
    write_split(tmp_path / "mined" / "train.de-None.de", words(), ["w1 w2"] * 4)
    extra = ["--extra-data", str({"mined": str(tmp_path / "mined"), "mono_dae": str(tmp_path / "mined")})]
    extra += ["--extra-lang-pairs", "{'mined': 'de-en', 'mono_dae': 'de-de'}", "--langtoks-specs", "main,mono_dae"]
    made = manager(data, *extra, "--langtoks", "{'mono_dae': ('src.mono_dae', 'tgt')}")
    sizes = {key: len(dataset) for key, dataset in made.load_split_datasets("train", True)[0]}
    assert sizes == {"main:de-en": 6, "main:fr-en": 12, "mined:de-en": 5, "mono_dae:de-de": 4}
    assert [key for key, _ in made.load_split_datasets("valid", False)[0]] == ["main:de-en", "main:fr-en"]
    _, batch = first(made, "train", "mono_dae:de-de")
    marked, plain = (made.dicts["de"].index(token) for token in ("__de_dae__", "__de__"))
    assert batch["net_input"]["src_tokens"][0].tolist() == [marked, 5, 6, 2]
    assert batch["target"][0].tolist() == [plain, 5, 6, 2]
    with pytest.raises(AssertionError, match="src=de, tgt=en for data_category=mono_dae"):
        manager(data, *extra, "--extra-lang-pairs", "{'mono_dae': 'de-en'}").load_split_datasets("train", True)
    with pytest.raises(FileNotFoundError, match="Dataset not found: train of mined:fr-en"):
        manager(data, *extra, "--extra-lang-pairs", "{'mined': 'fr-en'}").load_split_datasets("train", True)


@pytest.mark.parametrize("shares", [True, False])
def test_both_directions_may_share_open_files(shares, data):
    options = ["--enable-reservsed-directions-shared-datasets"] if shares else []
    loaded = dict(manager(data, *options, pairs="de-en,en-de").load_split_datasets("train", True)[0])
    assert (loaded["main:de-en"].src is loaded["main:en-de"].tgt) == shares
    assert loaded["main:de-en"][0]["source"].tolist() == loaded["main:en-de"][0]["target"].tolist() == [4, 6, 7, 2]
