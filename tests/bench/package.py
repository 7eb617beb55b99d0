"""The size of the Debian package that ``make deb`` has built, if there is one in dist/."""

from __future__ import annotations

from pathlib import Path

from tests.bench.report import Section

DIST = Path(__file__).parent.parent.parent / "dist"


def run(*, quick: bool) -> Section:
    """``quick``: not used, because the section only reads the size of files."""
    section = Section("Debian package")
    sizes_mb = {path.name: path.stat().st_size / 1e6 for path in sorted(DIST.glob("*.deb"))}
    section.rows = [{"package": name, "MB": round(size_mb, 3)} for name, size_mb in sizes_mb.items()]
    if sizes_mb:
        section.measure("package", max(sizes_mb.values()))  # not rounded: 70.03 is more than 70
    else:
        section.notes.append("no package in dist/: run make deb first")
    return section
