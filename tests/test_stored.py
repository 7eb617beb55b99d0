"""A stored folder is made once, by one of the processes that ask for it at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.stored import UNUSED_S, delete_unused, kept, stored

ROOT = Path(__file__).parent.parent
ASK = """
import sys
from pathlib import Path
from tests.stored import kept, stored

def make(folder):
    (folder / "content").write_text("x")
    with open(sys.argv[1], "a") as made:
        made.write("x")

assert (stored(kept("one"), make) / "content").read_text() == "x"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "facepay-agent"


def test_one_of_many_processes_makes_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path / "made")]
    begun = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [each.wait(60) for each in begun] == [0] * 4
    assert (tmp_path / "made").read_text() == "x"


def test_a_second_thread_waits_until_the_folder_is_complete() -> None:
    def make(folder: Path) -> None:
        time.sleep(0.2)
        (folder / "content").touch()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: list(stored(kept("one"), make).iterdir()), range(2)))
    assert found == [[kept("one") / "content"]] * 2


def test_an_error_stores_nothing(cache: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        stored(kept("one"), fails)
    assert [each.name for each in cache.iterdir()] == [".one.lock"]


def test_a_package_that_was_not_used_for_a_day_is_deleted(cache: Path) -> None:
    for name in ("trixie-package-1", "trixie-package-2", "trixie-build-1"):
        stored(kept(name), lambda _: None)
    for name in ("trixie-package-1", "trixie-build-1"):
        os.utime(kept(name), (time.time() - 2 * UNUSED_S,) * 2)
    delete_unused("trixie-package-*")
    names = {each.name for each in cache.iterdir() if not each.name.startswith(".")}
    assert names == {"trixie-package-2", "trixie-build-1"}
