"""What old and odd files hold comes back as ordinary values, and nothing of it is run."""

from __future__ import annotations

import argparse
import collections
import pathlib
import pickle
import sys

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.data.dictionary import Dictionary
from fairseq.serialization import CorruptCheckpointError, UnsafeCheckpointError, read_checkpoint, survey_file

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "security"))

from hostile import call, name, text, write_zip


def saved(value, path, **options):
    torch.save(value, path, **options)
    return path


def roundtrip(value, tmp_path):
    return read_checkpoint(saved(value, tmp_path / "x.pt"))


def test_plain_values_tensors_and_namespaces_come_back(tmp_path):
    state = {
        "args": argparse.Namespace(lr=[0.1], data="x"),
        "model": collections.OrderedDict(w=torch.arange(3.0)),
        "task_state": {"names": {"a", "b"}, "shape": torch.Size([2, 3]), "dtype": torch.float16, "n": 10**30},
    }
    back = roundtrip(state, tmp_path)
    assert back["args"] == state["args"]
    assert torch.equal(back["model"]["w"], state["model"]["w"])
    assert back["task_state"] == state["task_state"]


@pytest.mark.parametrize("new_layout", [True, False])
def test_memory_mapping_is_used_where_the_layout_allows_it(new_layout, tmp_path):
    path = saved({"model": {"w": torch.arange(3.0)}}, tmp_path / "x.pt", _use_new_zipfile_serialization=new_layout)
    assert torch.equal(read_checkpoint(path, mmap=True)["model"]["w"], torch.arange(3.0))


def test_numpy_scalars_arrays_and_dtypes_come_back(tmp_path):
    state = {
        "scalar": np.float64(1.5),
        "int": np.int32(7),
        "big-endian": np.array([1, 2], dtype=">i4"),
        "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["a", "bc"]),
    }
    back = roundtrip(state, tmp_path)
    assert back["scalar"] == 1.5 and isinstance(back["scalar"], np.float64)
    assert back["int"] == 7 and back["int"].dtype == np.int32
    for key in ("big-endian", "matrix", "names"):
        assert type(back[key]) is np.ndarray
        assert (back[key] == state[key]).all() and back[key].dtype == state[key].dtype
    back["matrix"][0, 0] = 5  # not a view of the file


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])
def test_the_numpy_names_of_both_generations_are_known(package, tmp_path):
    body = pickle.dumps({"x": np.float32(2.5)}, protocol=2)
    for other in (b"numpy._core", b"numpy.core"):
        body = body.replace(b"c" + other + b".multiarray", b"c" + package.encode() + b".multiarray")
    write_zip(tmp_path / "x.pt", body)
    assert read_checkpoint(tmp_path / "x.pt")["x"] == np.float32(2.5)


def test_numpy_arrays_of_objects_are_refused(tmp_path):
    path = saved({"x": np.array([{"a": 1}], dtype=object)}, tmp_path / "x.pt")
    with pytest.raises(CorruptCheckpointError):
        read_checkpoint(path)


def test_omegaconf_containers_become_plain_ones(tmp_path):
    config = OmegaConf.create({"model": {"layers": [1, 2, {"x": "y"}], "none": None, "ref": "${model.none}"}})
    back = roundtrip({"cfg": config, "args": argparse.Namespace(w2v_args=config)}, tmp_path)
    expected = {"model": {"layers": [1, 2, {"x": "y"}], "none": None, "ref": "${model.none}"}}
    assert back["cfg"] == expected and type(back["cfg"]) is dict
    assert back["args"].w2v_args == expected


def test_enums_dataclasses_and_meters_of_any_release_keep_their_values(tmp_path):
    from fairseq.dataclass.configs import CheckpointConfig
    from fairseq.logging.meters import AverageMeter

    meter = AverageMeter(round=3)
    meter.update(2.0)
    back = roundtrip({"b": CheckpointConfig(patience=3), "c": meter}, tmp_path)
    assert back["b"]["patience"] == 3
    assert back["c"].round == 3


def test_members_of_enums_become_their_values_however_they_were_pickled(tmp_path):
    by_value = call("fairseq.dataclass.constants", "Choices", text("json"))
    by_name = call("builtins", "getattr", name("fairseq.tasks.language_modeling", "Choices"), text("eos"))
    for member, value in ((by_value, "json"), (by_name, "eos")):
        body = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + text("x") + member + pickle.SETITEM + pickle.STOP
        write_zip(tmp_path / "x.pt", body)
        assert read_checkpoint(tmp_path / "x.pt") == {"x": value}


def test_dictionaries_in_task_states_are_real_ones(tmp_path):
    dictionary = Dictionary()
    dictionary.add_symbol("word")
    back = roundtrip({"task_state": {"target_dictionary": dictionary}}, tmp_path)["task_state"]["target_dictionary"]
    assert isinstance(back, Dictionary)
    assert back.index("word") == dictionary.index("word")
    assert back == dictionary


def test_paths_defaultdicts_and_deques_become_their_plain_kin(tmp_path):
    state = {
        "path": pathlib.PurePosixPath("/a/b"),
        "default": collections.defaultdict(list, {"a": [1]}),
        "deque": collections.deque([1, 2], maxlen=5),
        "counter": collections.Counter("aab"),
    }
    back = roundtrip(state, tmp_path)
    assert back["path"] == pathlib.Path("/a/b")
    assert back["default"] == {"a": [1]} and type(back["default"]) is dict
    assert back["deque"] == [1, 2]
    assert back["counter"] == {"a": 2, "b": 1}


def test_a_class_of_an_imported_plugin_loads(tmp_path, monkeypatch):
    from fairseq.utils import import_user_module
    from fairseq.utils import plugins as user_plugins

    folder = tmp_path / "plugin_with_state"
    folder.mkdir()
    (folder / "__init__.py").write_text("class State:\n    pass\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(user_plugins, "_imported", {})
    import_user_module(argparse.Namespace(user_dir=str(folder)))
    module = sys.modules["plugin_with_state"]
    try:
        state = module.State()
        state.seen = 5
        path = saved({"state": state}, tmp_path / "x.pt")
        assert read_checkpoint(path)["state"].seen == 5
        user_plugins._imported.clear()
        with pytest.raises(UnsafeCheckpointError, match="plugin_with_state.State"):
            read_checkpoint(path)
    finally:
        del sys.modules["plugin_with_state"]


def test_shared_and_cyclic_references_survive(tmp_path):
    shared: dict = {"x": np.float32(1)}
    shared["self"] = shared
    back = roundtrip({"a": shared, "b": [shared, (shared,)]}, tmp_path)
    assert back["a"]["self"] is back["a"] is back["b"][0] is back["b"][1][0]


def test_the_survey_tells_tensors_and_names_without_loading(tmp_path):
    path = saved({"args": argparse.Namespace(), "model": {"w": torch.zeros(2, 3).half()}}, tmp_path / "x.pt")
    survey = survey_file(path)
    assert "argparse.Namespace" in survey.names
    assert survey.tree["model"]["w"].shape == (2, 3)
    assert survey.tree["model"]["w"].dtype == "float16"


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint_to_cpu(str(tmp_path / "none.pt"))


def test_a_file_that_is_no_dictionary_is_no_checkpoint(tmp_path):
    path = saved([1, 2], tmp_path / "x.pt")
    with pytest.raises(CorruptCheckpointError, match="list"):
        load_checkpoint_to_cpu(str(path))
