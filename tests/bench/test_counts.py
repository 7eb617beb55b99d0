"""Counts of instructions: the comparison with made-up counts, and (long) the counts of this checkout."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.bench import counts
from tests.bench.counts import COUNTS, Change, changes, count_all, key, missing_program, read


def test_a_change_of_up_to_three_percent_is_no_change() -> None:
    assert changes({"whole look": 1_000}, {"whole look": 1_030}) == []
    assert changes({"whole look": 1_000}, {"whole look": 970}) == []


def test_a_larger_change_is_named_with_both_counts() -> None:
    (change,) = changes({"whole look": 1_000, "request": 5}, {"whole look": 1_031, "request": 5})
    assert change == Change("whole look", 1_000, 1_031)
    assert str(change) == "whole look: 1000 -> 1031 instructions (+3.1%)"
    assert changes({"whole look": 1_000}, {"whole look": 900})[0].after == 900, "better is a change, too"


def test_a_new_count_is_a_change_and_a_count_that_was_not_measured_is_none() -> None:
    assert [change.name for change in changes({}, {"whole look": 5})] == ["whole look"]
    assert str(changes({}, {"whole look": 5})[0]) == "whole look: 0 -> 5 instructions (new)"
    assert changes({"whole look": 5}, {}) == []
    assert changes({"request": 5}, {"request": 9}) == [], "an unstable count is printed only"


def test_without_valgrind_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert "valgrind is not installed" in missing_program()


def test_the_file_of_the_repository_has_every_count_of_the_issue() -> None:
    tree = read()
    wanted = {"start to READY", "one idle frame", "whole look", "followed look", "request"}
    assert wanted <= set(tree["counts"])
    assert all(count > 0 for count in tree["counts"].values())
    assert {"python", "libc", "valgrind", "emulated processor", "libraries"} == set(tree["key"])
    assert json.dumps(tree, indent=1) + "\n" == COUNTS.read_text(encoding="utf-8")


@pytest.mark.long
@pytest.mark.mosquitto
def test_this_checkout_needs_the_instructions_of_the_repository() -> None:
    """Long: two minutes, because callgrind emulates a processor. Not judged with other libraries."""
    if reason := missing_program():
        pytest.skip(reason)
    stored, here = read(), key()
    measured = count_all()
    table = "\n".join(f"{name}: {count}" for name, count in measured.items())
    differs = [name for name in here if here[name] != stored["key"].get(name)]
    if differs:
        pytest.skip(f"not judged, because these differ: {', '.join(differs)}. Measured:\n{table}")
    found = changes(stored["counts"], measured)
    assert not found, "\n".join([*map(str, found), f"to accept: python -m {counts.__name__} --write"])
