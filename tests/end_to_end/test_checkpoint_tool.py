"""``fairseq-checkpoint``: inspect, average, convert, diff."""

from __future__ import annotations

import json
import pickle
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from fairseq.checkpoint_utils.safetensors_format import read_safetensors
from fairseq.serialization import CheckpointError, read_checkpoint
from fairseq_cli.checkpoint import cli_main

sys.path.insert(0, str(Path(__file__).parents[1] / "security"))

from hostile import payloads, places, write_zip


def make(path, value=1.0, **extra):
    state = {
        "args": None,
        "cfg": {"model": Namespace(_name="lstm", betas=(0.9, 0.98)), "task": {"_name": "translation", "data": "x"}},
        "model": OrderedDict(w=torch.full((2, 3), value), n=torch.tensor([4]), half=torch.full((2,), value).half()),
        "optimizer_history": [{"criterion_name": "C", "optimizer_name": "O", "num_updates": 7}],
        "extra_state": {"train_iterator": {"epoch": 2}, "val_loss": 3.5, "best": 3.25},
        "last_optimizer_state": {"state": {0: {"exp_avg": torch.ones(1000)}}},
        **extra,
    }
    torch.save(state, path)
    return str(path)


def test_inspect_tells_what_the_file_holds(tmp_path, capsys):
    assert cli_main(["inspect", make(tmp_path / "x.pt"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    facts = found["facts"]
    assert (facts["model"], facts["task"], facts["criterion"], facts["epoch"], facts["updates"]) == (
        "lstm",
        "translation",
        "C",
        2,
        7,
    )
    assert facts["safe to load"] == "yes"
    assert {"name": "w", "dtype": "float32", "shape": [2, 3], "elements": 6} in found["parameters"]


def test_inspect_shows_hostile_names_and_runs_nothing(tmp_path, capsys):
    canary = tmp_path / "canary"
    write_zip(tmp_path / "x.pt", places(payloads(canary)["reduce-system"])["args"])
    assert cli_main(["inspect", str(tmp_path / "x.pt")]) == 0
    out = capsys.readouterr().out
    assert "UNKNOWN  os.system" in out and "safe to load          no" in out
    assert not canary.exists()


def test_average_takes_the_mean_and_keeps_the_rest(tmp_path):
    a, b = make(tmp_path / "a.pt", 1.0), make(tmp_path / "b.pt", 4.0)
    cli_main(["average", "--inputs", a, b, "--output", str(tmp_path / "out.pt")])
    state = read_checkpoint(tmp_path / "out.pt")
    assert (state["model"]["w"] == 2.5).all() and state["model"]["w"].dtype == torch.float32
    assert (state["model"]["half"] == 2.5).all() and state["model"]["half"].dtype == torch.float32
    assert state["model"]["n"].item() == 4
    assert state["cfg"]["model"].betas == (0.9, 0.98)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--num-epoch-checkpoints", "2"], 10.5),
        (["--num-epoch-checkpoints", "2", "--checkpoint-upper-bound", "10"], 9.5),
        (["--num-update-checkpoints", "2"], 250.0),
        (["--num-best-checkpoints", "2"], 15.0),
        (["--num-best-checkpoints", "1", "--maximize"], 30.0),
    ],
)
def test_average_chooses_from_a_folder_by_number_not_by_name(options, expected, tmp_path):
    for epoch in (1, 9, 10, 11):
        make(tmp_path / f"checkpoint{epoch}.pt", float(epoch))
    for updates in (100, 200, 300):
        make(tmp_path / f"checkpoint_1_{updates}.pt", float(updates))
    for value in (10, 20, 30):
        make(tmp_path / f"checkpoint.best_loss_{value / 10:.4f}.pt", float(value))
    make(tmp_path / "checkpoint_last.pt", 99.0)
    cli_main(["average", "--inputs", str(tmp_path), "--output", str(tmp_path / "out.pt"), *options])
    assert read_checkpoint(tmp_path / "out.pt")["model"]["w"][0, 0] == expected


def test_average_refuses_too_few_and_different_models(tmp_path):
    a = make(tmp_path / "checkpoint1.pt")
    b = make(tmp_path / "b.pt", model={"other": torch.zeros(1)})
    with pytest.raises(FileNotFoundError, match="Found 1 checkpoint files in .* but need at least 2"):
        cli_main(["average", "--inputs", str(tmp_path), "--output", "x", "--num-epoch-checkpoints", "2"])
    with pytest.raises(ValueError, match="other parameters"):
        cli_main(["average", "--inputs", a, b, "--output", str(tmp_path / "x.pt")])
    assert not (tmp_path / "x.pt").exists()


def test_convert_to_safetensors_and_back_loses_nothing(tmp_path):
    import numpy as np

    odd = {
        "nan": float("nan"),
        "inf": -float("inf"),
        "numbers": {1: "one", (2, 3): {4, 5}, None: frozenset("a")},
        "ordered": OrderedDict(b=1, a=[(1, [2.5])]),
        "numpy": [np.float64(0.1), np.arange(6, dtype=np.int16).reshape(2, 3), np.str_("x")],
        "bytes": b"\0\xff",
        "mark": {"__fairseq__": ["tensor", "w"]},
        "dtype": torch.float16,
        "path": Path("a/b"),
        "empty": torch.zeros(0, 3, dtype=torch.int32),
    }
    a = make(tmp_path / "a.pt", task_state=odd, args=Namespace(lr=[0.1], x=None))
    cli_main(["convert", a, str(tmp_path / "a.safetensors")])
    cli_main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.pt")])
    assert cli_main(["diff", a, str(tmp_path / "b.pt")]) == 0
    assert equal(read_checkpoint(a), read_checkpoint(tmp_path / "b.pt"))
    cli_main(["convert", a, str(tmp_path / "c.safetensors"), "--strip-optimizer"])
    assert "last_optimizer_state" not in read_safetensors(str(tmp_path / "c.safetensors"))


def equal(a, b):
    """Whether two trees are the same to the last type."""
    import numpy as np

    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, Namespace):
        return equal(vars(a), vars(b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or (a != a and b != b)


def test_inspect_notices_damage_when_asked_to(tmp_path, capsys):
    path = Path(make(tmp_path / "x.pt", model={"w": torch.arange(1000.0)}))
    assert cli_main(["inspect", str(path), "--verify"]) == 0
    assert "agree" in capsys.readouterr().out
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(500.0, 502.0).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        cli_main(["inspect", str(path), "--verify"])


def test_our_safetensors_files_are_those_of_the_library(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    cli_main(["convert", make(tmp_path / "a.pt"), str(tmp_path / "a.safetensors")])
    ours, theirs = (
        read_safetensors(str(tmp_path / "a.safetensors"))["model"],
        library.load_file(tmp_path / "a.safetensors"),
    )
    assert ours and all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert all(key.startswith("fairseq.state.") for key in theirs.keys() - ours.keys())


@pytest.mark.parametrize("cut", [4, 20, -1])
def test_a_damaged_safetensors_file_is_an_error(cut, tmp_path):
    cli_main(["convert", make(tmp_path / "a.pt"), str(tmp_path / "a.safetensors")])
    data = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(data[:cut])
    with pytest.raises(CheckpointError):
        read_safetensors(str(tmp_path / "a.safetensors"))


def test_convert_strips_and_rounds(tmp_path):
    a = make(tmp_path / "a.pt")
    cli_main(["convert", a, str(tmp_path / "b.pt"), "--strip-optimizer", "--dtype", "bfloat16", "--checksum"])
    state = read_checkpoint(tmp_path / "b.pt")
    assert "last_optimizer_state" not in state
    assert state["model"]["w"].dtype == torch.bfloat16 and state["model"]["n"].dtype == torch.int64
    assert (tmp_path / "b.pt.sha256").exists()


def test_diff_names_options_and_parameters(tmp_path, capsys):
    a, b = make(tmp_path / "a.pt", 1.0), make(tmp_path / "b.pt", 1.5, cfg={"task": {"_name": "other", "data": "x"}})
    assert cli_main(["diff", a, b]) == 1
    out = capsys.readouterr().out
    assert "cfg.task._name: 'translation' -> 'other'" in out
    assert "w: differs by up to 0.5" in out
    assert cli_main(["diff", a, a]) == 0
    assert capsys.readouterr().out == "no difference\n"


def test_a_namespace_from_before_configs_is_understood(tmp_path, capsys):
    torch.save(
        {"args": Namespace(arch="fconv", task="translation"), "model": {}}, tmp_path / "x.pt", pickle_module=pickle
    )
    cli_main(["inspect", str(tmp_path / "x.pt"), "--json"])
    assert json.loads(capsys.readouterr().out)["facts"]["model"] == "fconv"
