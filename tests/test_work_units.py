"""Tests that share a box are in one unit of work."""

from __future__ import annotations

from tests.work_units import unit_of


def test_the_tests_of_a_release_share_a_box() -> None:
    faults = "tests/faults/test_faults.py"
    units = {
        unit_of(f"{faults}::{test}")
        for test in ("test_a[bookworm]", "test_b[bookworm-no_inodes]", "test_a[trixie]", "test_b[trixie-x y]")
    }
    assert units == {f"{faults} bookworm", f"{faults} trixie"}


def test_a_file_is_a_unit_and_independent_tests_are_not() -> None:
    deb, tills = "tests/package/test_deb.py", "tests/tills/test_tills.py"
    assert unit_of(f"{deb}::test_a") == unit_of(f"{deb}::test_b") == deb
    assert unit_of(f"{tills}::test_a[node]") != unit_of(f"{tills}::test_a[shell]")
