"""safetensors files that take long, claim to be large, or can be understood in two ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import forked

from fairseq.checkpoint_utils.safetensors_format import read_safetensors, write_safetensors
from fairseq.serialization import CorruptCheckpointError
from fairseq_cli.checkpoint import cli_main

PRIME = 2**61 - 1


def marked(kind: str, body: Any) -> dict[str, Any]:
    return {"__fairseq__": [kind, body]}


def file(header: str | dict[str, Any], data: bytes = b"") -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


def with_state(state: Any) -> bytes:
    return file({"__metadata__": {"fairseq": state if isinstance(state, str) else json.dumps(state)}})


def tensor(begin: int = 0, end: int = 8, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


COLLIDING = [[PRIME * index, None] for index in range(1, 30_000)]
TUPLES = [[marked("tuple", [PRIME * index, 0]), None] for index in range(1, 30_000)]
FILES: dict[str, bytes] = {
    "keys with one hash": with_state({"x": marked("dict", COLLIDING)}),
    "ordered keys with one hash": with_state({"x": marked("ordered", COLLIDING)}),
    "keys with one hash, in pieces": with_state({"x": [marked("dict", [pair]) for pair in COLLIDING]}),
    "tuples with one hash": with_state({"x": marked("dict", TUPLES)}),
    "a set with one hash": with_state({"x": marked("set", [key for key, _ in COLLIDING])}),
    "a frozen set with one hash": with_state({"x": marked("frozenset", [key for key, _ in COLLIDING])}),
    "a name twice in the header": file('{"w": %s, "w": %s}' % ((json.dumps(tensor()),) * 2), b"x" * 8),
    "metadata twice": file('{"__metadata__": {}, "__metadata__": {"fairseq": "{}"}}'),
    "a name twice in the state": with_state('{"a": 1, "a": 2}'),
    "a deep header": file("[" * 100_000 + "]" * 100_000),
    "a deep state": with_state("[" * 100_000 + "]" * 100_000),
    "a state of depth 500": with_state("[" * 500 + "]" * 500),
    "a long number": with_state("1" * 3_000_000),
    "a long number in a shape": file('{"w": {"dtype": "F32", "shape": [%s], "data_offsets": [0, 8]}}' % ("1" * 4000)),
    "a long fraction": with_state(marked("float", "1" * 4000)),
    "a float of a number": with_state(marked("float", 10**900)),
    "not a number": with_state('{"a": NaN}'),
    "many dimensions": file({"w": tensor(shape=[1] * 100_000)}, b"x" * 8),
    "large dimensions": file({"w": tensor(shape=[10**18] * 60)}, b"x" * 8),
    "a negative dimension": file({"w": tensor(shape=[-1, -2])}, b"x" * 8),
    "a true dimension": file({"w": tensor(shape=[True, 2])}, b"x" * 8),
    "a shape that is text": file({"w": tensor(shape="2")}, b"x" * 8),
    "offsets that are text": file({"w": {**tensor(), "data_offsets": "08"}}, b"x" * 8),
    "more than the file": file({"w": tensor(end=8 * 10**12, shape=[2 * 10**12])}, b"x" * 8),
    "overlapping": file({"a": tensor(), "b": tensor(4, 12)}, b"x" * 12),
    "a gap": file({"a": tensor(), "b": tensor(12, 20)}, b"x" * 20),
    "hidden bytes": file({"a": tensor()}, b"x" * 20),
    "an unknown type": file({"w": tensor(dtype="OBJ")}, b"x" * 8),
    "a type that is a list": file({"w": tensor(dtype=["F32"])}, b"x" * 8),
    "a header that is a list": file("[]"),
    "a tensor that is a number": file({"w": 3}),
    "metadata that is a list": file({"__metadata__": [1]}),
    "a state that is a list": with_state([1]),
    "a tensor that is not there": with_state(marked("dict", [["x", marked("tensor", "nowhere")]])),
    "an unknown mark": with_state({"x": marked("os.system", "touch x")}),
    "a mark that is a number": with_state({"x": {"__fairseq__": 3}}),
    "an array of objects": with_state({"x": marked("array", ["O", [1], "AAAAAAAAAAA="])}),
    "an array with fields": with_state({"x": marked("array", [[["a", "f8"]], [1], "AAAAAAAAAAA="])}),
    "an array larger than its data": with_state({"x": marked("array", ["<f8", [10**12], "AAAAAAAAAAA="])}),
    "a dtype that is a module": with_state({"x": marked("dtype", "nn")}),
    "a dtype that is a list": with_state({"x": marked("dtype", ["float32"])}),
    "a path that is a number": with_state({"x": marked("path", 3)}),
    "a namespace with numbers": with_state({"x": marked("namespace", marked("dict", [[1, 2]]))}),
    "no header": b"\0" * 8,
    "a header that is cut": file({"w": tensor()}, b"x" * 8)[:40],
    "empty": b"",
}


@pytest.mark.parametrize("kind", FILES)
def test_it_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(FILES[kind])

    def work() -> None:
        with pytest.raises(CorruptCheckpointError) as said:
            read_safetensors(str(path))
        message = str(said.value)
        assert str(path) in message and "no safetensors file" in message
        assert message.isprintable() and len(message) < 1000
        if "one hash" in kind:  # filling a table with them took ten seconds
            assert "2^60" in message or "neither text nor numbers" in message
        with pytest.raises(CorruptCheckpointError):
            cli_main(["convert", str(path), str(tmp_path / "out.pt")])

    ending = forked(work, 600 << 20)
    assert ending.code == 0, ending.output
    assert ending.peak < 200 << 20
    assert not (tmp_path / "out.pt").exists()


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for path in (tmp_path / "folder.safetensors", Path("/dev/zero")):
        with pytest.raises(CorruptCheckpointError):
            read_safetensors(str(path))


def test_honest_keys_of_all_kinds_come_back(tmp_path):
    state = {
        "model": {"w": torch.arange(6.0).view(2, 3), "e": torch.zeros(0, 3), "s": torch.tensor(2, dtype=torch.int64)},
        "x": {1: 2, (3, "a"): {4, 5}, None: float("inf"), 2.5: frozenset({(1, 2)}), -7: [float("-inf")]},
    }
    write_safetensors(state, str(tmp_path / "x.safetensors"))
    found = read_safetensors(str(tmp_path / "x.safetensors"))
    assert found["x"] == state["x"]
    assert all(torch.equal(found["model"][key], value) for key, value in state["model"].items())
