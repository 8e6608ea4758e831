"""Pickles that are small and claim to be large, or take long, or are no checkpoints; nothing in them is code.

Each is an expression that leaves one value, to be put at any place of a checkpoint (``hostile.places``).
"""

from __future__ import annotations

import pickle
import struct

from hostile import call, name, tensor, text


def number(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def memo(index: int) -> bytes:
    return pickle.LONG_BINPUT + struct.pack("<I", index)


def recall(index: int) -> bytes:
    return pickle.LONG_BINGET + struct.pack("<I", index)


def laughs(container: bytes, levels: int = 60) -> bytes:
    """A container that holds the one before it twice, again and again: 2^levels values in a few hundred bytes."""
    body = pickle.EMPTY_LIST + memo(0)
    for level in range(1, levels):
        pair = recall(level - 1) + recall(level - 1)
        body += pickle.POP + (
            pair + pickle.TUPLE2 if container == b"tuple" else pickle.EMPTY_LIST + pickle.MARK + pair + pickle.APPENDS
        )
        body += memo(level)
    return body


def colliding(count: int) -> bytes:
    """Keys that are different numbers with the same hash."""
    body = pickle.EMPTY_DICT + pickle.MARK
    for index in range(1, count):
        body += number(index * (2**61 - 1)) + pickle.NONE
    return body + pickle.SETITEMS


def numbers_with_one_hash(count: int, pairs: bool = False) -> bytes:
    """A list of such numbers, or of pairs that begin with one."""
    body = pickle.EMPTY_LIST + pickle.MARK
    for index in range(1, count):
        body += number(index * (2**61 - 1)) + (pickle.NONE + pickle.TUPLE2 if pairs else b"")
    return body + pickle.APPENDS


def in_namespace(body: bytes) -> bytes:
    start = name("argparse", "Namespace") + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    return start + pickle.EMPTY_DICT + text("x") + body + pickle.SETITEM + pickle.BUILD


def a_range(count: int) -> bytes:
    return call("builtins", "range", number(0), number(count))


HUGE = 10**12


def bombs() -> dict[str, bytes]:
    """Name -> pickle; every one must be refused, in little memory and time."""
    storage = (
        pickle.MARK
        + text("storage")
        + name("torch", "FloatStorage")
        + text("0")
        + text("cpu")
        + number(1)
        + pickle.TUPLE
        + pickle.BINPERSID
    )
    where = pickle.MARK + storage + number(0) + number(HUGE) + pickle.TUPLE1 + number(1) + pickle.TUPLE1 + pickle.TUPLE
    dtype = call("numpy", "dtype", text("f8"), pickle.NEWFALSE, pickle.NEWTRUE)
    array = call(
        "numpy.core.multiarray",
        "_reconstruct",
        name("numpy", "ndarray"),
        number(0) + pickle.TUPLE1,
        pickle.SHORT_BINBYTES + b"\x01b",
    )
    return {
        "range in a set": call("builtins", "set", a_range(HUGE)),
        "range in a frozenset": call("builtins", "frozenset", a_range(HUGE)),
        "range in a deque": call("collections", "deque", a_range(HUGE)),
        "range in a counter": call("collections", "Counter", a_range(HUGE)),
        "range in a defaultdict": call("collections", "defaultdict", pickle.NONE, a_range(HUGE)),
        "range in bytes": call("builtins", "bytearray", a_range(HUGE)),
        "range in a size": call("torch", "Size", a_range(HUGE)),
        "called set with one hash": call("builtins", "set", numbers_with_one_hash(12_000)),
        "frozenset with one hash": call("builtins", "frozenset", numbers_with_one_hash(12_000)),
        "pairs with one hash": call("collections", "OrderedDict", numbers_with_one_hash(12_000, pairs=True)),
        "defaultdict with one hash": call(
            "collections", "defaultdict", pickle.NONE, numbers_with_one_hash(12_000, pairs=True)
        ),
        "buffer": call("builtins", "bytearray", number(HUGE)),
        "state of a tensor": tensor(1, (1,)) + where + pickle.BUILD,
        "state of a new tensor": name("torch", "FloatTensor")
        + pickle.EMPTY_TUPLE
        + pickle.NEWOBJ
        + where
        + pickle.BUILD,
        "new tensor": call("torch", "FloatTensor", number(HUGE)),
        "repeated number": call(
            "torch._utils",
            "_rebuild_tensor_v2",
            storage,
            number(0),
            number(HUGE) + pickle.TUPLE1,
            number(0) + pickle.TUPLE1,
            pickle.NEWFALSE,
            call("collections", "OrderedDict"),
        ),
        "meta tensor": call(
            "torch._utils",
            "_rebuild_meta_tensor_no_storage",
            name("torch", "float32"),
            number(HUGE) + pickle.TUPLE1,
            number(1) + pickle.TUPLE1,
            pickle.NEWFALSE,
        ),
        "device tensor": call("torch._utils", "_rebuild_device_tensor_from_numpy", text("x"), text("y")),
        "array": array
        + pickle.MARK
        + number(1)
        + number(HUGE)
        + pickle.TUPLE1
        + dtype
        + pickle.NEWFALSE
        + pickle.SHORT_BINBYTES
        + b"\x08"
        + b"x" * 8
        + pickle.TUPLE
        + pickle.BUILD,
        "array of objects": call("numpy.core.multiarray", "scalar", call("numpy", "dtype", text("O8")), text("x")),
        "structured dtype": call(
            "numpy.core.multiarray",
            "scalar",
            call("numpy", "dtype", text("V8"), pickle.NEWFALSE, pickle.NEWTRUE),
            text("12345678"),
        ),
        "wide text dtype": call("numpy.core.multiarray", "scalar", call("numpy", "dtype", text("U999999")), text("x")),
        "lists that double": laughs(b"list"),
        "tuples that double": in_namespace(laughs(b"tuple")),
        "nested lists": pickle.EMPTY_LIST + memo(0) + (pickle.TUPLE1 * 30_000),
        "nested in a namespace": in_namespace(pickle.EMPTY_LIST + pickle.TUPLE1 * 30_000),
        "keys with one hash": colliding(20_000),
        "set with one hash": pickle.EMPTY_SET
        + pickle.MARK
        + b"".join(number(index * (2**61 - 1)) for index in range(1, 20_000))
        + pickle.ADDITEMS,
        "number in text": pickle.INT + b"9" * 200_000 + b"\n",
        "long number in text": pickle.LONG + b"9" * 200_000 + b"L\n",
        "string": pickle.BINUNICODE8 + struct.pack("<Q", HUGE) + b"x",
        "bytes": pickle.BINBYTES8 + struct.pack("<Q", HUGE) + b"x",
        "buffer in place": pickle.BYTEARRAY8 + struct.pack("<Q", HUGE) + b"x",
        "frame": pickle.FRAME + struct.pack("<Q", HUGE),
        "number of 2^32 bytes": pickle.LONG4 + struct.pack("<I", 2**31 - 1) + b"x",
        "memo": pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\xff" + b"\x00",
        "unknown name": pickle.LONG_BINGET + b"\xff\xff\xff\x7f",
        "extension 2": pickle.EXT2 + b"\x01\x00",
        "extension 4": pickle.EXT4 + b"\x01\x00\x00\x00",
        "text id": pickle.PERSID + b"0\n",
        "other id": text("module") + pickle.TUPLE1 + pickle.BINPERSID,
        "newobj_ex": name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.EMPTY_DICT + pickle.NEWOBJ_EX,
        "next buffer": pickle.NEXT_BUFFER,
        "long name": name("x" * 100_000, "Y"),
        "attributes of a number": number(1) + pickle.EMPTY_DICT + pickle.BUILD,
        "control characters": call("os\x1b[2J", "system", text("x")),
    }
