"""Options in a checkpoint that name files, or ask for more memory than its weights account for."""

from __future__ import annotations

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import trained
from forked import Ending, forked, tool

from fairseq.checkpoint_utils import load_checkpoint_to_cpu, load_model_ensemble
from fairseq.checkpoint_utils.model_loading import SkipInit
from fairseq.serialization import CheckpointError, UnsafeOptionError, read_checkpoint

MEMORY = 250 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    import fairseq.hub_utils
    import fairseq.models.transformer
    import fairseq.tasks.translation
    import fairseq.training_loop  # noqa: F401

    ending = forked(lambda: trained.make(folder), None)
    assert ending.code == 0, ending.output
    return folder


def run(reader: str, folder: Path, path: Path) -> Ending:
    if reader == "hub":
        return forked(lambda: trained.load_from_hub(folder / "bin", path))
    name, words = trained.command(reader, folder / "bin", path, folder)
    return tool(name, words)


def changed(folder: Path, path: Path, section: str, **values: Any) -> Path:
    state = copy.deepcopy(read_checkpoint(folder / "ck" / "checkpoint_last.pt"))
    options = state["cfg"][section]
    for name, value in values.items():
        if isinstance(options, Namespace):
            setattr(options, name, value)
        else:
            options[name] = value
    torch.save(state, path)
    return path


@pytest.mark.parametrize("value", [10**9, 10**19])
@pytest.mark.parametrize("option", ["max_source_positions", "max_target_positions"])
@pytest.mark.parametrize("learned", [False, True])
def test_positions_out_of_proportion_take_no_memory(option, value, learned, made, tmp_path):
    """A table of 10^9 sines takes 32 GB; it is made by operations, not by a factory with a size."""
    side = "encoder" if "source" in option else "decoder"
    path = changed(made, tmp_path / "x.pt", "model", **{option: value, f"{side}_learned_pos": learned})
    ending = run("hub" if learned else "generate", made, path)
    assert ending.code == 1 and "Traceback" not in ending.output, ending.output
    assert ending.peak < MEMORY
    if value < 10**15:
        assert "far larger than" in ending.output and "x.pt" in ending.output


@pytest.mark.parametrize("kind", ["device", "pipe", "missing", "folder", "text"])
@pytest.mark.parametrize("reader", ["hub", "validate"])
def test_word_vectors_are_not_opened_when_weights_follow(kind, reader, made, tmp_path):
    target = {"device": "/dev/zero", "missing": "/no/such/file.vec"}.get(kind, str(tmp_path / kind))
    if kind == "pipe":
        (tmp_path / kind).unlink(missing_ok=True)
        import os

        os.mkfifo(tmp_path / kind)
    elif kind == "folder":
        (tmp_path / kind).mkdir()
    elif kind == "text":
        (tmp_path / kind).write_text("these are no vectors\n" * 3)
    path = changed(made, tmp_path / "x.pt", "model", encoder_embed_path=target, decoder_embed_path=target)
    ending = run(reader, made, path)
    assert ending.code == 0, ending.output


def lstm_lm(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A language model that begins with word vectors from a file, and its checkpoint."""
    from omegaconf import OmegaConf

    from fairseq import tasks
    from fairseq.data import Dictionary
    from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

    dictionary = Dictionary()
    for word in "abcd":
        dictionary.add_symbol(word)
    dictionary.save(str(folder / "dict.txt"))
    (folder / "vectors").write_text("4 4\n" + "".join(f"{word} 1 2 3 4\n" for word in "abcd"))
    task = {"_name": "language_modeling", "data": str(folder), "output_dictionary_size": -1}
    args = Namespace(arch="lstm_lm", decoder_embed_dim=4, decoder_hidden_size=4, decoder_layers=1)
    args.decoder_out_embed_dim, args.decoder_embed_path = 4, str(folder / "vectors")
    ARCH_CONFIG_REGISTRY["lstm_lm"](args)
    model = ARCH_MODEL_REGISTRY["lstm_lm"].build_model(args, tasks.setup_task(OmegaConf.create(task)))
    return folder / "x.pt", {"args": None, "cfg": {"task": task, "model": args}, "model": model.state_dict()}


def test_a_checkpoint_whose_word_vectors_are_gone_loads_with_its_own(tmp_path):
    path, state = lstm_lm(tmp_path)
    assert state["model"]["decoder.embed_tokens.weight"][4].tolist() == [1, 2, 3, 4]
    state["model"]["decoder.embed_tokens.weight"][4] = 9.0
    torch.save(state, path)
    (tmp_path / "vectors").unlink()
    (model,), _ = load_model_ensemble([str(path)])
    assert model.decoder.embed_tokens.weight[4].tolist() == [9, 9, 9, 9]


def test_word_vectors_are_read_where_no_weights_follow(tmp_path):
    lstm_lm(tmp_path)
    from fairseq import utils

    assert utils.parse_embedding(str(tmp_path / "vectors"))["a"].tolist() == [1, 2, 3, 4]
    with SkipInit({}, "x.pt", skip=True):
        assert utils.parse_embedding("/dev/zero") == {}
    assert len(utils.parse_embedding(str(tmp_path / "vectors"))) == 4


OPTIONS = [
    ("bpe", {"_name": "subword_nmt", "bpe_codes": "/dev/zero"}),
    ("bpe", {"_name": "sentencepiece", "sentencepiece_model": "/dev/zero"}),
    ("bpe", {"_name": "gpt2", "gpt2_encoder_json": "/dev/zero", "gpt2_vocab_bpe": "/dev/zero"}),
    ("tokenizer", {"_name": "moses", "source_lang": "/dev/random"}),
    ("generation", {"replace_unk": "/dev/zero"}),
    ("generation", {"lm_path": "/dev/zero"}),
    ("task", {"lang_dict": "/dev/zero"}),
    ("model", {"pretrained_checkpoint": "/dev/zero", "pretrained": "True"}),
    ("task", {"nested": [{"deep": "/dev/zero"}]}),
]


@pytest.mark.parametrize(("section", "values"), OPTIONS, ids=lambda value: str(value)[:40])
def test_an_option_that_names_a_device_is_refused(section, values, made, tmp_path):
    state = copy.deepcopy(read_checkpoint(made / "ck" / "checkpoint_last.pt"))
    options = state["cfg"].get(section)
    if isinstance(options, Namespace):
        vars(options).update(values)
    else:
        state["cfg"][section] = {**(options or {}), **values}
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(UnsafeOptionError, match=section):
        load_checkpoint_to_cpu(str(tmp_path / "x.pt"))
    ending = run("hub", made, tmp_path / "x.pt")
    assert ending.code == 1 and "which is no file" in ending.output, ending.output
    assert ending.peak < MEMORY


def test_a_reference_to_a_device_in_another_section_is_refused(tmp_path):
    cfg = {"common": {"log_file": "/dev/zero"}, "bpe": {"bpe_codes": "${common.log_file}"}}
    torch.save({"model": {}, "cfg": cfg}, tmp_path / "x.pt")
    with pytest.raises(UnsafeOptionError):
        load_checkpoint_to_cpu(str(tmp_path / "x.pt"))


def test_what_the_caller_names_may_be_anything(tmp_path):
    cfg = {"common": {"log_file": "/dev/stdout"}, "bpe": {"bpe_codes": "x"}, "task": {"data": "/dev/null"}}
    torch.save({"model": {}, "cfg": cfg}, tmp_path / "x.pt")
    found = load_checkpoint_to_cpu(str(tmp_path / "x.pt"), {"bpe_codes": "/dev/zero"})
    assert found["cfg"].bpe.bpe_codes == "/dev/zero"


# ------------------------------------------------------------------------------------- sizes are known before memory
BIG = 10**11
GROWING = {
    "empty": lambda: torch.empty(BIG),
    "arange": lambda: torch.arange(BIG),
    "linspace": lambda: torch.linspace(0, 1, BIG),
    "eye": lambda: torch.eye(BIG, 3),
    "full": lambda: torch.full((3, BIG), 1.0),
    "random integers": lambda: torch.randint(5, (BIG,)),
    "permutation": lambda: torch.randperm(BIG),
    "repeat": lambda: torch.zeros(3).repeat(BIG),
    "repeat_interleave": lambda: torch.zeros(3).repeat_interleave(BIG),
    "expand and copy": lambda: torch.zeros(1).expand(BIG).clone(),
    "expand and add": lambda: torch.zeros(1).expand(BIG) + 1,
    "outer": lambda: torch.outer(torch.zeros(1 << 21), torch.zeros(1 << 21)),
    "broadcast": lambda: torch.zeros(1 << 21, 1) * torch.zeros(1, 1 << 21),
    "pad": lambda: torch.nn.functional.pad(torch.zeros(3), (0, BIG)),
    "one-hot": lambda: torch.nn.functional.one_hot(torch.zeros(5, dtype=torch.long), BIG),
    "new": lambda: torch.zeros(3).new_zeros(BIG),
    "new full": lambda: torch.zeros(3).new_full((BIG,), 1.0),
    "cat": lambda: torch.cat([torch.zeros(1).expand(BIG)] * 2),
    "stack": lambda: torch.stack([torch.zeros(1).expand(BIG)] * 2),
    "triangle": lambda: torch.triu(torch.zeros(1, 1).expand(1 << 20, 1 << 20)),
    "layer": lambda: torch.nn.Linear(BIG, 3),
    "embedding": lambda: torch.nn.Embedding(BIG, 3),
}


def test_an_operation_out_of_proportion_is_refused_before_it_is_done():
    def work() -> None:
        weights = {"w": torch.zeros(10)}
        for kind, operation in GROWING.items():
            with pytest.raises(CheckpointError, match="far larger than the 10 "), SkipInit(weights, "x.pt", True):
                operation()
                pytest.fail(kind)

    ending = forked(work, 1 << 40)
    assert ending.code == 0, ending.output
    assert ending.peak < 300 << 20


def test_building_in_proportion_is_as_ever():
    weights = {"w": torch.zeros(1 << 22)}
    with SkipInit(weights, "x.pt", skip=False):
        torch.manual_seed(3)
        layer = torch.nn.Embedding(1 << 11, 1 << 10)
        table = torch.cat([torch.arange(1 << 21).view(-1, 1), torch.zeros(1 << 21, 1, dtype=torch.long)], dim=1)
        mean = layer.weight.mean()
    torch.manual_seed(3)
    assert torch.equal(layer.weight, torch.nn.Embedding(1 << 11, 1 << 10).weight)
    assert mean == layer.weight.mean() and table[7].tolist() == [7, 0]
