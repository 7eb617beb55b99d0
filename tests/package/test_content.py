"""The files of the source tree that are in the package."""

from __future__ import annotations

import re
from pathlib import Path

import build_deb

from agent.resources import config_file


def test_each_unit_that_a_unit_requires_is_in_the_package(tmp_path: Path) -> None:
    """systemd starts no unit that requires a missing unit, and an operator can delete files in /etc."""
    build_deb.copy_files(tmp_path)
    shipped = tmp_path / "usr/lib/systemd/system"
    for path in (*shipped.iterdir(), *config_file("apt").glob("*.service")):
        text = path.read_text()
        assert not re.search(r"(?m)^(Requires|BindsTo|Requisite)=", text), path.name
        if "RequiredBy=" in text:
            assert (shipped / path.name).read_text() == text
            assert "\nConditionPathExists=/usr/local/sbin/facepay-after-upgrade\n" in text
