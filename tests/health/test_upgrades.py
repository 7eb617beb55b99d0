"""Stored facts about upgrades: those of facepay-after-upgrade, and the end of the ring's index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.diagnostics.check import Verdict
from agent.diagnostics.checks.system import upgrades
from agent.health.conditions_board import UPGRADE_FAILED, UPGRADE_MISSING
from agent.health.upgrades import (
    DAY_S,
    MISSING_AFTER_S,
    Failure,
    UpgradeFacts,
    judge_upgrades,
    read_upgrades,
)
from tests.diagnostics.kit import TerminalFiles
from tests.texts import zh

ENDS_S = 1_800_000_000
END = "Valid-Until: Fri, 15 Jan 2027 08:00:00 UTC"
INDEX = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

Origin: {{origin}}
Date: Wed, 16 Dec 2026 08:00:00 UTC
{END}
"""


@contextmanager
def unprivileged(monkeypatch: pytest.MonkeyPatch, denied: Path) -> Iterator[None]:
    """As a user without the right to read ``denied``; root can read each file."""
    real = Path.open

    def open_(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == denied or denied in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/facepay-upgrade").mkdir(parents=True)
    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    return tmp_path


def store(root: Path, name: str, text: str) -> None:
    (root / "var/lib/facepay-upgrade" / name).write_text(text)


def index(root: Path, origin: str = "facepay", end: str = END, ring: str = "all") -> None:
    """``end``: the line of the end; empty: the index has no end."""
    file = root / f"var/lib/apt/lists/{origin}.example_dists_bookworm-{ring}_InRelease"
    file.write_text(INDEX.format(origin=origin).replace(f"{END}\n", end and f"{end}\n"))


def test_machine_without_a_repository_has_no_facts(tmp_path: Path) -> None:
    assert read_upgrades(tmp_path) is None
    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    index(tmp_path, "Debian")
    assert read_upgrades(tmp_path) is None


def test_index_of_the_ring_is_found_among_others(root: Path) -> None:
    index(root, "Debian")
    assert read_upgrades(root) == UpgradeFacts()
    index(root)
    assert read_upgrades(root) == UpgradeFacts(has_index=True, index_ends_s=ENDS_S)
    index(root, ring="canary", end="Valid-Until: Sat, 16 Jan 2027 08:00:00 UTC")
    assert read_upgrades(root) == UpgradeFacts(has_index=True, index_ends_s=ENDS_S), "the earliest end"


@pytest.mark.parametrize(
    ("line", "failure", "words"),
    [
        ("returned 0.2.0 0.3.0\n", Failure.ROLLED_BACK, "0.3.0 was not healthy; 0.2.0 is installed again"),
        ("return_failed 0.3.0 0.3.0\n", Failure.ROLLBACK_FAILED, "the return failed"),
        ("unhealthy 0.3.0\n", Failure.UNHEALTHY, "0.3.0 is not healthy"),
        ("not_kept 0.3.0\n", Failure.NOT_KEPT, "no package to return to"),
        ("", Failure.UNKNOWN, "damaged"),
        ("later words of another version", Failure.UNKNOWN, "damaged"),
    ],
)
def test_failed_upgrade_is_a_condition_with_its_versions(
    root: Path, line: str, failure: Failure, words: str
) -> None:
    store(root, "failed", line)
    facts = read_upgrades(root)
    assert facts is not None and facts.failed is failure
    problem = judge_upgrades(facts, ENDS_S)
    assert problem is not None and problem[0] is UPGRADE_FAILED
    assert words in str(problem[1]) and zh(problem[1]) != str(problem[1])


@pytest.mark.parametrize("denied", ["failed", "."])
def test_unreadable_result_of_an_upgrade_is_not_a_good_upgrade(
    root: Path, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    """The umask of root was 077 when facepay-after-upgrade ran."""
    index(root)
    store(root, "failed", "returned 0.2.0 0.3.0\n")
    with unprivileged(monkeypatch, root / "var/lib/facepay-upgrade" / denied):
        facts = read_upgrades(root)
    assert facts is not None and facts.failed is Failure.UNREADABLE
    problem = judge_upgrades(facts, 0)
    assert problem is not None and problem[0] is UPGRADE_FAILED and "cannot read" in str(problem[1])


def test_version_waits_three_days_before_it_is_a_condition(root: Path) -> None:
    store(root, "waiting", f"0.2.0 0.3.0 {ENDS_S}\n")
    index(root, end="")
    facts = read_upgrades(root)
    assert facts == UpgradeFacts(
        installed="0.2.0", candidate="0.3.0", candidate_since_s=ENDS_S, has_index=True
    )
    assert judge_upgrades(facts, ENDS_S + MISSING_AFTER_S - 1) is None
    problem = judge_upgrades(facts, ENDS_S + MISSING_AFTER_S)
    assert problem is not None and problem[0] is UPGRADE_MISSING
    assert "0.3.0 has been in the ring for 3 days, and 0.2.0 is installed" in str(problem[1])


@pytest.mark.parametrize("line", ["", "0.2.0", "0.2.0 0.3.0 yesterday", "0.2.0 0.3.0 ²", "1 2 3 4"])
def test_damaged_file_of_a_waiting_version_is_ignored(root: Path, line: str) -> None:
    store(root, "waiting", line)
    assert read_upgrades(root) == UpgradeFacts()


def test_ended_index_is_a_condition(root: Path) -> None:
    index(root)
    facts = read_upgrades(root)
    assert facts is not None and judge_upgrades(facts, ENDS_S - 1) is None
    problem = judge_upgrades(facts, ENDS_S)
    assert problem is not None and problem[0] is UPGRADE_MISSING and "ended 0 days ago" in str(problem[1])


@pytest.mark.parametrize("end", ["Valid-Until: garbage", "Valid-Until:", "Valid-Until: 31 Jan"])
def test_index_with_an_invalid_end_counts_as_ended(root: Path, end: str) -> None:
    """apt refuses the index."""
    index(root, ring="canary")
    index(root, end=end)
    facts = read_upgrades(root)
    assert facts is not None
    problem = judge_upgrades(facts, ENDS_S - 1)
    assert problem is not None and problem[0] is UPGRADE_MISSING and "no valid date" in str(problem[1])


@pytest.mark.parametrize("content", [None, "", "Origin: other\n"])
def test_terminal_of_a_ring_without_an_index_is_a_condition(root: Path, content: str | None) -> None:
    """apt never fetched the index, or its file is empty."""
    if content is not None:
        (root / "var/lib/apt/lists/facepay.example_InRelease").write_text(content)
    facts = read_upgrades(root)
    assert facts == UpgradeFacts()
    problem = judge_upgrades(facts, ENDS_S)
    assert problem is not None and problem[0] is UPGRADE_MISSING and "no readable index" in str(problem[1])


def test_doctor_accepts_an_index_without_an_end(tmp_path: Path) -> None:
    place = TerminalFiles(tmp_path, "http://127.0.0.1:1", 1)
    (place.root / "var/lib/apt/lists").mkdir(parents=True)
    index(place.root, end="")
    found = upgrades(place.inputs())
    assert (found.verdict, found.why) == (Verdict.PASS, "the signed index of the ring has no end")


@pytest.mark.parametrize(
    ("days_before", "verdict"),
    [(8, Verdict.PASS), (7, Verdict.PASS), (6, Verdict.WARN), (0, Verdict.WARN), (-2, Verdict.WARN)],
)
def test_doctor_warns_before_the_index_ends(tmp_path: Path, days_before: int, verdict: Verdict) -> None:
    place = TerminalFiles(tmp_path, "http://127.0.0.1:1", 1)
    inputs = place.inputs(unix_ms=lambda: (ENDS_S - days_before * DAY_S) * 1_000)
    assert upgrades(inputs).verdict is Verdict.SKIP
    (place.root / "var/lib/apt/lists").mkdir(parents=True)
    index(place.root)
    found = upgrades(inputs)
    assert found.verdict is verdict
    assert verdict is Verdict.PASS or "make apt-repo ARGS=--renew" in str(found.remedy)


@pytest.mark.parametrize(
    ("state", "verdict"), [("masked", Verdict.WARN), ("disabled", Verdict.WARN), ("enabled", Verdict.PASS)]
)
def test_doctor_names_a_timer_that_starts_no_upgrade(tmp_path: Path, state: str, verdict: Verdict) -> None:
    """The record of a waiting version is also made by a service of this timer."""
    place = TerminalFiles(tmp_path, "http://127.0.0.1:1", 1)
    (place.root / "var/lib/apt/lists").mkdir(parents=True)
    index(place.root, end="")
    found = upgrades(place.inputs(program=lambda *_command: f"UnitFileState={state}\n"))
    assert found.verdict is verdict
    assert verdict is Verdict.PASS or f"apt-daily-upgrade.timer is {state}" in found.why


def test_doctor_names_a_failed_upgrade(root: Path) -> None:
    place = TerminalFiles(root, "http://127.0.0.1:1", 1)
    store(root, "failed", "returned 0.2.0 0.3.0\n")
    found = upgrades(place.inputs(root=root))
    assert found.verdict is Verdict.WARN and "apt-mark unhold" in str(found.remedy)
