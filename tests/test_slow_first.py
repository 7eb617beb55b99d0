"""The order of the tests for several workers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slow_first import SLOW, slow_first

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Item:
    nodeid: str


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_each_worker_starts_with_slow_tests_and_no_test_is_lost(workers: int) -> None:
    quick = [Item(f"tests/a.py::test[{number}]") for number in range(1_200 - 2 * len(SLOW))]
    slow = [Item(f"{start}test_x[{number}]") for start in reversed(SLOW) for number in (1, 2)]
    ordered = slow_first(quick + slow, workers)
    assert sorted(map(repr, ordered)) == sorted(map(repr, quick + slow))
    assert [item for item in ordered if item in quick] == quick, "in their order"
    size = len(ordered) // workers
    for worker in range(workers):
        part = ordered[worker * size : (worker + 1) * size]
        slow_ones = [item for item in part if item not in quick]
        assert part[: len(slow_ones)] == slow_ones, "at the start of the part"
        longest = SLOW[worker]
        assert slow_ones[0].nodeid.startswith(longest)


def test_part_of_the_tests_keeps_all_of_them() -> None:
    few = [Item("tests/a.py::test"), Item(SLOW[1]), Item(SLOW[0]), Item(f"{SLOW[0]}x"), Item(f"{SLOW[0]}y")]
    assert sorted(map(repr, slow_first(few, 4))) == sorted(map(repr, few))
    assert slow_first([], 4) == list[Item]()


def test_each_entry_names_a_test() -> None:
    for start in SLOW:
        file, _, name = start.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / file).read_text(encoding="utf-8"), start


def test_a_worker_has_collected_this_order(request: pytest.FixtureRequest) -> None:
    worker = getattr(request.config, "workerinput", {"dist": "no"})
    if worker["dist"] != "worksteal":
        pytest.skip("needs --dist worksteal, as in make test")
    items = request.session.items
    assert items == slow_first(items, worker["workercount"])
