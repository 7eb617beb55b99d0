"""Verifications in a row that end with a fault of the API or the terminal, as conditions of the terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.attempt_limits import AttemptLimits
from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, Result, Timings
from agent.core.reasons import Decision, FrameReason, Reason
from agent.errors import CompareError
from agent.health import till_meter
from agent.health.condition import Condition
from agent.health.conditions_board import VERIFICATIONS_FAILING
from agent.health.conditions_compare import COMPARE_CONFIG, COMPARE_FAILING
from agent.health.conditions_till import REQUESTS_REFUSED
from agent.health.result_meter import VERIFICATIONS_MIN
from tests.fakes import ScriptedCompare, request
from tests.terminal.test_call_budget import ask, guarded
from tests.terminal.test_terminal import LIMITS, TerminalSetup, serving

TOO_LARGE = CompareError("HTTP 413", code="compare_config")


async def test_fault_of_calls_stays_visible_when_checks_clear_its_condition() -> None:
    setup = TerminalSetup(compare=ScriptedCompare(*[TOO_LARGE] * VERIFICATIONS_MIN, 93.0))
    conditions = setup.terminal.conditions
    async with serving(setup):
        for number in range(1, VERIFICATIONS_MIN + 1):
            await ask(setup, number)
            assert COMPARE_CONFIG in conditions.active
            conditions.clear(COMPARE_CONFIG)  # a check without a picture succeeds
        assert conditions.active == (COMPARE_FAILING,)
        assert await ask(setup, VERIFICATIONS_MIN + 1) == "match/same_person"
        assert not conditions.active


async def test_fault_of_one_outage_is_one_condition() -> None:
    setup = TerminalSetup(compare=ScriptedCompare(TOO_LARGE))
    async with serving(setup):
        for number in range(1, VERIFICATIONS_MIN + 1):
            await ask(setup, number)
        assert setup.terminal.conditions.active == (COMPARE_CONFIG,)


@pytest.mark.parametrize(
    ("require", "condition"), [((), VERIFICATIONS_FAILING), (("liveness",), REQUESTS_REFUSED)]
)
async def test_unmet_assurance_is_a_fault_of_the_till_only_if_the_terminal_does_not_offer_it(
    monkeypatch: pytest.MonkeyPatch, require: tuple[str, ...], condition: Condition
) -> None:
    """The reason is also that of a camera which is too slow for the challenge."""
    monkeypatch.setattr(till_meter, "SPAN_MS", 0)
    setup = TerminalSetup()
    for number in range(VERIFICATIONS_MIN):
        each = replace(request(f"r-{number}"), require=require)
        unmet = Result(each, Decision.UNDECIDED, Reason.ASSURANCE_UNMET, 0, None, Timings(), Assurance())
        await setup.claim_store.claim(each)
        result, stored = await setup.terminal.results.store(unmet)
        await setup.terminal.results.deliver(result, stored, FrameLog())
    (shown,) = setup.terminal.conditions.shown
    assert shown.condition is condition and "assurance_unmet" in str(shown.detail)


@pytest.mark.parametrize("is_covered", [False, True])
async def test_few_frames_are_a_fault_of_the_terminal_whatever_the_reasons_are(is_covered: bool) -> None:
    """A throttled processor ends verifications with changing reasons, and each alone looks like a payer."""
    setup = TerminalSetup()
    camera = Reason.CAMERA_UNAVAILABLE
    reasons = [camera] * 3 if is_covered else [Reason.FACE_LOST, Reason.COMPARE_UNREACHABLE, Reason.NO_FACE]
    for number, reason in enumerate(reasons):
        each, timings = request(f"r-{number}"), Timings(total=7_829)
        late = Result(each, Decision.UNDECIDED, reason, 0, None, timings, Assurance())
        await setup.claim_store.claim(each)
        frame_log = FrameLog(watched_ms=7_829)
        frame_log.frames_by_reason[FrameReason.SHOT] = 3
        result, stored = await setup.terminal.results.store(late)
        await setup.terminal.results.deliver(result, stored, frame_log)
    shown = setup.terminal.conditions.shown
    assert [row.detail for row in shown] == ([] if is_covered else ["no_face, 3 frames in 7829 ms"])
    assert is_covered or shown[0].condition is VERIFICATIONS_FAILING


@pytest.mark.parametrize("is_late", [False, True])
async def test_time_ended_is_no_fault_of_the_terminal_if_the_face_came_late(
    monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    setup = guarded(AttemptLimits(), limits=replace(LIMITS, min_ask_ms=3_600_000))
    monkeypatch.setattr(FrameLog, "is_face_late", lambda _log, _total_ms: is_late)
    async with serving(setup):
        for number in range(1, VERIFICATIONS_MIN + 1):
            assert await ask(setup, number) == "undecided/timed_out"
        assert setup.terminal.conditions.active == (() if is_late else (VERIFICATIONS_FAILING,))
