"""Torch advises to load a refused file without checks. That advice reaches no user, whatever the tool and release."""

from __future__ import annotations

import io
import pickle
import traceback
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from forked import forked
from hostile import call, name, places, text, write_legacy, write_zip

from fairseq.serialization import CheckpointError, read, read_checkpoint
from fairseq_cli._console import report, run_command
from fairseq_cli.checkpoint import cli_main

ADVICE = ("weights_only", "weights only", "Re-running", "torch.load", "safe_globals([", "file an issue", "pytorch.org")
# What releases 2.4 to 2.13 say, shortened in the middle.
WORDINGS = [
    "Weights only load failed. Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it "
    "can result in arbitrary code execution. Do it only if you got the file from a trusted source.\n Please file an "
    "issue with the following so that we can make `weights_only=True` compatible with your use case: WeightsUnpickler "
    "error: "
    "Unsupported operand 149",
    "Weights only load failed. This file can still be loaded, to do so you have two options \n\t(1) Re-running "
    "`torch.load` with `weights_only` set to `False` will likely succeed, but it can result in arbitrary code "
    "execution. Do it only if you got the file from a trusted source.\n\t(2) Alternatively, to load with "
    "`weights_only=True` please check the recommended steps in the following error message.\n\tWeightsUnpickler "
    "error: Unsupported global: GLOBAL "
    "my.plugin.State was not an allowed global by default. Please use `torch.serialization.add_safe_globals([State])` "
    "to allowlist this global if you trust this class/function.",
    "Weights only load failed. In PyTorch 2.6, we changed the default value of the `weights_only` argument in "
    "`torch.load` from `False` to `True`. Re-running `torch.load` with `weights_only` set to `False` will likely "
    "succeed.\n\nCan only SETITEM for dict\n\nCheck the documentation of torch.load to learn more about types accepted "
    "by default with weights_only https://pytorch.org/docs/stable/generated/torch.load.html.",
    "Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. Re-running `torch.load` with "
    "`weights_only` set to `False` will likely succeed",
]


def clean(message: str) -> bool:
    return not any(words in message for words in ADVICE)


def unusual() -> dict[str, bytes]:
    """Pickles that survive the survey and that torch's unpickler does not read, or reads with a warning."""
    body = {"model": {}, "args": Namespace(arch="x"), "text": "x" * 300, "set": [(1, 2, 3, 4)]}
    files = {f"protocol {number}": pickle.dumps(body, protocol=number) for number in (0, 1, 3, 4, 5)}
    files["protocol 4, empty"] = pickle.PROTO + b"\x04" + pickle.EMPTY_DICT + pickle.STOP
    for label, value in {
        "dup": pickle.EMPTY_LIST + pickle.DUP + pickle.POP,
        "dict": pickle.MARK + pickle.DICT,
        "list": pickle.MARK + pickle.LIST,
        "inst": pickle.MARK + pickle.INST + b"argparse\nNamespace\n",
        "obj": pickle.MARK + name("argparse", "Namespace") + pickle.OBJ,
        "stack global": text("argparse") + text("Namespace") + pickle.STACK_GLOBAL + pickle.EMPTY_TUPLE + pickle.REDUCE,
        "append to a tuple": pickle.EMPTY_TUPLE + pickle.NONE + pickle.APPEND,
        "item of a namespace": call("argparse", "Namespace") + text("x") + pickle.NONE + pickle.SETITEM,
        "state of a list": pickle.EMPTY_LIST + pickle.EMPTY_DICT + pickle.BUILD,
        "new object of a function": name("_codecs", "encode") + text("x") + pickle.TUPLE1 + pickle.NEWOBJ,
        "bytes": pickle.SHORT_BINBYTES + b"\x01x",
        "call of a value": call("typing", "Any"),
        "stand-in": call("numpy.core.multiarray", "scalar", text("x"), text("y")),
    }.items():
        files[label] = places(value)["args"]
    return files


@pytest.mark.parametrize("kind", unusual())
@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
def test_files_that_torch_refuses(kind, write, tmp_path, monkeypatch, recwarn):
    path = tmp_path / "x.pt"
    write(path, unusual()[kind])
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        assert clean("".join(traceback.format_exception(type(error), error, error.__traceback__, chain=False)[-1:]))
        shown = error.__cause__
        assert shown is None or clean(str(shown)), shown
        assert error.__context__ is None or error.__cause__ is not None or error.__suppress_context__
    assert all(clean(str(warning.message)) for warning in recwarn)
    for words in (
        ["convert", str(path), str(tmp_path / "out.pt")],
        ["average", "--inputs", str(path), "--output", str(tmp_path / "average.pt")],
    ):
        ending = forked(lambda words=words: run_command(lambda: cli_main(words)), None)
        assert ending.code in (0, 1) and clean(ending.output), ending.output


@pytest.mark.parametrize("wording", WORDINGS)
def test_all_wordings(wording, monkeypatch, tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"model": {}}, path)

    def refuse(*_: object) -> None:
        raise pickle.UnpicklingError(wording)

    monkeypatch.setattr(read, "rebuild", refuse)
    with pytest.raises(CheckpointError) as said:
        read_checkpoint(path)
    assert clean(str(said.value)) and str(path) in str(said.value)
    assert said.value.__suppress_context__


@pytest.mark.parametrize("wording", WORDINGS)
def test_a_plug_in_that_calls_torch_itself(wording):
    out = io.StringIO()
    report(pickle.UnpicklingError(wording), out)
    assert out.getvalue().count("\n") == 1 and "torch.load" in out.getvalue() and "fairseq-patch" in out.getvalue()
    assert "Re-running" not in out.getvalue() and "weights_only" not in out.getvalue()


def test_what_torch_found_is_kept():
    assert "0x95" in read.without_advice(WORDINGS[0])
    assert "my.plugin.State" in read.without_advice(WORDINGS[1])
    assert read.without_advice("no such\nfile") == "no such file"


def test_unchecked_loading_that_is_forced_to_check(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"path": Path("x")}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as said:
        read_checkpoint(tmp_path / "x.pt", unsafe=True)
    assert clean(str(said.value))
