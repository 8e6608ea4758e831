"""Hostile files by the hundred: every payload at every place in every layout, and files made of random parts.

``FAIRSEQ_TEST_HOSTILE`` raises the number of random files (200).
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from bombs import bombs, in_namespace
from forked import forked
from hostile import call, name, payloads, places, text, write_legacy, write_zip

from fairseq.checkpoint_utils import load_checkpoint_to_cpu
from fairseq.serialization import CheckpointError, allowed, survey_file

COUNT = int(os.environ.get("FAIRSEQ_TEST_HOSTILE", "200"))
ROOM = 600 << 20
MEMORY = 200 << 20


@pytest.fixture(autouse=True)
def clean_trust(monkeypatch):
    monkeypatch.delenv(allowed.SAFE_ENV, raising=False)
    monkeypatch.delenv(allowed.UNSAFE_ENV, raising=False)
    monkeypatch.setattr(allowed, "_added", {})


def refused(path: Path) -> str | None:
    """``None`` if loading the file ends as it should; else what happened."""
    try:
        load_checkpoint_to_cpu(str(path))
    except CheckpointError as error:
        message = str(error)
        clean = message.isprintable() and len(message) < 20_000
        return None if str(path) in message and clean else f"message {message[:200]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "loaded"


def check(files: list[tuple[str, Path]]) -> None:
    """Load files in one child; all must be refused, in little memory."""

    def work() -> None:
        wrong = [f"{label}: {what}" for label, path in files if (what := refused(path)) is not None]
        for _, path in files:
            with contextlib.suppress(CheckpointError):
                survey_file(path)
        print("\n".join(wrong))
        raise SystemExit(len(wrong))

    ending = forked(work, ROOM)
    assert ending.code == 0, ending.output
    assert ending.peak < MEMORY


@pytest.mark.parametrize("place", ["root", "args", "model", "optimizer", "cfg", "key"])
def test_what_is_small_and_claims_to_be_large_is_refused(place, tmp_path):
    files = []
    for number, (label, body) in enumerate(bombs().items()):
        data = places(body)[place]
        for write in (write_zip, write_legacy):
            path = tmp_path / f"{number}-{write.__name__}.pt"
            write(path, data)
            files.append((f"{label} ({write.__name__})", path))
    check(files)


def wrapped(body: bytes, draw: random.Random) -> bytes:
    """The value inside one more object of a kind that checkpoints hold."""
    one = pickle.TUPLE1
    kinds = [
        lambda b: in_namespace(b),
        lambda b: pickle.EMPTY_LIST + b + pickle.APPEND,
        lambda b: call("collections", "OrderedDict", pickle.EMPTY_LIST + text("k") + b + pickle.TUPLE2 + pickle.APPEND),
        lambda b: call("collections", "defaultdict", b),
        lambda b: (
            name("omegaconf.dictconfig", "DictConfig")
            + pickle.EMPTY_TUPLE
            + pickle.NEWOBJ
            + pickle.EMPTY_DICT
            + text("_content")
            + b
            + pickle.SETITEM
            + pickle.BUILD
        ),
        lambda b: name("omegaconf.nodes", "StringNode") + b + one + pickle.NEWOBJ,
        lambda b: name("fairseq.meters", "AverageMeter") + pickle.EMPTY_TUPLE + pickle.NEWOBJ + b + pickle.BUILD,
        lambda b: (
            name("fairseq.data.dictionary", "Dictionary")
            + pickle.EMPTY_TUPLE
            + pickle.NEWOBJ
            + pickle.EMPTY_DICT
            + text("symbols")
            + b
            + pickle.SETITEM
            + pickle.BUILD
        ),
        lambda b: call("fairseq.dataclass.constants", "Choices", b),
        lambda b: call("pathlib", "PosixPath", b),
        lambda b: call("numpy.core.multiarray", "scalar", call("numpy", "dtype", b), text("x")),
        lambda b: call("torch._utils", "_rebuild_parameter", b, pickle.NEWTRUE, pickle.NONE),
    ]
    return draw.choice(kinds)(body)


def test_random_combinations_run_nothing(tmp_path):
    draw = random.Random(11)
    canary = tmp_path / "canary"
    bodies = [*payloads(canary).values(), *bombs().values()]
    files = []
    for number in range(COUNT):
        body = draw.choice(bodies)
        for _ in range(draw.randint(0, 4)):
            body = wrapped(body, draw)
        options = list(places(body).values())
        path = tmp_path / f"{number}.pt"
        draw.choice([write_zip, write_legacy])(path, draw.choice(options))
        files.append((f"file {number}", path))
    for start in range(0, COUNT, 100):
        check(files[start : start + 100])
    assert not canary.exists()


@pytest.mark.parametrize("part", ["args", "cfg", "nested", "list"])
@pytest.mark.parametrize(
    "attack", ["${oc.env:HOME}", "${run:x}", "a${oc.env:HOME}b", "${a.${run:x}}", "${ run : x }", "${"]
)
def test_a_text_in_the_options_resolves_nothing(part, attack, tmp_path):
    from omegaconf import OmegaConf

    canary = tmp_path / "canary"
    OmegaConf.register_new_resolver("run", lambda *_: canary.touch() or "ran", replace=True)
    options = {
        "args": {"args": Namespace(arch="transformer", data=attack)},
        "cfg": {"cfg": {"task": {"_name": "translation", "data": attack}}},
        "nested": {"cfg": {"model": Namespace(w2v_args={"model": {"x": attack}})}},
        "list": {"cfg": {"model": {"_name": "transformer", "layers": ["x", attack]}}},
    }
    torch.save({"model": {}, **options[part]}, tmp_path / "x.pt")
    try:
        assert refused(tmp_path / "x.pt") is None
    finally:
        OmegaConf.clear_resolver("run")
    assert not canary.exists()


def test_a_reference_to_another_option_is_followed(tmp_path):
    cfg = {"task": {"data": "there"}, "model": {"data": "${task.data}"}}
    torch.save({"model": {}, "cfg": cfg}, tmp_path / "x.pt")
    assert load_checkpoint_to_cpu(str(tmp_path / "x.pt"))["cfg"].model.data == "there"


@pytest.mark.parametrize(
    "names", [("archive/data.pkl", "archive/DATA.PKL"), ("archive/data.pkl", "archive/data.pkl#x")]
)
def test_an_ambiguous_entry_is_refused(names, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for entry in names:
            archive.writestr(entry, pickle.dumps({}, protocol=2))
    # zipfile cuts names at a zero byte when it writes and reads, other readers do not.
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data.replace(b"#x", b"\0x"))
    assert refused(tmp_path / "x.pt") is None


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "folder.pt").mkdir()
    files = [("pipe", tmp_path / "pipe.pt"), ("folder", tmp_path / "folder.pt"), ("device", Path("/dev/zero"))]
    check(files)
