"""A file means one thing: what was surveyed is what is loaded, however the zip file is put together.

Python's ``zipfile`` and torch's reader look for the list of entries in different places, and names may be given to
other files at any time.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from crafted import Record, body, end, end64, records, whole

from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.checkpoint_utils.average import average_checkpoints
from fairseq.checkpoint_utils.describe import describe, verify
from fairseq.serialization import CheckpointError, CorruptCheckpointError, read, read_checkpoint, survey_file
from fairseq.serialization.notes import read_notes
from fairseq_cli.checkpoint import cli_main

SHOWN, HIDDEN = {"model": {}, "which": "shown"}, {"model": {}, "which": "hidden"}


def two_lists() -> bytes:
    """The file of the report: the end record names the first list, the second stands just before it."""
    first, first_table = body(records(HIDDEN))
    middle = first + first_table
    # zipfile takes what stands before the list it finds for a prefix that was added later, and moves all offsets.
    second = body(records(SHOWN))[0]
    second, second_table = body(records(SHOWN), len(first) - len(second))
    return middle + second + second_table + end(3, len(first_table), len(first))


def two_wide_ends(where: str) -> bytes:
    """The two end records, for small and for large files, name different lists."""
    first, first_table = body(records(HIDDEN))
    second, second_table = body(records(SHOWN), len(first))
    data = first + second
    lists = {"small": (first_table, second_table), "wide": (second_table, first_table)}[where]
    begin = len(data)
    text = data + lists[0] + lists[1]
    wide = end64(3, len(lists[1]), begin + len(lists[0]), len(text))
    return text + wide + end(3, len(lists[0]), begin)


def changed(**how: Any) -> bytes:
    """A file whose end record, list or first record lies."""
    parts = records(SHOWN)
    for key in ("local", "listed"):
        setattr(parts[0], key, how.get(key, {}))
    parts += how.get("more", [])
    data, table = body(parts)
    data += how.get("after_records", b"")
    table += how.get("after_list", b"")
    tail = {"count": len(parts), "size": len(table), "begin": len(data), **how.get("end", {})}
    return how.get("before", b"") + data + table + how.get("before_end", b"") + end(**tail) + how.get("after", b"")


def listed_twice() -> bytes:
    """Two entries that share one record."""
    parts = records(SHOWN)
    data, table = body(parts)
    table += Record("archive/other", parts[0].data).in_list(0)
    return data + table + end(4, len(table), len(data))


def not_listed() -> bytes:
    """A record that stands in the file but not in the list."""
    parts = [*records(SHOWN), Record("archive/extra", b"x")]
    data, _ = body(parts)
    _, table = body(parts[:3])
    return data + table + end(3, len(table), len(data))


OTHER = pickle.dumps(HIDDEN, protocol=2)
LIES: dict[str, bytes] = {
    "two lists": two_lists(),
    "small end, other list": two_wide_ends("small"),
    "wide end, other list": two_wide_ends("wide"),
    "wide end far away": changed(before_end=end64(3, 0, 0, 0)),
    "locator alone": changed(before_end=end64(3, 0, 0, 0)[56:]),
    "data before": changed(before=b"#!/bin/sh\n"),
    "whole file before": whole(records(HIDDEN)) + whole(records(SHOWN)),
    "data after": changed(after=b"x"),
    "end record after": changed(after=end(0, 0, 0)),
    "comment": changed(end={"comment": b"hello"}),
    "end record in the comment": changed(end={"comment": end(0, 0, 0)}),
    "room before the list": changed(after_records=b"\0" * 8),
    "room after the list": changed(before_end=b"\0" * 8),
    "room in the list": changed(after_list=b"\0" * 8),
    "too few entries": changed(end={"count": 2}),
    "too many entries": changed(end={"count": 4}),
    "too many entries on this disk": changed(end={"here": 2}),
    "very many entries": changed(end={"count": 0xFFFE}),
    "several disks": changed(end={"disk": 1}),
    "offset": changed(end={"begin": 1}),
    "size": changed(end={"size": 1}),
    "full offset": changed(end={"begin": 0xFFFFFFFF}),
    "same name twice": changed(more=[Record("archive/data.pkl", OTHER)]),
    "same name in capitals": changed(more=[Record("archive/DATA.pkl", OTHER)]),
    "second root": changed(more=[Record("other/data.pkl", OTHER)]),
    "second root without a pickle": changed(more=[Record("other/version", b"3\n")]),
    "name with a zero byte": changed(more=[Record("archive/data.pkl\0x", OTHER)]),
    "name that is not ASCII": changed(more=[Record("archive/d\u00e4ta", b"x")]),
    "name of a parent": changed(more=[Record("archive/../x", b"x")]),
    "absolute name": changed(more=[Record("/etc/passwd", b"x")]),
    "double slash": changed(more=[Record("archive//data.pkl", OTHER)]),
    "backslash": changed(more=[Record("archive\\data.pkl", OTHER)]),
    "no folder": changed(more=[Record("data.pkl", OTHER)]),
    "other name before the data": changed(local={"name": "archive/data.pkx"}),
    "other method before the data": changed(local={"method": 8}),
    "other flags before the data": changed(local={"flags": 8}),
    "other size before the data": changed(local={"size": 5}),
    "other checksum before the data": changed(local={"crc": 5}),
    "compressed in the list": changed(listed={"method": 8}),
    "packed size in the list": changed(listed={"packed": 5}),
    "encrypted": changed(local={"flags": 1}, listed={"flags": 1}),
    "sizes follow, but do not": changed(local={"flags": 8}, listed={"flags": 8}),
    "offset in the list": changed(listed={"offset": 1}),
    "wide offset that is not there": changed(listed={"offset": 0xFFFFFFFF}),
    "wide size that is not there": changed(listed={"size": 0xFFFFFFFF}),
    "shared record": listed_twice(),
    "record that is not listed": not_listed(),
    "no entries": end(0, 0, 0),
}


def attempts(path: Path, scratch: Path) -> dict[str, Any]:
    """Every way in which the package reads a checkpoint."""
    out = str(scratch / "out.pt")
    return {
        "read": lambda: read_checkpoint(path),
        "map": lambda: read_checkpoint(path, mmap=True),
        "load": lambda: load_checkpoint_to_cpu(str(path)),
        "survey": lambda: survey_file(path),
        "describe": lambda: describe(str(path)),
        "average": lambda: average_checkpoints([str(path)]),
        "inspect": lambda: cli_main(["inspect", str(path)]),
        "convert": lambda: cli_main(["convert", str(path), out]),
        "diff": lambda: cli_main(["diff", str(path), str(path)]),
    }


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_can_be_understood_in_two_ways_is_refused(lie, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(LIES[lie])
    for way, attempt in attempts(path, tmp_path).items():
        with pytest.raises(CorruptCheckpointError, match=r"x\.pt cannot be loaded as a checkpoint"):
            attempt()
            pytest.fail(f"{way} took it")
    assert read_notes(path) == {}
    assert not (tmp_path / "out.pt").exists()
    if LIES[lie].startswith(b"PK\3\4"):
        with pytest.raises(CorruptCheckpointError, match="is damaged"):
            verify(str(path))


def test_the_readers_do_disagree(tmp_path):
    """Otherwise the tests above would prove little."""
    path = tmp_path / "x.pt"
    path.write_bytes(two_lists())
    with zipfile.ZipFile(path) as archive:
        assert b"shown" in archive.read("archive/data.pkl")
    assert torch.load(path, weights_only=True)["which"] == "hidden"


def test_a_file_without_lies_loads(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(whole(records(SHOWN)))
    for attempt in attempts(path, tmp_path).values():
        attempt()
    assert read_checkpoint(path)["which"] == "shown"
    assert "inside the file agree" in verify(str(path))


@pytest.mark.parametrize("repacked", ["torch", "zipfile", "zipfile, streamed"])
def test_files_of_honest_writers_load(repacked, tmp_path):
    state = {"model": {"w": torch.arange(6.0), "e": torch.zeros(0), "h": torch.ones(3, dtype=torch.float16)}}
    path = tmp_path / "x.pt"
    torch.save(state, path)
    if repacked != "torch":
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with open(path, "wb") as file, zipfile.ZipFile(Streamed(file) if "," in repacked else file, "w") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    for mmap in (False, True):
        found = read_checkpoint(path, mmap=mmap)["model"]
        assert all(torch.equal(found[key], value) for key, value in state["model"].items())


class Streamed:
    """A file that cannot be sought in: zipfile then writes sizes after the data."""

    def __init__(self, file: Any) -> None:
        self.write, self.flush = file.write, file.flush


# ------------------------------------------------------------------------------ names that are given to another file
def swapping(monkeypatch, after: str, act: Any) -> None:
    """Do something to the file between its survey and its loading."""
    real = getattr(read, after)

    def then_act(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        act()
        return found

    monkeypatch.setattr(read, after, then_act)


def saved(state: Any, path: Path, layout: str) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")
    return path


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("other", ["zip", "legacy", "pipe"])
def test_a_name_given_to_another_file_after_the_check_changes_nothing(layout, other, mmap, monkeypatch, tmp_path):
    path = saved({"model": {"w": torch.arange(3.0)}}, tmp_path / "x.pt", layout)
    if other == "pipe":
        os.mkfifo(tmp_path / "other")
    else:
        saved({"model": {"w": torch.zeros(10**5)}}, tmp_path / "other", other)
    swapping(monkeypatch, "survey_source", lambda: os.replace(tmp_path / "other", path))
    found = load_checkpoint_to_cpu(str(path), mmap=mmap)
    assert torch.equal(found["model"]["w"], torch.arange(3.0))


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_the_description_that_was_checked_is_the_one_that_is_loaded(layout, mmap, monkeypatch, tmp_path):
    """Also when the file itself is written to in between."""
    path = saved({"model": {"w": torch.arange(3.0)}, "text": "shown!"}, tmp_path / "x.pt", layout)
    data = path.read_bytes()
    assert data.count(b"shown!") == 1
    swapping(monkeypatch, "survey_source", lambda: path.write_bytes(data.replace(b"shown!", b"hidden")))
    assert read_checkpoint(path, mmap=mmap)["text"] == "shown!"


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_file_that_is_cut_after_the_check_is_an_error(layout, monkeypatch, tmp_path):
    path = saved({"model": {"w": torch.arange(30000.0)}}, tmp_path / "x.pt", layout)
    swapping(monkeypatch, "survey_source", lambda: os.truncate(path, 1000))
    with pytest.raises(CorruptCheckpointError, match=r"x\.pt"):
        read_checkpoint(path)


def test_a_checksum_is_that_of_the_file_that_is_loaded(monkeypatch, tmp_path):
    from fairseq.serialization.write import CHECKSUM_ENV, write_checkpoint

    monkeypatch.setenv(CHECKSUM_ENV, "1")
    write_checkpoint({"model": {"w": torch.arange(3.0)}}, tmp_path / "x.pt")
    torch.save({"model": {"w": torch.zeros(3)}}, tmp_path / "other")
    swapping(monkeypatch, "verify_checksum", lambda: os.replace(tmp_path / "other", tmp_path / "x.pt"))
    assert torch.equal(load_checkpoint_to_cpu(str(tmp_path / "x.pt"))["model"]["w"], torch.arange(3.0))
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint_to_cpu(str(tmp_path / "x.pt"))


def test_a_mapped_tensor_outlives_its_name_and_does_not_write_to_the_file(tmp_path):
    path = saved({"model": {"w": torch.arange(3.0)}}, tmp_path / "x.pt", "zip")
    data = path.read_bytes()
    tensor = read_checkpoint(path, mmap=True)["model"]["w"]
    tensor += 1
    assert path.read_bytes() == data
    path.unlink()
    assert tensor.tolist() == [1.0, 2.0, 3.0]
