"""Synchronisation of the wall clock: by the kernel, or by the mark file of timesyncd."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.health import board as clock


@pytest.mark.parametrize(
    ("kernel", "mark", "expected"),
    [(0, False, True), (5, True, False), (None, True, True), (None, False, None)],
    ids=["kernel: synchronised", "kernel before mark", "kernel unavailable, mark present", "unknown"],
)
def test_synchronised_uses_the_kernel_before_the_mark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kernel: int | None, mark: bool, expected: bool | None
) -> None:
    if mark:
        (tmp_path / "synchronized").touch()
    monkeypatch.setattr(clock, "_TIMESYNCD", tmp_path / "synchronized")
    monkeypatch.setattr(clock, "_adjtimex", lambda: kernel)
    assert clock.is_synchronised() is expected


def test_kernel_call_returns_a_value() -> None:
    assert clock._adjtimex() in (None, 0, 1, 2, 3, 4, 5)
