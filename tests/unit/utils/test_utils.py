"""The helpers of ``fairseq.utils``."""

from __future__ import annotations

import logging
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq import utils
from fairseq.utils.literals import parse_literal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[(512, 3)] * 2 + [(768, 3)]", [(512, 3), (512, 3), (768, 3)]),
        ("2 * (1,)", (1, 1)),
        ("-1e-3", -0.001),
        ("{'a': [1, None, True]}", {"a": [1, None, True]}),
        (" 3 * 4 + 1 ", 13),
    ],
)
def test_literals_with_sums_and_repetitions_are_read(text: str, value: Any) -> None:
    assert parse_literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "a",
        "[1].append",
        "[0] * 10 ** 9",
        "[[0] * 99999] * 99999",
        "9" * 30 + " * " + "9" * 30,
        "(" * 5000,
        "{**{}}",
        "[x for x in (1,)]",
        "lambda: 0",
        "",
        "1 +",
        "'a' * 5",
        "\0",
    ],
)
def test_anything_else_is_refused_and_nothing_runs(text: str) -> None:
    with pytest.raises(ValueError):
        parse_literal(text)


def test_list_options_take_text_lists_and_single_values() -> None:
    assert utils.eval_str_list("1,2") == [1.0, 2.0]
    assert utils.eval_str_list("3", type=int) == [3]
    assert utils.eval_str_list([1, 2], type=int) == [1, 2]
    assert utils.eval_str_list(None) is None
    assert utils.eval_bool("True") is True and utils.eval_bool(None, default=True) is True
    assert utils.eval_str_dict("{'a': 1}") == {"a": 1}
    assert utils.csv_str_list("a,b") == ["a", "b"]
    with pytest.raises(ValueError, match="nope"):
        utils.eval_str_list("nope")


def test_paths_with_urls_are_separated_by_bars() -> None:
    assert utils.split_paths("a:b", separator=":") == ["a", "b"]
    assert utils.split_paths("s3://x/a|s3://x/b") == ["s3://x/a", "s3://x/b"]


def test_samples_are_mapped_with_their_structure() -> None:
    sample = {"a": torch.ones(2), "b": OrderedDict(c=[torch.zeros(1)], d=(torch.ones(1), "x"))}
    doubled = utils.apply_to_sample(lambda t: t * 2, sample)
    assert torch.equal(doubled["a"], torch.full((2,), 2.0))
    assert (
        isinstance(doubled["b"], OrderedDict) and isinstance(doubled["b"]["d"], tuple) and doubled["b"]["d"][1] == "x"
    )
    assert utils.apply_to_sample(lambda t: t, []) == {} and utils.apply_to_sample(lambda t: t, {}) == {}


def test_half_precision_becomes_float_on_the_cpu() -> None:
    moved = utils.move_to_cpu({"x": torch.ones(1).half(), "i": torch.ones(1).long()})
    assert moved["x"].dtype == torch.float32 and moved["i"].dtype == torch.int64


def test_padding_changes_sides_and_positions_skip_it() -> None:
    right = torch.tensor([[5, 6, 1, 1], [4, 5, 6, 1], [7, 8, 9, 2]])
    left = torch.tensor([[1, 1, 5, 6], [1, 4, 5, 6], [7, 8, 9, 2]])
    assert torch.equal(utils.convert_padding_direction(right, 1, right_to_left=True), left)
    assert torch.equal(utils.convert_padding_direction(left, 1, left_to_right=True), right)
    assert utils.convert_padding_direction(left, 1, right_to_left=True) is left
    assert torch.equal(utils.make_positions(left, 1)[0], torch.tensor([1, 1, 2, 3]))
    assert utils.strip_pad(right, 1).tolist() == [5, 6, 4, 5, 6, 7, 8, 9, 2]
    with pytest.raises(AssertionError):
        utils.convert_padding_direction(right, 1)


def test_the_strictest_length_limit_wins() -> None:
    assert utils.resolve_max_positions((10, None), 5, (3, 8), None) == (3, 5)
    assert utils.resolve_max_positions(10, 7) == 7
    assert utils.resolve_max_positions(None, None) is None
    assert utils.resolve_max_positions({"a": 3}, {"a": 2, "b": (1, 2)}) == {"a": 2, "b": (1, 2)}


def test_a_buffered_range_made_in_inference_mode_serves_training_too() -> None:
    with torch.inference_mode():
        utils.buffered_arange(9_001)
    assert not utils.buffered_arange(9_001).is_inference()
    assert utils.buffered_arange(3).tolist() == [0, 1, 2]


def test_softmax_is_computed_in_float32() -> None:
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float16)
    assert utils.softmax(x, dim=-1).dtype == torch.float32
    assert utils.log_softmax(x, dim=-1, onnx_trace=True).dtype == torch.float32


def test_perplexity_is_rounded_and_never_fails() -> None:
    assert utils.get_perplexity(3.0) == 8.0
    assert utils.get_perplexity(None) == 0.0
    assert utils.get_perplexity(1e5) == float("inf")
    assert utils.get_perplexity(torch.tensor(1.0), base=10) == 10.0


def test_expert_parameters_are_scaled_but_not_measured() -> None:
    shared, expert = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    expert.expert = True  # type: ignore[attr-defined]
    shared.grad, expert.grad = torch.tensor([3.0, 4.0]), torch.tensor([10.0, 0.0])
    norm = utils.clip_grad_norm_([shared, expert], 2.5)
    assert float(norm) == pytest.approx(5.0)
    assert expert.grad[0].item() == pytest.approx(5.0, rel=1e-4)


def test_norms_of_half_gradients_do_not_overflow() -> None:
    p = torch.nn.Parameter(torch.zeros(4, dtype=torch.float16))
    p.grad = torch.full((4,), 30000.0, dtype=torch.float16)
    assert float(utils.clip_grad_norm_([p], 0.0)) == pytest.approx(60000.0)


def test_activations_have_the_names_of_the_command_line() -> None:
    assert utils.get_available_activation_fns() == ["relu", "gelu", "gelu_fast", "gelu_accurate", "tanh", "linear"]
    x = torch.linspace(-2, 2, 5)
    assert torch.equal(utils.get_activation_fn("linear")(x), x)
    assert torch.allclose(utils.get_activation_fn("relu_squared")(x), torch.tensor([0.0, 0.0, 0.0, 1.0, 4.0]))
    assert utils.get_activation_fn("swish") is torch.nn.SiLU
    accurate = utils.get_activation_fn("gelu_accurate")(x)
    torch.testing.assert_close(accurate, torch.nn.functional.gelu(x, approximate="tanh"))
    with pytest.raises(RuntimeError, match="--activation-fn wobble not supported"):
        utils.get_activation_fn("wobble")


def test_a_seed_can_be_lent() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with utils.set_torch_seed(1):
        first = torch.rand(1)
    assert torch.equal(torch.get_rng_state(), before)
    with utils.set_torch_seed(1):
        assert torch.equal(torch.rand(1), first)
    with pytest.raises(AssertionError):
        utils.set_torch_seed("1")  # type: ignore[arg-type]


def test_evaluation_mode_is_lent_even_when_an_error_comes() -> None:
    model = torch.nn.Dropout()
    with pytest.raises(ValueError), utils.model_eval(model):
        assert not model.training
        raise ValueError
    assert model.training


def test_missing_and_none_are_the_same_for_safe_access() -> None:
    from omegaconf import OmegaConf

    cfg = OmegaConf.create({"a": None, "b": 0})
    assert utils.safe_getattr(cfg, "a", 3) == 3 and utils.safe_getattr(cfg, "b", 3) == 0
    assert utils.safe_hasattr(cfg, "b") and not utils.safe_hasattr(cfg, "c")
    assert utils.safe_getattr(SimpleNamespace(x=None), "x", 1) == 1


# --------------------------------------------------------------------------------------------------------- alignments
def test_hard_alignments_count_words_without_special_tokens() -> None:
    source, target = torch.tensor([7, 8, 2]), torch.tensor([9, 5, 2, 1])
    attention = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    kept = attention.clone()
    assert utils.extract_hard_alignment(attention, source, target, pad=1, eos=2) == [(1, 0), (0, 1)]
    assert torch.equal(attention, kept)
    soft = utils.extract_soft_alignment(attention, source, target, pad=1, eos=2)
    assert soft[0] == ["0.100000", "0.200000", "0.700000"] and len(soft) == 3
    assert utils.extract_hard_alignment(attention[2:], source, target[2:], pad=1, eos=2) == []


def test_alignment_lines_are_read_or_refused() -> None:
    assert utils.parse_alignment("0-1 2-3").tolist() == [[0, 1], [2, 3]]
    assert utils.parse_alignment("").shape == (0, 2)
    with pytest.raises(ValueError, match="not of the form SOURCE-TARGET"):
        utils.parse_alignment("0:1")


def test_unknown_words_are_replaced_by_translations_or_copies(tmp_path: Any) -> None:
    file = tmp_path / "dict.txt"
    file.write_text("Haus house\n", encoding="utf-8")
    table = utils.load_align_dict(str(file))
    assert table == {"Haus": "house"}
    assert utils.replace_unk("the <unk> <unk>", "das Haus Xaver", [0, 1, 2], table, "<unk>") == "the house Xaver"
    assert utils.load_align_dict(None) is None
    assert utils.load_align_dict("") == {} and utils.load_align_dict("@@ ") == {}
    file.write_text("too many words\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"dict.txt:1: expected SOURCE TARGET"):
        utils.load_align_dict(str(file))


def test_embeddings_fill_the_rows_of_known_words(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("2 2\na 1 2\nb 3 4\n", encoding="utf-8")
    vectors = utils.parse_embedding(str(file))
    embedding = utils.load_embedding(vectors, ["x", "b"], torch.nn.Embedding(2, 2))
    assert embedding.weight[1].tolist() == [3.0, 4.0]
    file.write_text("2 2\na 1 2\nb 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="vectors.txt:3"):
        utils.parse_embedding(str(file))
    file.write_bytes("2 2\na 1 2\n".encode("utf-16"))
    with pytest.raises(UnicodeDecodeError, match="vectors.txt must be UTF-8"):
        utils.parse_embedding(str(file))
    with caplog.at_level(logging.INFO):
        utils.print_embed_overlap(vectors, _Vocabulary())
    assert "found 1/2 types" in caplog.text


class _Vocabulary:
    symbols = ("a", "c")

    def __len__(self) -> int:
        return 2


def test_tpus_are_refused_in_words() -> None:
    with pytest.raises(RuntimeError, match="TPUs are not supported"):
        utils.move_to_tpu({"x": torch.ones(1)})


def test_every_listed_name_exists() -> None:
    assert all(hasattr(utils, name) for name in utils.__all__)
