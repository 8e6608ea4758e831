"""Private names that programs call, override or replace: each does its work, and our code goes through it."""

from __future__ import annotations

import io
import math
from argparse import Namespace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairseq import checkpoint_utils, options
from fairseq.binarizer import BinarizeSummary, FileBinarizer, VocabularyDatasetBinarizer
from fairseq.data import Dictionary, ListDataset, ResamplingDataset, data_utils
from fairseq.data.indexed_dataset import make_builder
from fairseq.models.ema.ema import EMA
from fairseq.models.transformer.transformer_config import DecoderConfig, TransformerConfig
from fairseq.modules import LinearizedConvolution
from fairseq.modules.multihead_attention import _mask_for_xformers
from fairseq.sequence_generator import SequenceGeneratorWithAlignment
from fairseq.tasks.denoising import DenoisingConfig, DenoisingTask
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    (tmp_path / "dict.txt").write_text("a 1\nb 1\nc 1\n", encoding="utf-8")
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    builder = make_builder(str(tmp_path / "valid.bin"), "mmap", vocab_size=len(dictionary))
    for line in ("a b c", "c c", "b"):
        builder.add_item(dictionary.encode_line(line, add_if_not_exist=False))
    builder.finalize(str(tmp_path / "valid.idx"))
    return tmp_path


@pytest.mark.parametrize(
    ("base", "config"),
    [
        (MaskedLMTask, MaskedLMConfig(sample_break_mode="eos")),
        (DenoisingTask, DenoisingConfig(sample_break_mode="eos")),
    ],
)
def test_tasks_load_splits_through_their_hook(folder: Any, base: Any, config: Any) -> None:
    calls: list[Any] = []

    class Task(base):  # type: ignore[misc]
        def _load_dataset_split(self, split: str, epoch: int, combine: bool) -> Any:
            calls.append((split, epoch, combine))
            found = super()._load_dataset_split(split, epoch, combine)
            return ListDataset([found[1]], np.array([len(found[1])]))

    config.data, config.seed, config.dataset_impl = str(folder), 1, None
    task = Task.setup_task(config)
    blocks = base._load_dataset_split(task, "valid", 1, False)
    assert [block[0].item() for block in blocks] == [task.dictionary.bos()] * 3
    task.load_dataset("valid", epoch=3, combine=True)
    assert calls == [("valid", 3, True)] and len(task.dataset("valid")) == 1
    with pytest.raises(FileNotFoundError, match="test"):
        base._load_dataset_split(task, "test", 1, False)


def test_ema_goes_through_its_two_steps() -> None:
    model = nn.Linear(2, 2, bias=False)
    config = SimpleNamespace(ema_decay=0.5, ema_start_update=2, ema_update_freq=1, ema_fp32=False, ema_seed_model=None)
    ema = EMA(model, config)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1)
    ema._set_decay(0.75)
    ema._step_internal(model)
    torch.testing.assert_close(ema.get_model().weight, before + 0.25)
    with mock.patch.object(EMA, "_step_internal") as inner, mock.patch.object(EMA, "_set_decay") as decay:
        ema.step(model, updates=1)
        ema.step(model, updates=2)
    assert [call.args for call in decay.call_args_list] == [(0,), (0.5,)] and inner.call_count == 2


def test_a_chunk_is_binarised_and_the_whole_file_goes_through_it(tmp_path: Any) -> None:
    text = tmp_path / "text"
    text.write_text("a b\nb\na a a\n", encoding="utf-8")
    dictionary = Dictionary()
    for word in "ab":
        dictionary.add_symbol(word)
    binarizer = VocabularyDatasetBinarizer(dictionary, append_eos=False)
    parts: list[Any] = []

    class Parts(FileBinarizer):
        @classmethod
        def _binarize_chunk_and_finalize(
            cls, binarizer: Any, input_file: str, offset_start: int, offset_end: int, output_prefix: str,
            dataset_impl: str, vocab_size: Any = None,
        ) -> BinarizeSummary:  # fmt: skip
            parts.append((offset_start, offset_end))
            return super()._binarize_chunk_and_finalize(
                binarizer, input_file, offset_start, offset_end, output_prefix, dataset_impl, vocab_size
            )

    summary = FileBinarizer._binarize_chunk_and_finalize(
        binarizer, str(text), 4, -1, str(tmp_path / "tail"), dataset_impl="mmap"
    )
    assert (summary.num_seq, summary.num_tok) == (2, 4)
    tail = data_utils.load_indexed_dataset(str(tmp_path / "tail"), dictionary)
    assert [dictionary.string(item) for item in tail] == ["b", "a a a"]
    summary = Parts.multiprocess_dataset(str(text), "mmap", binarizer, str(tmp_path / "all"), num_workers=1)
    assert parts == [(0, 12)] and summary.num_seq == 3


def test_groups_of_a_transformer_config_are_copied_by_the_hook() -> None:
    seen: set[str] = set()
    args = Namespace(decoder_embed_dim=8, decoder=Namespace(layers=3), encoder_layers=2, plugin=1)
    group = TransformerConfig._copy_keys(args, DecoderConfig, "decoder", seen)
    assert isinstance(group, DecoderConfig) and (group.embed_dim, group.layers, group.output_dim) == (8, 3, 8)
    assert seen == {"decoder_embed_dim", "decoder"}
    with mock.patch.object(TransformerConfig, "_copy_keys", wraps=TransformerConfig._copy_keys) as hook:
        config = TransformerConfig.from_namespace(args)
    assert [call.args[2] for call in hook.call_args_list] == ["encoder", "decoder", "quant_noise"]
    assert (config.encoder.layers, config.decoder.layers, config.plugin) == (2, 3, 1)


def test_a_convolution_keeps_its_inputs_through_two_methods() -> None:
    torch.manual_seed(1)
    layer = LinearizedConvolution(3, 2, 2, padding=1).eval()
    state: dict[str, Any] = {}
    x = torch.randn(4, 2, 3)
    steps = torch.cat([layer(x[i : i + 1].transpose(0, 1), state) for i in range(4)], 1).transpose(0, 1)
    torch.testing.assert_close(steps, layer(x))
    torch.testing.assert_close(layer._get_input_buffer(state), x[2:].transpose(0, 1))
    layer._set_input_buffer(state, torch.zeros(2, 2, 3))
    assert not layer._get_input_buffer(state).any()
    with mock.patch.object(LinearizedConvolution, "_get_input_buffer", return_value=None) as get:
        layer(x[:1].transpose(0, 1), state)
        layer.reorder_incremental_state(state, torch.tensor([0]))
    assert get.call_count == 2


def test_masks_are_turned_for_xformers() -> None:
    add, flag = torch.tensor([0.0, -math.inf]), torch.tensor([False, True])
    assert _mask_for_xformers(add) is add and _mask_for_xformers(add, torch.float16).dtype == torch.float16
    assert _mask_for_xformers(add, torch.bool).tolist() == [True, False] == _mask_for_xformers(flag).tolist()
    assert _mask_for_xformers(flag.byte()).dtype == torch.uint8
    assert _mask_for_xformers(flag.byte()).tolist() == [1, 0]
    assert torch.equal(_mask_for_xformers(flag, torch.float32), add)


def test_saving_goes_through_the_inner_function(tmp_path: Any) -> None:
    path = tmp_path / "x.pt"
    for asynchronous in (False, True):
        with mock.patch(
            "fairseq.checkpoint_utils._torch_persistent_save", side_effect=checkpoint_utils.torch.save
        ) as save:
            checkpoint_utils.torch_persistent_save({"a": 1}, path, async_write=asynchronous)
        assert save.call_count == 1
        from fairseq.checkpoint_utils.background import WRITER

        WRITER.wait()
        assert torch.load(path, weights_only=True) == {"a": 1}
    buffer = io.BytesIO()
    checkpoint_utils._torch_persistent_save({"b": 2}, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == {"b": 2}


def test_a_replaced_opena_is_used() -> None:
    name = "fairseq.checkpoint_utils"
    with mock.patch(f"{name}.PathManager.opena") as opener, mock.patch(f"{name}._torch_persistent_save") as save:
        checkpoint_utils.torch_persistent_save({}, "async.pt", async_write=True)
    opener.assert_called_with("async.pt", "wb")
    save.assert_called()


def test_the_options_of_speech_generation() -> None:
    parser = options.get_speech_generation_parser()
    given = parser.parse_args(["--path", "m.pt", "--task", "translation"])
    assert (given.eos_prob_threshold, given.path, given.results_path) == (0.5, "m.pt", None)
    assert parser.get_default("task") == "text_to_speech"


@pytest.mark.parametrize(
    "module", ["fairseq.data.dictionary", "fairseq.modules.layer_norm", "fairseq.trainer", "fairseq_cli.train"]
)
def test_modules_have_a_logger(module: str) -> None:
    import importlib
    import logging

    assert isinstance(importlib.import_module(module).logger, logging.Logger)


class _Aligner(nn.Module):
    full_context_alignment = True


def test_alignment_prepares_its_batch_through_the_hook() -> None:
    class Generator(SequenceGeneratorWithAlignment):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.pad, self.eos, self.left_pad_target = 1, 2, False

    sample = {"net_input": {"src_tokens": torch.tensor([[5, 6, 2], [7, 2, 1]]), "src_lengths": torch.tensor([3, 2])}}
    found: Any = [
        [{"tokens": torch.tensor([8, 9, 2])}, {"tokens": torch.tensor([8, 2])}],
        [{"tokens": torch.tensor([2])}],
    ]
    generator = Generator()
    src_tokens, src_lengths, previous, targets = generator._prepare_batch_for_alignment(sample, found)
    assert src_tokens.tolist() == [[5, 6, 2], [5, 6, 2], [7, 2, 1]] and src_lengths.tolist() == [3, 3, 2]
    assert previous.tolist() == [[2, 8, 9], [2, 8, 1], [2, 1, 1]]
    assert targets.tolist() == [[8, 9, 2], [8, 2, 1], [2, 1, 1]]
    generator.model = SimpleNamespace(forward_align=lambda *batch: batch[0].float())  # type: ignore[assignment]
    batch: tuple[Tensor, ...] = (torch.ones(1, 2), torch.ones(1), torch.ones(1, 2), torch.ones(1, 2))
    with mock.patch.object(Generator, "_prepare_batch_for_alignment", return_value=batch) as hook:
        attention, outputs = generator._realign(sample, found)
    hook.assert_called_once_with(sample, found)
    assert attention[0].tolist() == [1, 1] == outputs[0].tolist()


def test_weights_of_resampling_are_relative() -> None:
    base = ListDataset([torch.tensor([i]) for i in range(2)], np.ones(2, dtype=int))
    relative = ResamplingDataset(base, weights=[4.0, 2.0], size_ratio=500, seed=3)
    absolute = ResamplingDataset(base, weights=[2 / 3, 1 / 3], size_ratio=500, seed=3)
    drawn = [int(relative[i]) for i in range(1000)]
    assert drawn == [int(absolute[i]) for i in range(1000)] and 600 < drawn.count(0) < 730
    for weights in ([0.0, 0.0], [-1.0, 2.0], [math.nan, 1.0]):
        with pytest.raises(ValueError, match="weights must be finite"):
            ResamplingDataset(base, weights=weights)
    with pytest.raises(AssertionError, match="3 weights for 2 samples"):
        ResamplingDataset(base, weights=[1, 1, 1])
