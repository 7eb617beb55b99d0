"""Is the wall clock synchronised? The kernel says, or timesyncd's mark where the kernel may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.health import clock


@pytest.mark.parametrize(
    ("kernel", "mark", "said"),
    [(0, False, True), (5, True, False), (None, True, True), (None, False, None)],
    ids=["the kernel says yes", "its no outweighs the mark", "filtered, but marked", "nobody can say"],
)
def test_who_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: int | None, mark: bool, said: bool | None
) -> None:
    if mark:
        (tmp_path / "synchronized").touch()
    monkeypatch.setattr(clock, "_TIMESYNCD", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "_adjtimex", lambda: kernel)
    assert clock.is_synchronised() is said


def test_the_kernel_is_asked_for_real() -> None:
    assert clock._adjtimex() in (None, 0, 1, 2, 3, 4, 5)
