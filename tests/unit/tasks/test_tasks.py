import json
import logging
from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from small_data import write_split

from fairseq.data import Dictionary, data_utils
from fairseq.tasks import _generation
from fairseq.tasks.denoising import DenoisingConfig, DenoisingTask
from fairseq.tasks.fairseq_task import FairseqTask, LegacyFairseqTask, StatefulContainer
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from fairseq.tasks.sentence_ranking import SentenceRankingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask, log_bleu

WORDS = ["ba", "be", "bi", "bo", "bu"]
LINES = ["ba be bi", "bo bu", "ba", "be be be be bu"]


def write_dictionary(path, words=WORDS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
    return Dictionary.load(str(path))


@pytest.fixture
def pairs(tmp_path):
    """A data folder aa-bb; targets are the sources backwards."""
    source = write_dictionary(tmp_path / "dict.aa.txt")
    target = write_dictionary(tmp_path / "dict.bb.txt")
    for split, lines in (("train", LINES), ("train1", LINES[:2]), ("valid", LINES[1:])):
        write_split(tmp_path / f"{split}.aa-bb.aa", source, lines)
        write_split(tmp_path / f"{split}.aa-bb.bb", target, [" ".join(line.split()[::-1]) for line in lines])
    return tmp_path


def translation(folder, **options):
    values = {"train_subset": "train", "dataset_impl": None, "required_seq_len_multiple": 1, **options}
    return TranslationTask.setup_task(TranslationConfig(data=str(folder), **values))


def test_languages_are_found_in_the_file_names(pairs):
    task = translation(pairs)
    assert (task.cfg.source_lang, task.cfg.target_lang) == ("aa", "bb")
    task.load_dataset("valid")
    sample = task.dataset("valid")[0]
    assert task.target_dictionary.string(sample["target"]) == "bu bo"


def test_combining_joins_the_parts_and_repeats_the_first(pairs):
    task = translation(pairs, upsample_primary=3)
    task.load_dataset("train", combine=True)
    assert len(task.dataset("train")) == 3 * 4 + 2
    task.load_dataset("train")
    assert len(task.dataset("train")) == 4


def test_long_sources_are_cut_before_their_end_of_sentence(pairs):
    task = translation(pairs, truncate_source=True, max_source_positions=3)
    task.load_dataset("train")
    dataset = task.dataset("train")
    assert task.source_dictionary.string(dataset[3]["source"]) == "be be"
    assert dataset[3]["source"][-1] == task.source_dictionary.eos() and dataset.src_sizes[3] == 3


def test_the_other_direction_reads_the_same_files(pairs):
    task = translation(pairs, source_lang="bb", target_lang="aa")
    task.load_dataset("valid")
    assert task.source_dictionary.string(task.dataset("valid")[0]["source"]) == "bu bo"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source_lang": "xx"}, FileNotFoundError, "dictionary not found: .*dict.xx.txt; --source-lang is xx"),
        ({"data": "nowhere"}, FileNotFoundError, "data folder not found: nowhere"),
        ({"data": ""}, ValueError, "needs a data folder"),
    ],
)
def test_wrong_folders_and_languages_are_explained(pairs, options, error, message):
    values = {"data": str(pairs), "source_lang": "aa", "target_lang": "bb", **options}
    with pytest.raises(error, match=message):
        TranslationTask.setup_task(TranslationConfig(**values))


def test_a_folder_without_pairs_asks_for_the_languages(tmp_path):
    with pytest.raises(Exception, match="Could not infer language pair, please provide it explicitly"):
        translation(tmp_path)


def test_a_missing_split_is_named_and_those_that_exist(pairs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found: test \(.*\); the folder holds train, train1, valid$"):
        translation(pairs).load_dataset("test")
    task = translation(pairs)
    task.cfg.data = str(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no prepared data is in this folder"):
        task.load_dataset("test")


def test_asking_for_a_split_that_was_not_loaded_says_so(pairs):
    task = translation(pairs)
    with pytest.raises(KeyError, match="Dataset not loaded: valid"):
        task.dataset("valid")
    task.datasets["valid"] = [1]
    with pytest.raises(TypeError, match="FairseqDataset"):
        task.dataset("valid")


def test_batch_iterators_are_kept_while_their_batches_stay_good(pairs):
    task = translation(pairs)
    task.load_dataset("train")
    dataset = task.dataset("train")
    first = task.get_batch_iterator(dataset, max_tokens=20)
    assert task.get_batch_iterator(dataset, max_tokens=20) is first
    assert task.get_batch_iterator(dataset, max_tokens=20, disable_iterator_cache=True) is not first
    again = task.get_batch_iterator(dataset, max_sentences=3, update_epoch_batch_itr=True)
    assert sum(batch["nsentences"] for batch in again.next_epoch_itr()) == 4


def test_sentences_over_the_limit_are_refused_or_skipped(pairs):
    task = translation(pairs)
    task.load_dataset("train")
    with pytest.raises(Exception, match="Size of sample #3 is invalid"):
        task.get_batch_iterator(task.dataset("train"), max_sentences=2, max_positions=(5, 5))
    kept = task.get_batch_iterator(
        task.dataset("train"), max_sentences=2, max_positions=(5, 5), ignore_invalid_inputs=True
    )
    assert sum(len(batch) for batch in kept.frozen_batches) == 3


def test_typed_lines_become_a_data_set(pairs):
    task = translation(pairs)
    tokens, lengths = task.get_interactive_tokens_and_lengths(["ba xx", "bo"], lambda line: line)
    assert lengths == [3, 2] and tokens[0][1] == task.source_dictionary.unk()
    batch = task.build_dataset_for_inference(tokens, lengths).collater([{"id": 0, "source": tokens[0], "target": None}])
    assert batch["target"] is None


class Echo:
    """A generator that gives back the target."""

    def generate(self, models, sample, **kwargs):
        return [[{"tokens": row[row != 1]}] for row in sample["target"]]


def test_bleu_is_computed_from_summed_counts(pairs, caplog):
    from fairseq.logging import metrics

    pytest.importorskip("sacrebleu")
    task = translation(pairs, eval_bleu=True, eval_bleu_print_samples=True)
    task.tokenizer = None
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    batch = dataset.collater([dataset[i] for i in range(len(dataset))])
    with caplog.at_level(logging.INFO):
        score = task._inference_with_bleu(Echo(), batch, None)
    assert "example hypothesis: " in caplog.text and "example reference: " in caplog.text
    counts = {"_bleu_sys_len": score.sys_len, "_bleu_ref_len": score.ref_len}
    for order in range(4):
        counts[f"_bleu_counts_{order}"] = score.counts[order]
        counts[f"_bleu_totals_{order}"] = score.totals[order]
    with metrics.aggregate(new_root=True) as aggregator:
        log_bleu([counts, counts])
    assert aggregator.get_smoothed_values()["bleu"] == 100.0


def test_broken_json_options_name_their_flag(pairs, monkeypatch):
    monkeypatch.setattr(FairseqTask, "build_model", lambda self, cfg, from_checkpoint=False: None)
    with pytest.raises(ValueError, match="--eval-bleu-detok-args expects a JSON object"):
        translation(pairs, eval_bleu=True, eval_bleu_detok_args="{").build_model(None)


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({}, "BeamSearch"),
        ({"sampling": True, "sampling_topk": 3}, "Sampling"),
        ({"diverse_beam_groups": 2}, "DiverseBeamSearch"),
        ({"match_source_len": True}, "LengthConstrainedBeamSearch"),
        ({"diversity_rate": 0}, "DiverseSiblingsSearch"),
        ({"constraints": "ordered"}, "LexicallyConstrainedBeamSearch"),
        ({"prefix_allowed_tokens_fn": lambda batch, tokens: [4]}, "PrefixConstrainedBeamSearch"),
    ],
)
def test_generation_options_choose_the_search_strategy(pairs, options, strategy):
    dictionary = translation(pairs).target_dictionary
    assert type(_generation.build_search_strategy(dictionary, Namespace(**options))).__name__ == strategy


def test_two_search_strategies_at_once_are_refused(pairs):
    dictionary = translation(pairs).target_dictionary
    with pytest.raises(ValueError, match="mutually exclusive"):
        _generation.build_search_strategy(dictionary, Namespace(sampling=True, match_source_len=True))
    with pytest.raises(AssertionError, match="--sampling-topp requires --sampling"):
        _generation.build_search_strategy(dictionary, Namespace(sampling_topp=0.9))


def test_task_state_is_made_when_read_and_comes_back_from_checkpoints():
    state = StatefulContainer()
    state.add_factory("words", lambda: ["made"])
    assert state.state_dict == {} and state.words == ["made"] and state.state_dict == {"words": ["made"]}
    other = StatefulContainer()
    other.add_factory("words", lambda: ["made"])
    other.merge_state_dict({"words": ["loaded"]})
    assert other.words == ["loaded"]
    with pytest.raises(AttributeError, match="Task state has no factory for attribute letters"):
        other.letters  # noqa: B018


def test_an_old_style_task_still_aggregates_its_own_way():
    from fairseq.logging import metrics

    class Old(LegacyFairseqTask):
        def aggregate_logging_outputs(self, logging_outputs, criterion):
            return {"loss": sum(log["loss"] for log in logging_outputs)}

    with metrics.aggregate(new_root=True) as aggregator, pytest.warns(UserWarning, match="reduce_metrics"):
        Old(Namespace()).reduce_metrics([{"loss": 1.0}, {"loss": 2.0}], None)
    assert aggregator.get_smoothed_values()["loss"] == 3.0


@pytest.fixture
def text(tmp_path):
    dictionary = write_dictionary(tmp_path / "dict.txt")
    write_split(tmp_path / "train", dictionary, LINES * 3)
    return tmp_path


def language_model(folder, **options):
    values = {
        "data": str(folder),
        "output_dictionary_size": -1,
        "self_target": False,
        "future_target": False,
        "past_target": False,
        "dataset_impl": None,
        "shorten_data_split_list": "",
        "shorten_method": "none",
        "tokens_per_sample": 8,
        "seed": 1,
        "sample_break_mode": "none",
        "use_plasma_view": False,
        "plasma_path": "",
        "pad_to_fixed_bsz": False,
        "pad_to_fixed_length": False,
        "add_bos_token": False,
        **options,
    }
    return LanguageModelingTask.setup_task(Namespace(**values))


def test_language_model_targets_follow_the_input(text):
    task = language_model(text)
    task.load_dataset("train")
    sample = task.dataset("train")[1]
    assert task.targets == ["future"] and sample["source"][1:].tolist() == sample["target"][:-1].tolist()


def test_a_smaller_output_dictionary_makes_rare_words_unknown(text):
    task = language_model(text, output_dictionary_size=6)
    task.load_dataset("train")
    assert max(int(task.dataset("train")[i]["target"].max()) for i in range(2)) < 6


def test_unsupported_targets_are_refused(text, monkeypatch):
    monkeypatch.setattr(
        LegacyFairseqTask,
        "build_model",
        lambda self, args, from_checkpoint=False: SimpleNamespace(supported_targets={"future"}),
    )
    with pytest.raises(ValueError, match="Unsupported language modeling target: past"):
        language_model(text, past_target=True).build_model(None)


def test_continuations_begin_with_the_text_given(text):
    task = language_model(text)
    tokens = [torch.tensor([4, 5, 2])]
    data = task.build_dataset_for_inference(tokens, [3])
    batch = data.collater([data[0]])
    assert batch["net_input"]["src_tokens"].tolist() == [[2, 4, 5]] and batch["target"].tolist() == [[4, 5, 1]]

    class Recorder:
        def generate(self, models, sample, prefix_tokens, bos_token):
            return prefix_tokens.tolist(), bos_token

    assert task.inference_step(Recorder(), [], batch) == ([[4, 5]], 2)


def test_scoring_with_context_reads_in_one_process_and_in_order(text):
    task = language_model(text)
    task.load_dataset("train")
    batches = list(task.eval_lm_dataloader(task.dataset("train"), batch_size=2, num_workers=0, context_window=2))
    assert [i for batch in batches for i in batch["id"].tolist()] == list(range(len(task.dataset("train"))))
    assert batches[0]["start_indices"] == [0, 2]


def test_masked_inputs_and_targets_fit_together(text):
    cfg = MaskedLMConfig(data=str(text), tokens_per_sample=8, sample_break_mode="complete", seed=1, mask_prob=0.4)
    task = MaskedLMTask.setup_task(cfg)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = next(task.get_batch_iterator(dataset, max_sentences=4).next_epoch_itr())
    source, target = batch["net_input"]["src_tokens"], batch["target"]
    assert bool((source == task.mask_idx).any()) and bool((target[source == task.mask_idx] != 1).all())


def test_masking_whole_words_without_a_segmentation_is_explained(text):
    cfg = MaskedLMConfig(data=str(text), mask_whole_words=True, seed=1)
    cfg.bpe = None
    with pytest.raises(ValueError, match="needs --bpe"):
        MaskedLMTask.setup_task(cfg).load_dataset("train")


def test_denoising_blocks_stand_between_their_end_tokens(text):
    cfg = DenoisingConfig(
        data=str(text), tokens_per_sample=10, sample_break_mode="eos", mask=0.3, rotate=0.0, seed=1, dataset_impl=None
    )
    task = DenoisingTask.setup_task(cfg)
    task.load_dataset("train")
    sample = task.dataset("train")[0]
    assert sample["target"].tolist() == [0, 4, 5, 6, 2]


def test_labels_count_from_the_first_class(tmp_path):
    words = write_dictionary(tmp_path / "input0" / "dict.txt")
    labels = write_dictionary(tmp_path / "label" / "dict.txt", ["no", "yes"])
    for kind in ("input0", "input1"):
        write_split(tmp_path / kind / "train", words, LINES)
    write_split(tmp_path / "label" / "train", labels, ["yes", "no", "no", "yes"])
    cfg = SentencePredictionConfig(
        data=str(tmp_path),
        num_classes=2,
        init_token=0,
        separator_token=2,
        no_shuffle=True,
        regression_target=False,
        seed=1,
    )
    task = SentencePredictionTask.setup_task(cfg)
    dataset = task.load_dataset("train")
    batch = dataset.collater([dataset[0], dataset[1]])
    assert batch["net_input"]["src_tokens"].tolist() == [[0, 4, 5, 6, 2, 2, 4, 5, 6, 2], [0, 7, 8, 2, 2, 7, 8, 2, 1, 1]]
    assert batch["target"].view(-1).tolist() == [1, 0]


def test_regression_targets_are_checked_line_by_line(tmp_path):
    words = write_dictionary(tmp_path / "input0" / "dict.txt")
    write_split(tmp_path / "input0" / "train", words, LINES)
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "train.label").write_text("0.5\n1.5 2\n", encoding="utf-8")
    cfg = SentencePredictionConfig(data=str(tmp_path), num_classes=1, regression_target=True, seed=1)
    task = SentencePredictionTask.setup_task(cfg)
    with pytest.raises(AssertionError, match="line 2: expected num_classes=1"):
        task.load_dataset("train")
    (tmp_path / "label" / "train.label").write_text("0.5\nhalf\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2: expected numbers, got 'half'"):
        task.load_dataset("train")


@pytest.mark.parametrize(
    ("labels", "told"), [("0\n2\n1\n0\n", "line 2: expected the number"), ("0\n1\n", "2 lines for 4 samples")]
)
def test_labels_of_candidates_are_checked_line_by_line(labels, told, tmp_path):
    words = write_dictionary(tmp_path / "input0" / "dict.txt")
    for kind in ("input1", "input2"):
        write_split(tmp_path / kind / "train", words, LINES)
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "train.label").write_text(labels, encoding="utf-8")
    args = Namespace(
        data=str(tmp_path), num_classes=2, init_token=None, separator_token=None, max_option_length=None,
        no_shuffle=True, shorten_data_split_list="", shorten_method="none", max_positions=20, seed=1,
    )  # fmt: skip
    task = SentenceRankingTask.setup_task(args)
    with pytest.raises(ValueError, match=told):
        task.load_dataset("train")
    args.num_classes = None
    with pytest.raises(ValueError, match="--num-classes"):
        task.load_dataset("train")


def test_there_are_as_many_labels_as_sentences(tmp_path):
    words = write_dictionary(tmp_path / "input0" / "dict.txt")
    labels = write_dictionary(tmp_path / "label" / "dict.txt", ["no", "yes"])
    write_split(tmp_path / "input0" / "train", words, LINES)
    write_split(tmp_path / "label" / "train", labels, ["yes", "no"])
    cfg = SentencePredictionConfig(data=str(tmp_path), num_classes=2, regression_target=False, seed=1)
    with pytest.raises(AssertionError, match="2 labels for 4 inputs"):
        SentencePredictionTask.setup_task(cfg).load_dataset("train")


def test_candidates_share_their_first_part(tmp_path):
    words = write_dictionary(tmp_path / "input0" / "dict.txt")
    for kind, lines in (("input0", LINES), ("input1", ["ba"] * 4), ("input2", ["bo"] * 4)):
        write_split(tmp_path / kind / "train", words, lines)
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "train.label").write_text("0\n1\n1\n0\n", encoding="utf-8")
    args = Namespace(
        data=str(tmp_path), num_classes=2, init_token=0, separator_token=None, max_option_length=None, no_shuffle=True,
        shorten_data_split_list="", shorten_method="none", max_positions=20, seed=1, criterion="sentence_ranking",
    )  # fmt: skip
    dataset = SentenceRankingTask.setup_task(args).load_dataset("train")
    batch = dataset.collater([dataset[1]])
    assert batch["net_input1"]["src_tokens"].tolist() == [[0, 7, 8, 2, 4, 2]]
    assert batch["net_input2"]["src_tokens"].tolist() == [[0, 7, 8, 2, 7, 2]] and batch["target"].tolist() == [1]


def test_languages_are_sampled_by_their_sizes_and_begin_with_their_token(text):
    from fairseq.tasks.multilingual_language_modeling import MultilingualLanguageModelingTask

    dictionary = Dictionary.load(str(text / "dict.txt"))
    write_split(text / "xx" / "train", dictionary, LINES * 8)
    write_split(text / "yy" / "train", dictionary, LINES)
    write_split(text / "xx" / "valid", dictionary, LINES)
    write_split(text / "yy" / "valid", dictionary, LINES)
    args = language_model(text, add_bos_token=True, sample_break_mode="eos").args
    for name, value in (("langs", ""), ("baseline_model_langs", ""), ("baseline_model", "")):
        setattr(args, name, value)
    args.multilang_sampling_alpha, args.lang_to_offline_shard_ratio = 0.5, ""
    task = MultilingualLanguageModelingTask.setup_task(args)
    train = task.load_dataset("train")
    first = [task.dictionary[int(train[i]["source"][0])] for i in range(len(train))]
    assert len(train) in (36, 37, 38) and 8 <= first.count("<yy>") <= 11 and first.count("<xx>") > 20
    task.load_dataset("valid")
    assert len(task.dataset("valid_xx")) == len(task.dataset("valid_yy")) == 4

    assert task.max_positions() is None
    longest = int(max(train.sizes))
    args.max_source_positions = longest - 1
    indices = train.ordered_indices()
    with pytest.raises(Exception, match="max_positions=" + str(longest - 1)):
        task.filter_indices_by_size(indices, train, task.max_positions())
    kept = task.filter_indices_by_size(indices, train, task.max_positions(), ignore_invalid_inputs=True)
    assert 0 < len(kept) < len(indices)
    assert max(train.sizes[kept]) < longest


def test_unlisted_validation_sets_are_refused(pairs):
    write_split(pairs / "valid1.aa-bb.aa", Dictionary.load(str(pairs / "dict.aa.txt")), LINES)
    dataset = SimpleNamespace(
        ignore_unused_valid_subsets=False, combine_valid_subsets=None, disable_validation=False, valid_subset="valid"
    )
    cfg = SimpleNamespace(dataset=dataset, task=SimpleNamespace(data=str(pairs)))
    with pytest.raises(ValueError, match="valid1"):
        data_utils.raise_if_valid_subsets_unintentionally_ignored(cfg)
    # The first part may be left out: only those with a number behind their name are easily forgotten.
    dataset.valid_subset = "valid1"
    data_utils.raise_if_valid_subsets_unintentionally_ignored(cfg)
    dataset.valid_subset = "valid,valid1"
    data_utils.raise_if_valid_subsets_unintentionally_ignored(cfg)


def test_json_options_are_read():
    from fairseq.tasks.translation import _parse_json_options

    assert _parse_json_options(json.dumps({"beam": 4}), "--x") == {"beam": 4} and _parse_json_options(None, "--x") == {}
