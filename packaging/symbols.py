"""Overwrites the symbol tables and debug data of compiled libraries, which no program loads.

Only sections without the flag ALLOC: the loader maps none of these. The sections keep their place, so no
offset of the file changes, and the zeros take no space in the package. `strip` moves sections, which breaks
libraries that were changed by patchelf, as those of wheels are; it also exists for one architecture only.
"""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"  # 64 bit, little-endian: amd64 and arm64
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOLS, _NOTHING = 2, 8  # types of sections; NOTHING has no bytes in the file
_ALLOC = 2


def blank(path: Path) -> int:
    """Overwrite the unused sections of one library with zeros; return the number of bytes. 0: no library."""
    data = bytearray(path.read_bytes())
    if not data.startswith(_MAGIC):
        return 0
    blanked = 0
    for start, size in unused(bytes(data)):
        data[start : start + size] = bytes(size)
        blanked += size
    if blanked:
        path.write_bytes(data)
    return blanked


def unused(data: bytes) -> list[tuple[int, int]]:
    """(offset, size) of the symbol table, its strings and the debug data of an ELF file."""
    (table,) = struct.unpack_from("<Q", data, 0x28)
    count, names = struct.unpack_from("<HH", data, 0x3C)
    sections = [_SECTION.unpack_from(data, table + _SECTION.size * number) for number in range(count)]
    if not sections:
        return []
    found = list[tuple[int, int]]()
    for name, kind, flags, _, offset, size, *_ in sections:
        start = sections[names][4] + name
        label = data[start : data.index(b"\0", start)]
        is_symbols = kind == _SYMBOLS or label == b".strtab"
        if (
            not flags & _ALLOC
            and kind != _NOTHING
            and (is_symbols or label.startswith((b".debug", b".gnu_debug")))
        ):
            found.append((offset, size))
    return found
