"""Where a model comes from: a folder, an archive, the Hugging Face hub; and what is said when it is not there."""

from __future__ import annotations

import os
import sys
import tarfile
import types
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "security"))

import trained

from fairseq import checkpoint_utils, file_utils, hub_utils
from fairseq.models.transformer import TransformerModel


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    data, checkpoint = trained.make(folder)
    model = folder / "model"
    model.mkdir()
    for name in ("dict.aa.txt", "dict.bb.txt"):
        (model / name).write_bytes((data / name).read_bytes())
    (model / "model.pt").write_bytes(checkpoint.read_bytes())
    return model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(file_utils, "PYTORCH_FAIRSEQ_CACHE", tmp_path / "cache")


def test_a_folder_and_an_archive_of_it_translate_the_same(made, tmp_path):
    with tarfile.open(tmp_path / "m.tar.gz", "w:gz") as archive:
        archive.add(made, "m")
    whole = TransformerModel.from_pretrained(str(made))
    packed = TransformerModel.from_pretrained(str(tmp_path / "m.tar.gz"), "model.pt", "./", beam=2)
    texts = ["a b c", "d e"]
    assert whole.translate(texts) == packed.translate(texts)
    assert isinstance(whole.translate("a b", beam=3, lenpen=2.0), str)
    assert whole.device == torch.device("cpu") and len(whole.models) == 1


def test_several_files_are_an_ensemble(made):
    model = TransformerModel.from_pretrained(str(made), os.pathsep.join(["model.pt", "model.pt"]))
    one = TransformerModel.from_pretrained(str(made))
    assert len(model.models) == 2
    tokens = one.encode("a b c")
    assert tokens.tolist() == model.encode("a b c").tolist() and tokens.dtype == torch.int64
    found = model.generate([tokens, tokens[1:]], beam=2)
    assert [len(hypotheses) for hypotheses in found] == [2, 2]
    assert one.decode(one.generate(tokens, beam=2)[0]["tokens"]) == one.translate("a b c", beam=2)
    assert one.remove_bpe(one.apply_bpe(one.tokenize("a b"))) == one.detokenize("a b") == "a b"


def test_overrides_reach_the_config_of_the_model_and_of_generation(made):
    model = TransformerModel.from_pretrained(str(made), generation_args={"beam": 7}, max_target_positions=33)
    assert model.cfg.generation.beam == 7
    assert model.cfg.model.max_target_positions == 33


@pytest.fixture
def hub(monkeypatch, made, tmp_path):
    """A stand-in for huggingface_hub that knows one repository."""
    asked = []

    def snapshot_download(name, cache_dir, library_name):
        asked.append((name, cache_dir, library_name))
        if name != "owner/model":
            raise ConnectionError("no network")
        return str(made)

    package = types.ModuleType("huggingface_hub")
    package.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", package)
    return asked


def test_a_model_of_the_hub_is_loaded_by_its_name(hub, made):
    model = TransformerModel.from_pretrained("owner/model")
    assert isinstance(model.translate("a b"), str)
    assert hub == [("owner/model", os.path.expanduser("~/.cache/fairseq"), "fairseq")]
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task_from_hf_hub("owner/model", cache_dir="x")
    assert len(models) == 1 and cfg.task.data == str(made) and task.source_dictionary is not None


def test_a_hub_that_does_not_answer_is_one_clear_error(hub):
    with pytest.raises(OSError, match=r"owner/other cannot be fetched .* no network"):
        TransformerModel.from_pretrained("owner/other")


def test_the_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match=r"fairseq\[hub\]"):
        TransformerModel.from_pretrained("owner/model")
    with pytest.raises(ImportError, match=r"fairseq\[hub\]"):
        checkpoint_utils.load_model_ensemble_and_task_from_hf_hub("owner/model")


@pytest.mark.parametrize("name", ["/no/such/folder", "none.tar.gz", "a/b/c"])
def test_what_is_not_there_is_named(name):
    with pytest.raises(FileNotFoundError, match=name):
        TransformerModel.from_pretrained(name)


def test_a_published_name_without_a_connection_is_one_clear_error(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(file_utils.urllib.request, "urlopen", refuse)
    with pytest.raises(FileNotFoundError, match="wmt19"):
        TransformerModel.from_pretrained("transformer.wmt19.en-de.single_model")


def test_a_missing_file_in_a_folder_is_named(made):
    with pytest.raises(OSError, match="Model file not found"):
        TransformerModel.from_pretrained(str(made), "other.pt")


def test_text_encoders_alone():
    assert hub_utils.BPEHubInterface("characters").encode("ab") == "a b"
    assert hub_utils.TokenizerHubInterface("space").encode("a  b") == "a b"
    with pytest.raises(ValueError):
        hub_utils.BPEHubInterface(None)


# --------------------------------------------------------------------------------------------- files -> models
def split_in_two(made, folder, pattern):
    state = torch.load(made / "model.pt", weights_only=False)
    names = list(state["model"])
    for part in range(2):
        piece = {**state, "model": {name: state["model"][name] for name in names[part::2]}}
        torch.save(piece, folder / pattern.format(part))
    return state["model"]


def test_a_model_in_parts_is_put_together(made, tmp_path):
    weights = split_in_two(made, tmp_path, "big_part{}.pt")
    options = {"strict": False, "num_shards": 2, "arg_overrides": {"data": str(made)}}
    (model,), _ = checkpoint_utils.load_model_ensemble([str(tmp_path / "big.pt")], **options)
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    with pytest.raises(AssertionError, match="shards > 1"):
        checkpoint_utils.load_model_ensemble([str(tmp_path / "big.pt")], num_shards=2)


def test_a_suffix_goes_before_the_ending(made, tmp_path):
    (tmp_path / "x-rank-0.pt").write_bytes((made / "model.pt").read_bytes())
    found = checkpoint_utils.load_model_ensemble(
        [str(tmp_path / "x.pt")], suffix="-rank-0", arg_overrides={"data": str(made)}
    )
    assert len(found[0]) == 1
    with pytest.raises(OSError, match=r"Model file not found: .*x-rank-1\.pt"):
        checkpoint_utils.load_model_ensemble([str(tmp_path / "x.pt")], suffix="-rank-1")


def test_a_state_that_is_given_is_not_read_again_and_stays_as_it_is(made, tmp_path):
    state = checkpoint_utils.load_checkpoint_to_cpu(str(made / "model.pt"), {"data": str(made)})
    before = {name: value.clone() for name, value in state["model"].items()}
    for _ in range(2):
        (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(made / "model.pt")], state=state)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
    assert task.target_dictionary is not None
    assert all(torch.equal(state["model"][name], value) for name, value in before.items())


def test_a_component_is_filled_from_a_model(made):
    (model,), _ = checkpoint_utils.load_model_ensemble([str(made / "model.pt")], {"data": str(made)})
    expected = model.encoder.state_dict()
    before = {name: value.clone() for name, value in expected.items()}
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    checkpoint_utils.load_pretrained_component_from_model(model.encoder, str(made / "model.pt"))
    assert all(torch.equal(model.encoder.state_dict()[name], value) for name, value in before.items())
    with pytest.raises(ValueError, match="FairseqEncoder"):
        checkpoint_utils.load_pretrained_component_from_model(torch.nn.Linear(1, 1), str(made / "model.pt"))


@pytest.fixture
def wide(made, monkeypatch):
    """The same model, with every tensor counted as large."""
    from fairseq.checkpoint_utils import model_loading

    monkeypatch.setattr(model_loading, "_LARGE", 1)
    return model_loading


def test_weights_that_are_loaded_are_not_drawn(made, wide):
    weights = torch.load(made / "model.pt", weights_only=False)["model"]
    before = torch.get_rng_state()
    (model,), _ = checkpoint_utils.load_model_ensemble([str(made / "model.pt")], {"data": str(made)})
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    with wide.drawing_weights():
        checkpoint_utils.load_model_ensemble([str(made / "model.pt")], {"data": str(made)})
    assert not torch.equal(torch.get_rng_state(), before)


def test_weights_that_a_model_keeps_while_loading_are_drawn(made, wide, monkeypatch):
    """Models put what a file lacks, a new head say, into its state before it is loaded."""
    state = torch.load(made / "model.pt", weights_only=False)
    name = "encoder.layers.0.fc1.weight"
    del state["model"][name]
    state["cfg"]["task"]["data"] = str(made)
    path = made.parent / "headless.pt"
    torch.save(state, path)
    real = TransformerModel.upgrade_state_dict

    def completed(self, weights):
        real(self, weights)
        weights.setdefault(name, dict(self.named_parameters())[name].data)

    monkeypatch.setattr(TransformerModel, "upgrade_state_dict", completed)
    (model,), _ = checkpoint_utils.load_model_ensemble([str(path)])
    weight = dict(model.named_parameters())[name]
    assert torch.isfinite(weight).all() and weight.std() > 0.01


def test_the_file_may_change_once_a_model_is_loaded(made, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes((made / "model.pt").read_bytes())
    (model,), _ = checkpoint_utils.load_model_ensemble([str(path)], {"data": str(made)})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with open(path, "r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_translation_model_says_that_it_scores_pairs_only(made):
    model = TransformerModel.from_pretrained(str(made))
    with pytest.raises(ValueError, match="score-reference"):
        model.score("a b")
