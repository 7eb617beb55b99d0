"""The units of work of the long tests: which tests one worker of pytest-xdist runs together.

A file is a unit, because its tests share what takes long to make: a system, an unpacked package. The tests of
one Debian release in a file are a unit: they share a box. Tests of ``SEPARATE`` share nothing.

The marks of ``--dist loadgroup`` cannot be used: pytest 9.2 ignores the new name of a test with which
pytest-xdist 3.8 passes them (pytest-xdist issue 1386), so each worker would boot each box.
"""

from __future__ import annotations

from tests.debian import RELEASES

SEPARATE = ("tests/tills/", "tests/till/", "tests/browser/")


def unit_of(nodeid: str) -> str:
    """The name of the unit of a test."""
    if nodeid.startswith(SEPARATE):
        return nodeid
    file, _, test = nodeid.partition("::")
    parameters = test.partition("[")[2].removesuffix("]").split("-")
    return " ".join([file, *(name for name in RELEASES if name in parameters)])
