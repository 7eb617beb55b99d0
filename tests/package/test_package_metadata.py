"""The bill of materials and the Debian changelog of the package, made from a small environment."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import package_metadata
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

EPOCH_S = 1_790_000_000
CHANGES = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-11-20

### Added
- A lock ([how](docs/packaging.md)).

## 0.1.0 (unreleased)

- The first one.
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with the documents of two packages."""
    site, wheels = tmp_path / "site", tmp_path / "wheels"
    wheels.mkdir()
    for name, licence in (
        ("paho-mqtt", "License-Expression: EPL-2.0"),
        ("typing.inspection", "License: MIT"),
    ):
        file = name.replace("-", "_").replace(".", "_")
        info = site / f"{file}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{licence}\n")
        (wheels / f"{file}-1.0-py3-none-any.whl").write_bytes(name.encode())
    (tmp_path / package_metadata.DOC).mkdir(parents=True)
    package_metadata.bill_of_materials(tmp_path, site, wheels, "0.2.0+deb12", "amd64", EPOCH_S)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    monkeypatch.setattr(package_metadata, "ROOT", tmp_path)
    package_metadata.changelog(tmp_path, "0.2.0+deb12", "bookworm", EPOCH_S)
    return tmp_path


def test_the_bill_of_materials_fits_the_schema_of_cyclonedx(built: Path) -> None:
    text = (built / package_metadata.SBOM).read_text(encoding="utf-8")
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"neither"')) is not None, (
        "the validator finds a fault"
    )


def test_each_package_has_its_version_licence_and_the_hash_of_its_wheel(built: Path) -> None:
    made = json.loads((built / package_metadata.SBOM).read_text(encoding="utf-8"))
    first, second = made["components"]
    assert first["purl"] == "pkg:pypi/paho-mqtt@1.0" and second["purl"] == "pkg:pypi/typing-inspection@1.0"
    assert first["licenses"] == [{"license": {"name": "EPL-2.0"}}]
    assert first["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"paho-mqtt").hexdigest()}]
    assert made["metadata"]["component"]["version"] == "0.2.0+deb12"
    assert made["metadata"]["timestamp"].startswith("2026-09-21T")


def test_the_changelog_has_one_entry_for_each_release(built: Path, tmp_path: Path) -> None:
    text = gzip.decompress((built / package_metadata.CHANGELOG).read_bytes()).decode()
    heads = [line for line in text.splitlines() if line.startswith("facepay-agent (")]
    assert heads == [
        "facepay-agent (0.2.0+deb12) bookworm; urgency=medium",
        "facepay-agent (0.1.0+deb12) bookworm; urgency=medium",
    ]
    assert "  [ Added ]\n  * A lock (how).\n" in text and "  * The first one.\n" in text
    assert text.count("\n -- facepay-agent <") == 2 and "  Fri, 20 Nov 2026 00:00:00 +0000" in text


def test_a_point_of_several_lines_is_kept_complete() -> None:
    wrapped = CHANGES.replace("- A lock ([how]", "- A lock with\n  hashes for every\n  package ([how]")
    text = "\n".join(package_metadata.debian_changelog(wrapped, "0.2.0+deb12", "bookworm", EPOCH_S))
    assert "  * A lock with hashes for every package (how).\n" in text


def test_dpkg_reads_the_changelog(built: Path, tmp_path: Path) -> None:
    if shutil.which("dpkg-parsechangelog") is None:
        pytest.skip("needs dpkg-parsechangelog: apt-get install dpkg-dev")
    file = tmp_path / "changelog"
    file.write_bytes(gzip.decompress((built / package_metadata.CHANGELOG).read_bytes()))
    command = ("dpkg-parsechangelog", "-l", str(file), "--all")
    env = os.environ | {"LC_ALL": "C"}  # of another locale, Perl may warn that it is not installed
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    assert "Version: 0.2.0+deb12" in done.stdout and done.stderr == ""


def test_debian_changelog_adds_an_entry_for_an_unreleased_version() -> None:
    lines = list(package_metadata.debian_changelog(CHANGES, "0.3.0+deb13", "trixie", EPOCH_S))
    assert lines[0].startswith("facepay-agent (0.3.0+deb13) trixie;")
    assert any(line.startswith("facepay-agent (0.2.0+deb13)") for line in lines)
