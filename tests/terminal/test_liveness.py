"""Liveness challenge on a running terminal: the till gets prompts, and a call needs the prompted turns."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace

import pytest

from agent.config import Config, LivenessConfig
from agent.config.profile import risks_of
from agent.core.model import Analysis, Assurance, Detection, Frame, Shot
from agent.core.ports import GuidanceEvent, RequestReceived, StageEvent, TillEvent
from agent.core.reasons import Decision, FrameReason, Guidance, Reason
from agent.core.verification_types import Finished, LivenessProgress
from agent.root.wiring import make_settings
from agent.terminal.parts import Ports, Settings
from agent.terminal.results import liveness_of
from agent.terminal.terminal import Terminal
from tests.core.builders import FACE, answer, shot
from tests.core.heads import HEAD, PICTURE, Solid, view
from tests.fakes import (
    EPOCH,
    PacedCamera,
    QueueTill,
    RealClock,
    StagedAnalyzer,
    check_frame,
    request,
)
from tests.terminal.test_terminal import LIMITS, TerminalSetup, serving

STEP = 0.2  # degrees per frame: 0.8 s for a turn
FRAME_MS = 5
REACTION_FRAMES = 250 // FRAME_MS  # a person does not follow a hint at once
TURNS = {Guidance.TURN_LEFT: 32.0, Guidance.TURN_RIGHT: -32.0}


class FrameClock(RealClock):
    """The time since boot, which only frames advance. The timers of the event loop are real."""

    def __init__(self) -> None:
        self.ms = 1_000

    def now_ms(self) -> int:
        return self.ms


class FilmCamera(PacedCamera):
    """The next frame as soon as it is requested, ``FRAME_MS`` after the frame before."""

    def __init__(self, clock: FrameClock) -> None:
        super().__init__()
        self.clock = clock

    async def next_frame(self, after_seq: int) -> Frame:
        await asyncio.sleep(0)
        self.clock.ms += FRAME_MS
        return Frame(None, after_seq + 1, self.clock.ms, 1280, 720)


@dataclass
class Payer(StagedAnalyzer):
    """A payer who follows the hints after a reaction time, STEP by STEP; ``solid``: the head or picture."""

    till: QueueTill = field(default_factory=QueueTill)
    solid: Solid = HEAD
    follows: bool = True
    yaw: float = 0.0
    aims: deque[float] = field(default_factory=lambda: deque([0.0], REACTION_FRAMES))

    def __post_init__(self) -> None:
        super().__init__()

    def analyze(self, frame: Frame) -> Analysis:
        hints = [event.guidance for event in self.till.events if isinstance(event, GuidanceEvent)]
        self.aims.append(TURNS.get(hints[-1], 0.0) if hints and self.follows else 0.0)
        self.yaw += max(-STEP, min(STEP, self.aims[0] - self.yaw))
        face = Detection(FACE.box, view(self.solid, yaw=round(self.yaw, 1)), 0.95)
        if abs(self.yaw) > 8:
            return Analysis(frame.seq, frame.captured_ms, FrameReason.TURNED, face, 1)
        good = shot(frame.seq)
        sent = Shot(frame, face, good.quality, 1)
        return Analysis(frame.seq, frame.captured_ms, FrameReason.SHOT, face, 1, good.quality, sent)


def challenged(clock: FrameClock, **how: object) -> TerminalSetup:
    setup = TerminalSetup()
    setup.analyzer = Payer(till=setup.till, **how)  # type: ignore[arg-type]
    ports = Ports(
        clock, FilmCamera(clock), setup.analyzer, setup.compare, setup.till, setup.claim_store, check_frame
    )
    settings = Settings(EPOCH, replace(LIMITS, turns=2), 50, Assurance(), assurances=frozenset({"liveness"}))
    setup.terminal = Terminal(ports, settings)
    return setup


def received(clock: FrameClock, budget_ms: int, *, require: tuple[str, ...] = ()) -> RequestReceived:
    asked = request(budget_ms=budget_ms)
    return RequestReceived(replace(asked, require=require, received_ms=clock.now_ms()))


def prompts(events: list[TillEvent]) -> list[Guidance]:
    return [
        event.guidance for event in events if isinstance(event, GuidanceEvent) and event.guidance in TURNS
    ]


async def test_challenge_with_prompted_turns_matches_with_liveness_passed() -> None:
    clock = FrameClock()
    async with serving(challenged(clock)) as setup:
        await setup.till.inbox.put(received(clock, 15_000, require=("liveness",)))
        await setup.till.until(lambda: bool(setup.till.delivered), timeout_s=60)
    assert setup.till.delivered[0].payload == b"match/same_person"
    assert setup.claim_store.settled[0].assurance.liveness == "passed"
    assert len(prompts(setup.till.events)) >= 2, "more after a pause of a busy machine"
    stages = [event.stage for event in setup.till.events if isinstance(event, StageEvent)]
    assert stages[0] == "challenging" and "holding" in stages, "again after a pause of a busy machine"


@pytest.mark.parametrize(
    "how", [{"follows": False}, {"solid": PICTURE}], ids=["stands still", "is a picture"]
)
async def test_challenge_without_prompted_turns_makes_no_call(how: dict[str, object]) -> None:
    clock = FrameClock()
    async with serving(challenged(clock, **how)) as setup:
        await setup.till.inbox.put(received(clock, 2_500))
        await setup.till.until(lambda: bool(setup.till.delivered), timeout_s=60)
    assert setup.till.delivered[0].payload == b"undecided/liveness_not_completed"
    assert setup.claim_store.settled[0].assurance.liveness == "not_checked"
    assert setup.compare.calls == []


def test_config_sets_turns_and_assurances() -> None:
    on, off = Config(liveness=LivenessConfig(mode="challenge", turns=3)), Config()
    assert (make_settings(on, "e").limits.turns, make_settings(off, "e").limits.turns) == (3, 0)
    assert make_settings(on, "e").assurances == {"liveness"}
    assert not make_settings(off, "e").assurances
    assert (risks_of(on)["liveness_off"], risks_of(off)["liveness_off"]) == (False, True)


def test_passed_challenge_without_a_comparison_is_no_passed_liveness() -> None:
    """The faces of the challenge are compared immediately before the call."""
    done = Finished(Decision.UNDECIDED, Reason.TIMED_OUT, asks=0, liveness=LivenessProgress(passed=True))
    assert liveness_of(done) == "not_checked"
    assert liveness_of(replace(done, comparison=answer(90.0))) == "passed"
