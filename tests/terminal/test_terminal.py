"""The loops of the terminal, with fakes that keep the rules of the ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from agent.core.model import Assurance, FaceLight, Request, Result
from agent.core.ports import (
    AcceptedEvent,
    CancelReceived,
    GuidanceEvent,
    RefusedEvent,
    RequestReceived,
    StageEvent,
    StoredResult,
)
from agent.core.reasons import FrameReason, Reason, Refusal
from agent.core.verification_types import Limits
from agent.errors import CameraError, CompareError, CompareUnreachable, ModelError, Retry, StorageError
from agent.health.conditions_compare import COMPARE_UNREACHABLE
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.terminal.verification_runner import reason_of
from tests.fakes import (
    EPOCH,
    MemoryClaimStore,
    PacedCamera,
    QueueTill,
    RealClock,
    ScriptedCompare,
    StagedAnalyzer,
    check_frame,
    request,
)

LIMITS = Limits(hold_ms=60, ask_timeout_ms=500, retry_pause_ms=20, min_ask_ms=10)


@dataclass
class TerminalSetup:
    """A terminal with fakes of all its ports."""

    camera: PacedCamera = field(default_factory=PacedCamera)
    analyzer: StagedAnalyzer = field(default_factory=StagedAnalyzer)
    compare: ScriptedCompare = field(default_factory=ScriptedCompare)
    till: QueueTill = field(default_factory=QueueTill)
    claim_store: MemoryClaimStore = field(default_factory=MemoryClaimStore)
    lights: list[FaceLight | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = (RealClock(), self.camera, self.analyzer, self.compare, self.till, self.claim_store)
        ports = Ports(*setup, check_frame, adapt_exposure=self.lights.append)
        self.terminal = Terminal(ports, Settings(EPOCH, LIMITS, 50, Assurance()))
        self.stop = asyncio.Event()

    async def verdict(self, count: int = 1) -> str:
        await self.till.until(lambda: len(self.till.delivered) >= count)
        return self.till.delivered[-1].payload.decode()

    async def idle(self, frames: int) -> None:
        """Wait for this number of further idle frames."""
        counted = self.terminal.counters.frames
        until = counted[FrameReason.IDLE] + frames
        async with asyncio.timeout(60):
            while counted[FrameReason.IDLE] < until:  # noqa: ASYNC110 - the counter has no event
                await asyncio.sleep(0.005)

    def refusals(self) -> list[Refusal]:
        return [event.refusal for event in self.till.events if isinstance(event, RefusedEvent)]


@asynccontextmanager
async def serving(setup: TerminalSetup) -> AsyncIterator[TerminalSetup]:
    task = asyncio.create_task(setup.terminal.serve(setup.stop))
    try:
        yield setup
    finally:
        setup.stop.set()
        async with asyncio.timeout(60):
            await task


async def test_one_request_is_one_match_in_the_counters() -> None:
    async with serving(TerminalSetup()) as setup:
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "match/same_person"
        assert setup.compare.calls == [1]
        assert setup.terminal.counters.calls == 1
    counters = setup.terminal.counters
    assert counters.frames.total() == counters.frames_handled
    assert counters.frames[FrameReason.SHOT] >= 1
    assert next(type(event) for event in setup.till.events) is AcceptedEvent
    assert any(isinstance(event, StageEvent) and event.stage == "comparing" for event in setup.till.events)


async def test_no_face_detection_without_a_request() -> None:
    async with serving(TerminalSetup()) as setup:
        await asyncio.sleep(0.05)
        assert setup.analyzer.analyses == 0
        assert setup.terminal.counters.frames[FrameReason.IDLE] >= 1


async def test_no_face_is_undecided_without_a_call() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=300)))
        assert await setup.verdict() == "undecided/no_face"
    assert setup.compare.calls == []
    assert any(isinstance(event, GuidanceEvent) for event in setup.till.events)


async def test_camera_failure_raises_a_condition_that_a_frame_clears() -> None:
    setup = TerminalSetup()
    setup.camera.broken = CameraError("no frame for 2000 ms")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=200)))
        assert await setup.verdict() == "undecided/camera_unavailable"
        assert [c.code for c in setup.terminal.conditions.active] == ["camera_unavailable"]
        setup.camera.broken = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict(2) == "match/same_person"
        assert setup.terminal.conditions.active == ()


async def test_compare_service_is_unreachable_and_returns() -> None:
    away = CompareUnreachable("refused")
    async with serving(TerminalSetup(compare=ScriptedCompare(away, away, away, 93.0))) as setup:
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/compare_unreachable"
        assert [c.code for c in setup.terminal.conditions.active] == ["compare_unreachable"]
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict(2) == "match/same_person"
        assert setup.terminal.conditions.active == ()


async def test_silent_service_is_cancelled_and_its_late_answer_is_ignored() -> None:
    setup = TerminalSetup()
    setup.compare.delay_s = 30
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=400)))
        assert (await setup.verdict()).startswith("undecided/")
    assert setup.compare.cancelled == len(setup.compare.calls) == 1


async def test_unavailable_reference_ends_without_a_call() -> None:
    setup = TerminalSetup()
    setup.compare.reference_error = CompareError("404", code="reference_unreachable")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/reference_unreachable"
    assert setup.compare.calls == []
    assert setup.terminal.counters.calls == 0


@pytest.mark.parametrize("where", ["eye", "compare", "prepare"])
async def test_bug_is_undecided_and_the_terminal_continues(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    setup = TerminalSetup()
    bug = ZeroDivisionError("a bug")
    if where == "eye":
        setup.analyzer.bug = bug
    elif where == "compare":
        setup.compare.answers = [bug, 93.0]
    else:
        setup.compare.reference_error = bug  # type: ignore[assignment] # a bug is no AgentError
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/internal_error"
        setup.analyzer.bug = setup.compare.reference_error = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict(2) == "match/same_person"
    assert "ZeroDivisionError" in caplog.text, "a bug is logged with its traceback"


async def test_second_till_is_busy_and_repeated_bytes_get_the_same_result() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup):
        first = request(budget_ms=400)
        await setup.till.inbox.put(RequestReceived(first))
        await setup.till.inbox.put(RequestReceived(request("r-2", till="till-2")))
        await setup.till.until(lambda: Refusal.BUSY in setup.refusals())
        await setup.verdict()
        await setup.till.inbox.put(RequestReceived(first))
        await setup.verdict(2)
    assert setup.till.delivered[0] is setup.till.delivered[1]
    assert len(setup.claim_store.settled) == 1


@pytest.mark.parametrize("photo_arrives", [True, False])
async def test_slow_photo_host_is_named_and_no_unsent_call_is_counted(photo_arrives: bool) -> None:
    setup, loaded = TerminalSetup(), asyncio.Event()

    async def prepare(_request: Request) -> str:
        await loaded.wait()
        return "photo"

    setup.compare.prepare = prepare  # type: ignore[assignment, method-assign]
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=60_000)))
        await setup.till.until(lambda: setup.analyzer.crops > 1 or bool(setup.till.delivered))
        if photo_arrives:
            loaded.set()
        verdict = await setup.verdict()
    settled = setup.claim_store.settled[-1]
    if photo_arrives:
        assert verdict == "match/same_person" and settled.calls == 1 < settled.asks
    else:
        assert verdict == "undecided/reference_unreachable" and settled.calls == 0
    assert COMPARE_UNREACHABLE not in setup.terminal.conditions.active


async def test_intake_waits_for_no_puback_of_a_repeat_or_of_a_late_cancel() -> None:
    first = request()
    async with serving(TerminalSetup()) as setup:
        await setup.till.inbox.put(RequestReceived(first))
        await setup.verdict()
        setup.till.puback = asyncio.Event()  # the broker is slow from now on
        for inbound in (RequestReceived(first), CancelReceived(first.till, first.request_id)):
            await setup.till.inbox.put(inbound)
        await setup.till.inbox.put(RequestReceived(request(till="till-2")))
        await setup.till.until(
            lambda: any(
                isinstance(e, AcceptedEvent) and e.request.till == "till-2" for e in setup.till.events
            )
        )
        assert [each.request_id for each in setup.till.delivered[:3]] == [first.request_id] * 3
        setup.till.puback.set()


async def test_cancel_reaches_the_open_request_only() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.inbox.put(CancelReceived("till-1", "another id"))
        await setup.till.until(lambda: Refusal.UNKNOWN_REQUEST in setup.refusals())
        await setup.till.inbox.put(CancelReceived("till-1", "r-1"))
        assert await setup.verdict() == "undecided/cancelled"
        await setup.till.inbox.put(CancelReceived("till-1", "r-1"))
        assert await setup.verdict(2) == "undecided/cancelled", "the first stored outcome wins"


async def test_bug_in_the_core_still_gives_one_result(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    async with serving(TerminalSetup()) as setup:
        with monkeypatch.context() as patched:
            patched.setattr("agent.terminal.verification_runner.advance", broken)
            await setup.till.inbox.put(RequestReceived(request()))
            assert await setup.verdict() == "undecided/internal_error"
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict(2) == "match/same_person"
    assert "ZeroDivisionError" in caplog.text


async def test_flood_from_one_till_does_not_block_another() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=60_000)))
        for number in range(40):
            await setup.till.inbox.put(RequestReceived(request(f"flood-{number}")))
        await setup.till.until(lambda: len(setup.refusals()) >= 40)
        assert set(setup.refusals()) == {Refusal.BUSY}, "busy is checked before the rate limit"
        await setup.till.inbox.put(CancelReceived("till-1", "r-1"))
        await setup.verdict()
        await setup.till.inbox.put(RequestReceived(request("one more")))
        await setup.till.until(lambda: setup.refusals()[-1] is Refusal.RATE_LIMITED)
        setup.analyzer.stage = FrameReason.SHOT
        await setup.till.inbox.put(RequestReceived(request("r-2", till="till-2")))
        assert await setup.verdict(2) == "match/same_person"


async def test_a_frame_from_before_the_request_is_no_shot() -> None:
    setup = TerminalSetup()
    async with serving(setup):
        late = replace(request(budget_ms=400), received_ms=RealClock().now_ms() + 250)
        await setup.till.inbox.put(RequestReceived(late))
        await setup.verdict()
    assert setup.analyzer.analyses > 10 and setup.compare.calls == [1]


async def test_missing_assurance_is_assurance_unmet() -> None:
    async with serving(TerminalSetup()) as setup:
        await setup.till.inbox.put(RequestReceived(replace(request(), require=("liveness",))))
        assert await setup.verdict() == "undecided/assurance_unmet"
        assert setup.terminal.open_verification.opened == 1, "the frame tap reserves the frames of this payer"
    assert setup.compare.calls == []


async def test_no_durable_claim_no_call() -> None:
    setup = TerminalSetup()
    setup.claim_store.claim_error = StorageError("disk full")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.until(lambda: Refusal.STORAGE_UNAVAILABLE in setup.refusals())
        assert setup.compare.calls == [] and setup.compare.prepared == 0
        assert [c.code for c in setup.terminal.conditions.active] == ["storage_unavailable"]
        setup.claim_store.claim_error = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        await setup.verdict()
        assert setup.terminal.conditions.active == ()


async def test_a_result_that_cannot_be_stored_is_not_published() -> None:
    setup = TerminalSetup()
    setup.claim_store.settle_error = StorageError("disk full")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.until(lambda: Refusal.STORAGE_UNAVAILABLE in setup.refusals())
        assert setup.till.delivered == []
        (refused,) = [event for event in setup.till.events if isinstance(event, RefusedEvent)]
        assert refused.asks == 1 and "undecided" in refused.detail and "1 API call" in refused.detail
        counters = setup.terminal.counters
        assert (counters.calls, counters.results.total(), counters.refusals.total()) == (1, 0, 1)
        setup.claim_store.settle_error = None
        await setup.till.inbox.put(RequestReceived(request("r-2")))
        assert await setup.verdict() == "match/same_person"


async def test_result_that_cannot_be_encoded_becomes_undecided(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Picky(MemoryClaimStore):
        async def settle(self, result: Result) -> StoredResult:
            if result.comparison is not None:
                raise ValueError("no JSON for this answer")
            return await super().settle(result)

    async with serving(TerminalSetup(claim_store=Picky())) as setup:
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/internal_error"
    assert len(setup.till.delivered) == 1 and "no JSON for this answer" in caplog.text


async def test_bug_during_intake_is_refused_as_not_ready(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = TerminalSetup()
    async with serving(setup):
        with monkeypatch.context() as patched:
            patched.setattr(setup.terminal.budget, "limit_reached", lambda _request: 1 / 0)
            await setup.till.inbox.put(RequestReceived(request()))
            await setup.till.until(lambda: Refusal.NOT_READY in setup.refusals())
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/interrupted", "claimed without a verification"
    assert "ZeroDivisionError" in caplog.text


async def test_repeat_of_a_request_without_a_stored_result_is_interrupted() -> None:
    """The request is claimed, so it is never verified again, and no verification is open."""
    setup = TerminalSetup()
    setup.claim_store.settle_error = StorageError("disk full")
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.till.until(lambda: Refusal.STORAGE_UNAVAILABLE in setup.refusals())
        setup.claim_store.settle_error = None
        await setup.till.inbox.put(RequestReceived(request()))
        assert await setup.verdict() == "undecided/interrupted"
        assert setup.claim_store.settled[-1].calls == LIMITS.max_asks, (
            "the next start counts every possible call"
        )


async def test_stopping_answers_the_open_request_as_interrupted() -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=60_000)))
        await setup.till.until(lambda: bool(setup.till.events))
        setup.stop.set()
        assert await setup.verdict() == "undecided/interrupted"


async def test_retained_request_is_refused() -> None:
    async with serving(TerminalSetup()) as setup:
        await setup.till.inbox.put(RequestReceived(request(epoch="another boot's")))
        await setup.till.until(lambda: Refusal.REQUEST_STALE in setup.refusals())
    assert setup.claim_store.rows == {}


async def test_camera_gets_the_light_of_the_payer_and_the_end() -> None:
    async with serving(TerminalSetup()) as setup:
        await setup.idle(frames=3)
        assert setup.lights == [], "no request, no analysis"
        await setup.till.inbox.put(RequestReceived(request()))
        await setup.verdict()
        await setup.idle(frames=3)
    *lights, end = setup.lights
    assert lights and None not in lights and end is None


async def test_frozen_picture_is_no_live_face() -> None:
    setup = TerminalSetup()
    setup.terminal._frames._check_frame = lambda frame: replace(check_frame(frame), frozen=True)
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=300)))
        assert await setup.verdict() == "undecided/camera_frozen"
    assert setup.compare.calls == []


def test_reason_of_every_error_is_on_the_closed_list() -> None:
    assert reason_of(ModelError("gone", code="model_missing")) is Reason.MODEL_UNUSABLE
    assert reason_of(CompareError("x", code="compare_busy", retry=Retry.BACKOFF)) is Reason.COMPARE_BUSY
    assert reason_of(StorageError("x")) is Reason.INTERNAL_ERROR
