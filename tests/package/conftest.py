"""A repository, and a terminal whose first version was healthy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from apt_repo import add, create

from tests.package.after_upgrade import OLD, Upgrades
from tests.package.apt_terminal import package, signing_key


@pytest.fixture(scope="module")
def key() -> Iterator[str]:
    with signing_key() as made:
        yield made


@pytest.fixture
def repo(tmp_path: Path, key: str) -> Path:
    made = tmp_path / "repo"
    create(made, key)
    return made


@pytest.fixture
def upgrades(tmp_path: Path, repo: Path) -> Upgrades:
    """The first version is installed and was healthy."""
    add(repo, [package(tmp_path, OLD)])
    made = Upgrades(tmp_path, repo)
    made.terminal.upgrade()
    made.check()
    assert made.good == OLD
    return made
