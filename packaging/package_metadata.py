"""Metadata of the package: licences, bill of materials, changelog in the format of Debian."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import sys
import textwrap
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import HeaderParser
from email.utils import format_datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
DOC = Path("usr/share/doc/facepay-agent")
SBOM, CHANGELOG = DOC / "sbom.cdx.json", DOC / "changelog.Debian.gz"
SIGNED_BY = "facepay-agent <facepay-agent@localhost>"
_RELEASE = re.compile(r"^## \[?(?P<version>\d+\.\d+\.\d+)\]?(?:.*?(?P<day>\d{4}-\d\d-\d\d))?", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_CONTINUED = re.compile(r"\n +(?=\S)")  # Markdown: the next line of the same point


def licences(tree: Path, site: Path) -> None:
    """Copy all licence texts of the wheels, and list the declared licences.

    Raises:
        SystemExit: a wheel has no licence text; check its licence before it is distributed.
    """
    lines = [(HERE / "copyright").read_text(), "Python packages in this package:", ""]
    for info, about in _installed(site):
        name, version = about["Name"], about["Version"]
        texts = [path for path in sorted(info.rglob("*")) if path.is_file() and _is_licence(path.name)]
        if not texts:
            sys.exit(f"{name} {version} has no licence text in its wheel")
        folder = tree / DOC / "third-party" / name
        for path in texts:
            target = folder / path.relative_to(info).as_posix().removeprefix("licenses/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        lines.append(f"  {name} {version}: {_declared(about)}")
    (tree / DOC / "copyright").write_text("\n".join(lines) + "\n", encoding="utf-8")


def bill_of_materials(tree: Path, site: Path, wheels: Path, version: str, arch: str, epoch_s: int) -> None:
    """CycloneDX 1.6: each Python package with its version, licence and the SHA-256 of its wheel."""
    sums = {_normal(path.name.split("-")[0]): _sha256(path) for path in wheels.glob("*.whl")}
    parts = [_component(about, sums) for _, about in _installed(site)]
    reference = f"pkg:deb/facepay-agent@{version}?arch={arch}"
    made: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{reference}#{epoch_s}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch_s, UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": "facepay-agent",
                "version": version,
                "purl": reference,
            },
        },
        "components": parts,
        "dependencies": [{"ref": reference, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    (tree / SBOM).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _component(about: Message, sums: dict[str, str]) -> dict[str, Any]:
    reference = f"pkg:pypi/{_normal(about['Name']).replace('_', '-')}@{about['Version']}"
    return {
        "type": "library",
        "bom-ref": reference,
        "name": about["Name"],
        "version": about["Version"],
        "purl": reference,
        "licenses": [{"license": {"name": _declared(about)}}],
        "hashes": [{"alg": "SHA-256", "content": sums[_normal(about["Name"])]}],
    }


def changelog(tree: Path, version: str, release: str, epoch_s: int) -> None:
    """Write CHANGELOG.md in Debian's format: one entry for each release."""
    text = "\n".join(debian_changelog((ROOT / "CHANGELOG.md").read_text("utf-8"), version, release, epoch_s))
    (tree / CHANGELOG).write_bytes(gzip.compress(text.encode(), mtime=0))


def debian_changelog(text: str, version: str, release: str, epoch_s: int) -> Iterator[str]:
    """The lines of the entries. A release without a date gets the time of the commit, ``epoch_s``."""
    found = list(_RELEASE.finditer(text))
    suffix = version.partition("+")[2]
    upstream = version.partition("+")[0]
    if not any(each["version"] == upstream for each in found):
        yield from _entry(version, release, ["* Not released: see CHANGELOG.md."], epoch_s)
    ends = [*(each.start() for each in found[1:]), len(text)]
    for each, end in zip(found, ends, strict=True):
        day = each["day"]
        at_s = epoch_s if day is None else int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())
        lines = list(_points(text[each.end() : end])) or ["* See CHANGELOG.md."]
        yield from _entry(f"{each['version']}+{suffix}", release, lines, at_s)


def _points(section: str) -> Iterator[str]:
    joined = _CONTINUED.sub(" ", section)
    for line in joined.splitlines():
        plain = _LINK.sub(r"\1", line)
        if plain.startswith("### "):
            yield f"[ {plain.removeprefix('### ')} ]"
        elif plain.startswith("- "):
            yield f"* {plain.removeprefix('- ')}"


def _entry(version: str, release: str, lines: list[str], at_s: int) -> Iterator[str]:
    yield f"facepay-agent ({version}) {release}; urgency=medium\n"
    for line in lines:
        yield textwrap.fill(line, 78, initial_indent="  ", subsequent_indent="    ", break_long_words=False)
    yield f"\n -- {SIGNED_BY}  {format_datetime(datetime.fromtimestamp(at_s, UTC))}\n"


def _installed(site: Path) -> Iterator[tuple[Path, Message]]:
    """(dist-info, its METADATA), sorted by folder."""
    for info in sorted(site.glob("*.dist-info")):
        yield info, HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_licence(name: str) -> bool:
    return name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"))


def _declared(about: Message) -> str:
    """The declared licence on one line: the expression, else the name, else the classifiers."""
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if "License" in line]
    named = str(about["License"] or "").strip()
    if about["License-Expression"]:
        return str(about["License-Expression"])
    if named and "\n" not in named:
        return named
    return ", ".join(classifiers) or named.split("\n")[0] or "see its text"
