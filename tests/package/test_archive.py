"""The compression of the package and the removal of symbol tables, on small files."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import archive
import numpy as np
import pytest
import symbols
from environment import this_arch

needs_tools = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or shutil.which("xz") is None, reason="needs dpkg-deb and xz-utils"
)


def library(folder: Path) -> Path:
    """A copy of a compiled library that links to the C library only."""
    (source,) = (Path(np.__file__).parent / "_core").glob("_simd.*.so")
    return Path(shutil.copy(source, folder / source.name))


def package(folder: Path) -> Path:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    library(tree / "opt")
    (tree / "DEBIAN" / "control").write_text(
        "Package: t\nVersion: 1\nArchitecture: all\nMaintainer: t <root@localhost>\nDescription: t\n"
    )
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    made = folder / "t.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made


@needs_tools
def test_dpkg_unpacks_the_compressed_package(tmp_path: Path) -> None:
    made = package(tmp_path)
    plain = made.read_bytes()
    archive.compress(made, this_arch())
    assert len(made.read_bytes()) < len(plain) / 2
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "t.deb"}, "no file is left"
    out = tmp_path / "out"
    subprocess.run(["dpkg-deb", "-x", str(made), str(out)], check=True)
    field = subprocess.check_output(["dpkg-deb", "--field", str(made), "Version"], text=True)
    assert field.strip() == "1"
    (before, after) = (next((tmp_path / each / "opt").iterdir()) for each in ("tree", "out"))
    assert before.read_bytes() == after.read_bytes()


@needs_tools
def test_a_package_is_compressed_to_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = package(tmp_path)
    second = Path(shutil.copy(made, tmp_path / "second.deb"))
    for each in (made, second):
        archive.compress(each, this_arch())
    assert made.read_bytes() == second.read_bytes()


def test_without_xz_the_build_ends_with_the_name_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(SystemExit, match="xz-utils"):
        archive.compress(tmp_path / "t.deb", "amd64")


def test_a_library_without_its_symbol_table_still_loads(tmp_path: Path) -> None:
    made = library(tmp_path)
    before = made.read_bytes()
    blanked = symbols.blank(made)
    assert blanked > 10_000, "the library of the wheel has a symbol table"
    assert len(made.read_bytes()) == len(before)
    code = "import ctypes, sys; print(bool(ctypes.PyDLL(sys.argv[1]).PyInit__simd))"
    assert subprocess.check_output([sys.executable, "-c", code, str(made)], text=True).strip() == "True"
    assert symbols.blank(made) == blanked, "the sections stay: a second run finds the same ones"


def test_another_file_is_not_changed(tmp_path: Path) -> None:
    text = tmp_path / "libnothing.so"
    text.write_text("INPUT(libother.so)")
    assert symbols.blank(text) == 0
    assert text.read_text() == "INPUT(libother.so)"


def test_a_section_that_the_loader_maps_is_never_blanked() -> None:
    """One mapped and one unmapped symbol table, in a file of these two sections and their names."""
    names = b"\0.symtab\0"
    rows = [(1, 2, 2, 0, 64, 8), (1, 2, 0, 0, 72, 8), (0, 3, 0, 0, 80, len(names))]
    table = 96
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", head, 0x28, table)
    struct.pack_into("<HH", head, 0x3C, len(rows), 2)
    body = bytes(head) + b"a" * 8 + b"b" * 8 + names
    sections = b"".join(struct.pack("<IIQQQQIIQQ", *row, 0, 0, 1, 0) for row in rows)
    assert symbols.unused(body.ljust(table, b"\0") + sections) == [(72, 8)]
