"""The wall clock of a running agent jumps by years, by means of Debian's faketime."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from agent.kits.till.client import TillClient
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Place, running, till_of

# Over plain http the agent does not trust the API's time, so a signature with a wrong time is refused.
JUMPS = {
    "@1970-01-01 00:10:00": "undecided/clock",
    "+0": "match/same_person",
    "+365d": "undecided/clock",
    "-365d": "undecided/clock",
    "+0d": "match/same_person",
}


def library() -> Path:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        why = "faketime is not installed (apt-get install faketime; make test-full does it as root)"
        if os.geteuid() == 0:
            pytest.fail(why)
        pytest.skip(why)
    return found[0]


@pytest.mark.long
async def test_requests_are_answered_with_any_wall_clock(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a power cut the clock of a Pi is in 1970 until a time server answers.

    Each request gets one correct result in time, and the first result with a correct clock is a match: only
    signatures use the wall clock.
    """
    dial = tmp_path / "faketime"
    dial.write_text(f"{next(iter(JUMPS))}\n")
    verdicts = dict[str, str]()
    with monkeypatch.context() as before_the_agent:
        before_the_agent.setenv("LD_PRELOAD", str(library()))
        before_the_agent.setenv("FAKETIME_TIMESTAMP_FILE", str(dial))
        before_the_agent.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        before_the_agent.setenv("FAKETIME_NO_CACHE", "1")
        starting = running(place.config("one_obama_podium"), fresh=True)
        agent = await starting.__aenter__()
    try:
        async with till_of(place) as (till, _):
            for jump in JUMPS:
                dial.write_text(f"{jump}\n")
                await asyncio.sleep(0.2)
                verdicts[jump] = await outcome(till)
        assert agent.process.poll() is None
    finally:
        await starting.__aexit__(None, None, None)
    assert verdicts == JUMPS


async def outcome(till: TillClient) -> str:
    verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
    return f"{verdict.decision}/{verdict.reason}"
