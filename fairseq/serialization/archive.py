"""The zip layout of ``torch.save``, read strictly: one file has one meaning, or none.

Zip readers differ in where they look for the list of entries, which of two names they take, and whether they believe
the list or what stands before an entry. So only files are accepted in which all of these agree: records without gaps
from the first byte to the list, the list without gaps up to the end records, the end records at the end, every number
that is stated twice stated alike. ``torch.save`` writes such files, and so does Python's ``zipfile``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fairseq.serialization.errors import shown
from fairseq.serialization.keys import Refused
from fairseq.serialization.source import Source

__all__ = ["Archive", "Entry", "read_archive"]

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
# Size -> layout of what follows the data of a record whose sizes are told there.
_TRAILERS = {layout.size: layout for layout in (struct.Struct("<4s3L"), struct.Struct("<4sL2Q"))}
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
# The two flags that writers set: sizes follow the data; names are UTF-8.
_SIZES_FOLLOW, _UTF8 = 1 << 3, 1 << 11
_ZIP64_FIELD = 1
_MAX_NAME = 1000


@dataclass(frozen=True)
class Entry:
    """One record: where its bytes begin in the file, how many they are, and their CRC-32."""

    offset: int
    size: int
    crc: int


@dataclass
class _Listed:
    """What the list says about a record."""

    name: str
    raw_name: bytes
    flags: int
    crc: int
    size: int
    header: int


class Archive:
    """The records of a file.

    Attributes:
        entries: name without the archive's own folder -> record.
    """

    def __init__(self, source: Source, entries: dict[str, Entry]) -> None:
        self._source = source
        self.entries = entries

    def read(self, name: str) -> bytes:
        """The bytes of a record, compared with their checksum.

        Raises:
            Refused: they do not agree.
        """
        entry = self.entries[name]
        data = self._source.read(entry.offset, entry.size)
        if zlib.crc32(data) != entry.crc:
            raise Refused(f"it is damaged (checksum of its entry {shown(name)!r})")
        return data

    def damaged(self) -> str | None:
        """The name of the first record whose bytes do not agree with their checksum; reads the whole file."""
        for name, entry in self.entries.items():
            crc, done = 0, 0
            while done < entry.size:
                block = self._source.read(entry.offset + done, min(1 << 20, entry.size - done))
                crc, done = zlib.crc32(block, crc), done + len(block)
            if crc != entry.crc:
                return name
        return None


def _end_records(source: Source) -> tuple[int, int, int]:
    """``(number of entries, begin of their list, end of it)``, from the records at the end of the file."""
    where = source.size - _END.size
    if where < 0:
        raise Refused("it is truncated or damaged: the table at the end of the zip file is missing")
    mark, disk, first_disk, here, count, size, begin, comment = _END.unpack(source.read(where, _END.size))
    if mark != b"PK\5\6" or comment:
        raise Refused("it is truncated or damaged: the table at the end of the zip file is missing")
    if disk or first_disk or here != count:
        raise Refused("it is part of a zip file in several pieces")
    end = where
    at = where - _LOCATOR64.size
    if at >= 0 and (located := source.read(at, _LOCATOR64.size)).startswith(b"PK\6\7"):
        _, disk, where64, disks = _LOCATOR64.unpack(located)
        end = at - _END64.size
        if disk or disks > 1 or where64 != end or end < 0:
            raise Refused("the two tables at the end of the zip file disagree")
        mark, rest, _, _, disk, first_disk, here, all64, size64, begin64 = _END64.unpack(source.read(end, _END64.size))
        if mark != b"PK\6\6" or rest != _END64.size - 12 or disk or first_disk or here != all64:
            raise Refused("the two tables at the end of the zip file disagree")
        for small, large, full in ((count, all64, _FULL16), (size, size64, _FULL32), (begin, begin64, _FULL32)):
            if small not in (large, full):
                raise Refused("the two tables at the end of the zip file disagree")
        count, size, begin = all64, size64, begin64
    if begin + size != end:
        raise Refused("the list of its entries is not where the table at the end of the zip file says")
    if count * _CENTRAL.size > size:
        raise Refused("it has not as many entries as it says")
    return count, begin, end


def _zip64(extra: bytes) -> bytes:
    """The numbers of 64 bits in the extra field of an entry."""
    found, at = b"", 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if at + 4 + size > len(extra):
            raise Refused("an entry of it is damaged")
        if kind == _ZIP64_FIELD:
            if found:
                raise Refused("an entry of it states its size twice")
            found = extra[at + 4 : at + 4 + size]
        at += 4 + size
    return found


def _widened(extra: bytes, *fields: int) -> list[int]:
    """Fields of 32 bits, with those that are full replaced by their 64 bits in the extra field, in order."""
    numbers = _zip64(extra)
    widened, at = [], 0
    for value in fields:
        if value == _FULL32:
            if at + 8 > len(numbers):
                raise Refused("an entry of it states no size")
            (value,) = struct.unpack_from("<Q", numbers, at)
            at += 8
        widened.append(value)
    return widened


def _listed(source: Source) -> Iterator[_Listed]:
    count, begin, end = _end_records(source)
    data, at = source.read(begin, end - begin), 0
    for _ in range(count):
        if at + _CENTRAL.size > len(data):
            raise Refused("the list of its entries is damaged")
        fields = _CENTRAL.unpack_from(data, at)
        mark, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment, disk, _, _, header = (
            fields
        )
        at += _CENTRAL.size
        raw_name, extra = data[at : at + name_length], data[at + name_length : at + name_length + extra_length]
        at += name_length + extra_length
        if mark != b"PK\1\2" or comment or disk or at > len(data):
            raise Refused("the list of its entries is damaged")
        name = _name(raw_name)
        size, packed, header = _widened(extra, size, packed, header)
        if method or packed != size:
            raise Refused(f"its entry {shown(name)!r} is compressed, which torch.save never does")
        if flags & ~(_SIZES_FOLLOW | _UTF8):
            raise Refused(f"its entry {shown(name)!r} is encrypted, or of an unknown kind")
        yield _Listed(name, raw_name, flags, crc, size, header)
    if at != len(data):
        raise Refused("it has more entries than it says")


def _name(raw: bytes) -> str:
    """A name that every reader takes for the same one and that stays inside the archive's folder."""
    name = raw.decode("ascii", "replace")
    parts = name.removesuffix("/").split("/")
    if not raw.isascii() or not name.isprintable() or len(name) > _MAX_NAME or "\\" in name:
        raise Refused(f"its entry {shown(name)!r} has an ambiguous name")
    if any(part in ("", ".", "..") for part in parts):
        raise Refused(f"its entry {shown(name)!r} has an unsafe name")
    return name


def _data_of(source: Source, listed: _Listed, begin: int) -> int:
    """Where the data of a record begins, which must be described there as in the list."""
    if listed.header != begin:
        raise Refused("its entries overlap, or leave room between them")
    fields = _LOCAL.unpack(source.read(begin, _LOCAL.size))
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = fields
    rest = source.read(begin + _LOCAL.size, name_length + extra_length)
    if mark != b"PK\3\4" or flags != listed.flags or method or rest[:name_length] != listed.raw_name:
        raise Refused(f"its entry {shown(listed.name)!r} is described in two ways")
    if _FULL32 in (packed, size):
        # torch.save leaves these full where the sizes follow the data; zipfile writes the wide ones.
        size, packed = _widened(rest[name_length:], size, packed)
    known = {listed.crc, 0} if flags & _SIZES_FOLLOW or not listed.size else {listed.crc}
    sizes = {listed.size, 0} if flags & _SIZES_FOLLOW else {listed.size}
    if crc not in known or size not in sizes or packed not in sizes:
        raise Refused(f"its entry {shown(listed.name)!r} is described in two ways")
    return begin + _LOCAL.size + name_length + extra_length


def _after(source: Source, listed: _Listed, end: int, following: int) -> None:
    """What stands between a record's data and the next record: nothing, or its sizes once more."""
    room = following - end
    if not listed.flags & _SIZES_FOLLOW:
        if room == 0:
            return
    elif room in _TRAILERS:
        wide = room == max(_TRAILERS)
        size = listed.size if wide else min(listed.size, _FULL32)
        if source.read(end, room) == _TRAILERS[room].pack(b"PK\7\x08", listed.crc, size, size) and size == listed.size:
            return
    raise Refused("its entries overlap, or leave room between them")


def read_archive(source: Source) -> Archive:
    """The records of a zip file that ``torch.save`` wrote.

    Raises:
        Refused: it is damaged, compressed, or can be understood in two ways.
    """
    _, list_begin, _ = _end_records(source)
    records = sorted(_listed(source), key=lambda record: record.header)
    entries: dict[str, Entry] = {}
    roots: set[str] = set()
    folded: set[str] = set()
    begin = 0
    for record, following in zip(records, [*(record.header for record in records[1:]), list_begin]):
        data = _data_of(source, record, begin)
        _after(source, record, data + record.size, following)
        begin = following
        root, _, name = record.name.partition("/")
        roots.add(root)
        # torch finds entries whatever their case; so one name must mean one entry.
        if record.name.lower() in folded:
            raise Refused(f"its entry {shown(record.name)!r} has an ambiguous name")
        folded.add(record.name.lower())
        if record.name.endswith("/") or not name:
            if record.size or not record.name.endswith("/"):
                raise Refused("it is a zip file, but torch.save did not write it (no data.pkl)")
            continue
        entries[name] = Entry(data, record.size, record.crc)
    if begin != list_begin:
        raise Refused("its entries overlap, or leave room between them")
    if "data.pkl" not in entries or len(roots) != 1:
        raise Refused("it is a zip file, but torch.save did not write it (no data.pkl)")
    return Archive(source, entries)
