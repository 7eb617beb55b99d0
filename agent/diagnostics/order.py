"""The order of the rows of a report, by their urgency: one order for the page and for the command.

The page is read from the top and begins with the most urgent row. The command prints the reverse order,
because the end of its output is visible without scrolling.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]  # of ``facepay.doctor/1``, e.g. ``CheckReport.facts()``

_FIRST = ("fail", "warn", "skip", "pass")


def urgency(row: Row) -> tuple[int, bool]:
    """A key for sorting: failures, warnings, consequences, checks that do not apply, passed checks.

    An unknown verdict, e.g. of a newer terminal, is the most urgent.
    Rows of equal urgency keep their order, which is that of the table of checks.
    """
    verdict = row["verdict"]
    place = _FIRST.index(verdict) if verdict in _FIRST else -1
    return place, not row["because"]


def most_urgent_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=urgency)


def most_urgent_last(rows: Iterable[Row]) -> list[Row]:
    """The groups in reverse order. Within a group the order is the same."""
    return sorted(rows, key=urgency, reverse=True)
