"""One row of the fault table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.box import FaultBox


@dataclass(frozen=True)
class Fault:
    """A fault, and what an operator must read.

    Attributes:
        make: makes the fault in a healthy box.
        check: the id of the doctor's check that names the cause.
        why: a part of the finding of this check.
        fix: a part of its fix.
        status: a part of the output of ``facepay status``: a condition, or the cause that no agent runs.
        also: further checks that may fail or warn, because they see the same cause themselves.
    """

    name: str
    title: str
    make: Callable[[FaultBox], None]
    check: str
    why: str
    fix: str
    status: str
    also: tuple[str, ...] = ()
