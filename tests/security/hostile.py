"""Makes checkpoint files that try to run code, so that tests can show that they do not.

The payload creates a file (the canary) by ``os.system``, ``builtins.eval`` and other ways. Pickles are written opcode
by opcode: Python's own pickler would not make most of them.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

MAGIC, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001


def text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def call(module: str, attribute: str, *arguments: bytes) -> bytes:
    """REDUCE: call a function with the given (already pickled) arguments."""
    return name(module, attribute) + pickle.MARK + b"".join(arguments) + pickle.TUPLE + pickle.REDUCE


def payloads(canary: Path) -> dict[str, bytes]:
    """Ways to run ``touch CANARY`` (or the like) from inside a pickle, as an expression that leaves one value."""
    command, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    return {
        "reduce-system": call("os", "system", text(command)),
        "reduce-posix-system": call("posix", "system", text(command)),
        "reduce-eval": call("builtins", "eval", text(code)),
        "reduce-exec-python2-name": call("__builtin__", "exec", text(code)),
        "reduce-open": call("io", "open", text(str(canary)), text("w")),
        "reduce-popen": call("subprocess", "Popen", pickle.MARK + text("touch") + text(str(canary)) + pickle.LIST),
        "inst": pickle.MARK + text(command) + pickle.INST + b"os\nsystem\n",
        "obj": pickle.MARK + name("os", "system") + text(command) + pickle.OBJ,
        "newobj": name("subprocess", "Popen") + pickle.MARK + text(command) + pickle.TUPLE + pickle.NEWOBJ,
        "stack-global": text("os")
        + text("system")
        + pickle.STACK_GLOBAL
        + text(command)
        + pickle.TUPLE1
        + pickle.REDUCE,
        "extension": pickle.EXT1 + b"\x01",
        "build-state": name("argparse", "Namespace")
        + pickle.EMPTY_TUPLE
        + pickle.NEWOBJ
        + pickle.EMPTY_DICT
        + text("x")
        + call("os", "system", text(command))
        + pickle.SETITEM
        + pickle.BUILD,
        "getattr-chain": call("builtins", "getattr", name("os", "path"), text("os")),
        "partial": call("functools", "partial", name("os", "system"), text(command)),
        "defaultdict-factory": call("collections", "defaultdict", call("functools", "partial", name("os", "system"))),
        "nested-pickle": call("torch.storage", "_load_from_bytes", text("x")),
        "torch-hub": call("torch.hub", "load", text("x/y"), text("z")),
        "own-function": call("fairseq.utils", "import_user_module", text(str(canary))),
        "own-lower-case": call("fairseq.utils.literals", "parse_literal", text("1")),
        "numpy-scalar-of-objects": call(
            "numpy.core.multiarray",
            "scalar",
            call("numpy", "dtype", text("O8"), pickle.NEWFALSE, pickle.NEWTRUE),
            call("os", "system", text(command)),
        ),
        "numpy-load": call("numpy", "load", text(str(canary))),
        "omegaconf-node": name("omegaconf.nodes", "AnyNode")
        + pickle.EMPTY_TUPLE
        + pickle.NEWOBJ
        + pickle.EMPTY_DICT
        + text("_val")
        + call("os", "system", text(command))
        + pickle.SETITEM
        + pickle.BUILD,
        "omegaconf-resolver": call("omegaconf", "OmegaConf.register_new_resolver", text("x"), name("os", "system")),
        "tensor-subclass": call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            name("os", "system"),
            name("torch", "Tensor"),
            text(command) + pickle.TUPLE1,
            pickle.EMPTY_DICT,
        ),
        "codec": call("_codecs", "encode", text("x"), text("../../evil")),
        "dotted-name": call("argparse", "_sys.modules", text("os")),
    }


def places(value: bytes) -> dict[str, bytes]:
    """The value at the places of a checkpoint where objects of all kinds are found; each a complete pickle."""

    def at(*path: str) -> bytes:
        body = value
        for key in reversed(path):
            body = pickle.EMPTY_DICT + text(key) + body + pickle.SETITEM
        return pickle.PROTO + b"\x02" + body + pickle.STOP

    return {
        "root": pickle.PROTO + b"\x02" + value + pickle.STOP,
        "args": at("args"),
        "model": at("model", "weight"),
        "optimizer": at("last_optimizer_state", "state", "exp_avg"),
        "cfg": at("cfg", "model", "w2v_args"),
        "key": pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + value + text("x") + pickle.SETITEM + pickle.STOP,
        "discarded": pickle.PROTO + b"\x02" + value + pickle.POP + pickle.EMPTY_DICT + pickle.STOP,
    }


def write_zip(path: Path, data_pkl: bytes, storages: dict[str, bytes] | None = None, compressed: bool = False) -> None:
    """A file in torch's zip layout around a pickle of one's own."""
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("archive/data.pkl", data_pkl)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)


def write_legacy(path: Path, data_pkl: bytes) -> None:
    """A file in the layout before torch 1.6."""
    out = io.BytesIO()
    for header in (MAGIC, PROTOCOL_VERSION, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(header, out, protocol=2)
    out.write(data_pkl)
    pickle.dump([], out, protocol=2)
    path.write_bytes(out.getvalue())


def tensor(storage_items: int, shape: tuple[int, ...], key: str = "0", offset: int = 0) -> bytes:
    """A described float tensor; nothing says that the description is true."""

    def number(value: int) -> bytes:
        return pickle.LONG1 + bytes([9]) + value.to_bytes(9, "little", signed=True)

    strides, step = [], 1
    for size in reversed(shape):
        strides.insert(0, step)
        step *= size
    pid = (
        pickle.MARK
        + text("storage")
        + name("torch", "FloatStorage")
        + text(key)
        + text("cpu")
        + number(storage_items)
        + pickle.TUPLE
        + pickle.BINPERSID
    )
    sizes = pickle.MARK + b"".join(map(number, shape)) + pickle.TUPLE
    steps = pickle.MARK + b"".join(map(number, strides)) + pickle.TUPLE
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", pid, number(offset), sizes, steps, pickle.NEWFALSE, hooks)
