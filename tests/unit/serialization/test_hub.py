"""Where a model comes from: a folder, an archive, the Hugging Face hub; and what is said when it is not there."""

from __future__ import annotations

import os
import sys
import tarfile
import types
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "security"))

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
