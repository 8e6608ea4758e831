"""Files that try to run code, take memory, or confuse: nothing runs, and each gives one clear error."""

from __future__ import annotations

import contextlib
import pickle
import random
import resource
import tarfile
from pathlib import Path

import pytest
import torch
from hostile import payloads, places, tensor, write_legacy, write_zip

from fairseq.checkpoint_utils import add_safe_globals, load_checkpoint_to_cpu
from fairseq.serialization import (
    CheckpointError,
    CorruptCheckpointError,
    UnsafeCheckpointError,
    allowed,
    read_checkpoint,
    survey_file,
)

KINDS = sorted(payloads(Path("x")))
PLACES = sorted(places(b""))


@pytest.fixture(autouse=True)
def clean_trust(monkeypatch):
    monkeypatch.delenv(allowed.SAFE_ENV, raising=False)
    monkeypatch.delenv(allowed.UNSAFE_ENV, raising=False)
    monkeypatch.setattr(allowed, "_added", {})


@pytest.mark.parametrize("write", [write_zip, write_legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_does_not_run_wherever_it_is(kind, write, tmp_path):
    canary = tmp_path / "canary"
    for place, data in places(payloads(canary)[kind]).items():
        path = tmp_path / f"{place}.pt"
        write(path, data)
        for mmap in (False, True):
            with pytest.raises(CheckpointError) as caught:
                read_checkpoint(path, mmap=mmap)
            assert str(path) in str(caught.value)
        with pytest.raises(CheckpointError):
            load_checkpoint_to_cpu(str(path))
        survey_or_refusal(path)
    assert not canary.exists()


def survey_or_refusal(path):
    with contextlib.suppress(CheckpointError):
        survey_file(path)


def test_the_payload_works_when_it_is_not_stopped(tmp_path):
    """Otherwise the tests above would prove nothing."""
    canary = tmp_path / "canary"
    path = tmp_path / "x.pt"
    write_zip(path, places(payloads(canary)["reduce-posix-system"])["args"])
    read_checkpoint(path, unsafe=True)
    assert canary.exists()


def test_the_refusal_names_what_it_refuses_and_both_ways_out(tmp_path):
    path = tmp_path / "x.pt"
    write_zip(path, places(payloads(tmp_path / "canary")["reduce-system"])["args"])
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.names == ["os.system"]
    message = str(caught.value)
    for part in (str(path), "os.system", "--safe-globals", "add_safe_globals", "--unsafe-load", "FAIRSEQ_UNSAFE_LOAD"):
        assert part in message
    assert "\n" not in message


def test_all_unknown_names_are_listed_at_once(tmp_path):
    path = tmp_path / "x.pt"
    body = pickle.PROTO + b"\x02" + pickle.EMPTY_LIST + pickle.MARK
    for module, name in (("my.plugin", "State"), ("other", "Thing")):
        body += pickle.GLOBAL + f"{module}\n{name}\n".encode()
    write_zip(path, body + pickle.APPENDS + pickle.STOP)
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.names == ["my.plugin.State", "other.Thing"]


class Harmless:
    def __init__(self):
        self.value = 3


def test_a_class_that_was_allowed_loads_and_only_for_this_process_list(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"thing": Harmless()}, path)
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(path)
    before = set(torch.serialization.get_safe_globals())
    add_safe_globals([Harmless])
    assert read_checkpoint(path)["thing"].value == 3
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_class_may_be_allowed_by_its_name_in_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    torch.save({"thing": Harmless()}, path)
    monkeypatch.setenv(allowed.SAFE_ENV, f"{Harmless.__module__}.{Harmless.__qualname__}")
    assert read_checkpoint(path)["thing"].value == 3


def test_unsafe_loading_is_said_aloud(tmp_path, monkeypatch, caplog):
    path = tmp_path / "x.pt"
    torch.save({"thing": Harmless()}, path)
    monkeypatch.setenv(allowed.UNSAFE_ENV, "1")
    assert read_checkpoint(path)["thing"].value == 3
    assert "unchecked" in caplog.text


# ---------------------------------------------------------------------------------------------- memory out of nothing
def peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


HUGE = 10**12


@pytest.mark.parametrize(
    ("items", "shape", "data"),
    [
        (HUGE, (HUGE,), b"\0" * 64),  # the data says it is huge
        (16, (HUGE,), b"\0" * 64),  # the tensor leaves its data
        (16, (4, 10**9), b"\0" * 64),
        (16, (-1,), b"\0" * 64),
        (16, (16,), b"\0" * 8),  # the data is cut short
    ],
)
def test_a_tensor_larger_than_its_data_is_refused_before_memory_is_taken(items, shape, data, tmp_path):
    before = peak_kilobytes()
    body = places(tensor(items, shape))["model"]
    write_zip(tmp_path / "zip.pt", body, {"0": data})
    write_legacy(tmp_path / "legacy.pt", body)
    for name in ("zip.pt", "legacy.pt"):
        with pytest.raises(CorruptCheckpointError):
            read_checkpoint(tmp_path / name)
    assert peak_kilobytes() - before < 100_000


def test_a_tensor_that_fits_loads(tmp_path):
    """The description that the tests above falsify is a good one when it is true."""
    write_zip(tmp_path / "x.pt", places(tensor(16, (4, 4)))["model"], {"0": b"\0" * 64})
    assert read_checkpoint(tmp_path / "x.pt")["model"]["weight"].shape == (4, 4)


def test_an_offset_beyond_the_data_is_refused(tmp_path):
    write_zip(tmp_path / "x.pt", places(tensor(16, (4,), offset=13))["model"], {"0": b"\0" * 64})
    with pytest.raises(CorruptCheckpointError, match="does not fit"):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "value",
    [
        pickle.BINUNICODE + b"\xff\xff\xff\xff" + b"x",
        pickle.LONG_BINPUT + b"\xff\xff\xff\xff",
        pickle.BYTEARRAY8 + b"\xff\xff\xff\xff\xff\xff\xff\x0f",
        pickle.GLOBAL + b"builtins\nbytearray\n" + pickle.BININT + b"\xff\xff\xff\x7f" + pickle.TUPLE1 + pickle.REDUCE,
        pickle.GLOBAL + b"torch\nFloatTensor\n" + pickle.BININT + b"\xff\xff\xff\x7f" + pickle.TUPLE1 + pickle.REDUCE,
        pickle.GLOBAL
        + b"torch\nUntypedStorage\n"
        + pickle.BININT
        + b"\xff\xff\xff\x7f"
        + pickle.TUPLE1
        + pickle.REDUCE,
    ],
    ids=["string", "memo", "bytearray8", "bytearray", "tensor", "storage"],
)
def test_a_length_out_of_proportion_is_refused(value, tmp_path):
    before = peak_kilobytes()
    for write in (write_zip, write_legacy):
        write(tmp_path / "x.pt", places(value)["args"])
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path / "x.pt")
    assert peak_kilobytes() - before < 100_000


def test_a_zip_bomb_is_refused_unopened(tmp_path):
    before = peak_kilobytes()
    body = pickle.PROTO + b"\x02" + pickle.BINUNICODE + (400 << 20).to_bytes(4, "little")
    write_zip(tmp_path / "x.pt", body + b"\0" * (40 << 20), compressed=True)
    assert (tmp_path / "x.pt").stat().st_size < 1 << 20
    with pytest.raises(CorruptCheckpointError, match="compressed"):
        read_checkpoint(tmp_path / "x.pt")
    assert peak_kilobytes() - before < 200_000


def test_a_tar_archive_is_refused_with_a_hint_and_not_unpacked(tmp_path):
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "x.pt", "w") as archive:
        archive.add(tmp_path / "evil", arcname="../../escaped")
    with pytest.raises(CorruptCheckpointError, match="tar archive"):
        read_checkpoint(tmp_path / "x.pt")
    assert not (tmp_path.parent.parent / "escaped").exists()


# -------------------------------------------------------------------------------- damaged files
@pytest.fixture(scope="module")
def good_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    from argparse import Namespace

    state = {
        "args": Namespace(arch="toy", lr=[0.1]),
        "model": {"w": torch.arange(12.0).view(3, 4), "b": torch.zeros(4, dtype=torch.float16)},
        "extra_state": {"epoch": 3, "val_loss": 1.5},
    }
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    return {name: (folder / f"{name}.pt").read_bytes() for name in ("zip", "legacy")}


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_damaged_files_give_an_error_or_load_but_never_anything_else(layout, good_files, tmp_path):
    good, path = good_files[layout], tmp_path / "x.pt"
    draw = random.Random(7)
    before = peak_kilobytes()
    errors = 0
    for _ in range(250):
        bad = bytearray(good)
        for _ in range(draw.choice([1, 1, 2, 8])):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        if draw.random() < 0.3:
            bad = bad[: draw.randrange(len(bad))]
        path.write_bytes(bad)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            errors += 1
            assert str(path) in str(error)
    assert errors > 50
    assert peak_kilobytes() - before < 100_000


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x80", b"PK\x03\x04", b"\x80\x02N.", b"PK\x05\x06" + b"\0" * 18]
)
def test_what_is_no_checkpoint_is_said_to_be_none(content, tmp_path):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match=r"x\.pt cannot be loaded as a checkpoint"):
        read_checkpoint(tmp_path / "x.pt")


def test_deep_nesting_is_an_error_not_a_crash(tmp_path):
    write_zip(
        tmp_path / "x.pt", pickle.PROTO + b"\x02" + pickle.EMPTY_LIST * 1 + (pickle.TUPLE1 * 200_000) + pickle.STOP
    )
    with contextlib.suppress(CheckpointError):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("where", ["key", "pairs"])
def test_a_key_whose_hash_would_take_forever_is_refused(where, tmp_path):
    doubled = pickle.EMPTY_TUPLE + (pickle.DUP + pickle.TUPLE2) * 60
    if where == "key":
        body = pickle.EMPTY_DICT + doubled + pickle.NONE + pickle.SETITEM
    else:
        pair = pickle.EMPTY_LIST + doubled + pickle.NONE + pickle.TUPLE2 + pickle.APPEND
        body = pickle.GLOBAL + b"collections\nOrderedDict\n" + pair + pickle.TUPLE1 + pickle.REDUCE
    write_zip(tmp_path / "x.pt", pickle.PROTO + b"\x02" + body + pickle.STOP)
    with pytest.raises(CorruptCheckpointError, match="a tuple that repeats itself"):
        read_checkpoint(tmp_path / "x.pt")
