"""Zip files written byte by byte, so that each number in them can be a lie."""

from __future__ import annotations

import pickle
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """An entry. ``local`` and ``listed`` override what is said before its data and in the list (name, flags, ...)."""

    name: str
    data: bytes
    local: dict[str, Any] = field(default_factory=dict)
    listed: dict[str, Any] = field(default_factory=dict)

    def _fields(self, changes: dict[str, Any]) -> tuple[bytes, int, int, int, int]:
        values = {"name": self.name, "flags": 0, "method": 0, "crc": zlib.crc32(self.data), "size": len(self.data)}
        values.update(changes)
        name = values["name"] if isinstance(values["name"], bytes) else values["name"].encode()
        return name, values["flags"], values["method"], values["crc"], values["size"]

    def before_data(self) -> bytes:
        name, flags, method, crc, size = self._fields(self.local)
        return struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, crc, size, size, len(name), 0) + name

    def in_list(self, offset: int) -> bytes:
        name, flags, method, crc, size = self._fields(self.listed)
        offset = self.listed.get("offset", offset)
        packed = self.listed.get("packed", size)
        fields = (20, 20, flags, method, 0, 0, crc, packed, size, len(name), 0, 0, 0, 0, 0, offset)
        return struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name


def body(records: list[Record], begin: int = 0) -> tuple[bytes, bytes]:
    """``(records, list of them)``, as if the first stood at byte ``begin``."""
    data = table = b""
    for record in records:
        table += record.in_list(begin + len(data))
        data += record.before_data() + record.data
    return data, table


def end(count: int, size: int, begin: int, comment: bytes = b"", here: int | None = None, disk: int = 0) -> bytes:
    here = count if here is None else here
    return struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, here, count, size, begin, len(comment)) + comment


def end64(count: int, size: int, begin: int, where: int) -> bytes:
    """The wide end record and its locator; ``where`` is what the locator says."""
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, begin)
    return wide + struct.pack("<4sLQL", b"PK\6\7", 0, where, 1)


def records(state: Any, root: str = "archive") -> list[Record]:
    """What torch needs of a state without tensors."""
    return [
        Record(f"{root}/data.pkl", pickle.dumps(state, protocol=2)),
        Record(f"{root}/byteorder", b"little"),
        Record(f"{root}/version", b"3\n"),
    ]


def whole(parts: list[Record]) -> bytes:
    """A file without lies."""
    data, table = body(parts)
    return data + table + end(len(parts), len(table), len(data))
