"""Compresses the files of a Debian package with xz and its filter for machine code.

Most of the package is machine code. The filter replaces relative jump targets by absolute ones, so that equal
targets are equal bytes. dpkg-deb cannot set the filter. dpkg and apt unpack the package with liblzma, which
has the filter of arm64 since 5.4 (Debian 12) and that of amd64 for longer.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

_FILTERS = {"amd64": "--x86", "arm64": "--arm64"}
# Two threads and blocks of a fixed size: the bytes do not depend on the number of cores. A dictionary of
# 32 MiB needs 33 MiB of memory to unpack; preset 6 has 8 MiB, and its package was 2 % larger.
_LZMA2 = "--lzma2=preset=6,dict=32MiB,lc=4,pb=0"
_XZ = ("--threads=2", "--no-adjust", "--block-size=144MiB", _LZMA2, "--stdout")
_MAGIC = b"!<arch>\n"
_HEADER_BYTES, _NAME, _SIZE = 60, slice(0, 16), slice(48, 58)


def compress(package: Path, arch: str) -> None:
    """Compress the last member of a package that dpkg-deb made with ``-Znone``, in place."""
    xz = shutil.which("xz")
    if xz is None:
        sys.exit("xz is not installed: apt install xz-utils, or build with --fast")
    made = package.with_suffix(".xz")
    with package.open("rb", buffering=0) as source, made.open("wb") as target:
        header = _copy_until(source, target, b"data.tar")
        packed = made.with_suffix(".data")
        with packed.open("wb") as file:
            subprocess.run([xz, _FILTERS[arch], *_XZ], stdin=source, stdout=file, check=True)
        size = packed.stat().st_size
        fields = bytearray(header)
        fields[_NAME], fields[_SIZE] = b"data.tar.xz".ljust(16), str(size).encode().ljust(10)
        target.write(fields)
        with packed.open("rb") as file:
            shutil.copyfileobj(file, target)
        target.write(b"\n" * (size % 2))
        packed.unlink()
    made.replace(package)


def _copy_until(source: BinaryIO, target: BinaryIO, name: bytes) -> bytes:
    """Copy all members before the member ``name``; return its header. The source is then at its content."""
    target.write(source.read(len(_MAGIC)))
    while header := source.read(_HEADER_BYTES):
        if header[_NAME].rstrip(b"/ ") == name:
            return header
        size = int(header[_SIZE])
        target.write(header + source.read(size + size % 2))
    raise ValueError(f"no member {name.decode()} in the package")
