"""The screen for the payer as a state machine: events of the verification in, the screen out. Pure.

``advance(screen, event, at_ms)`` returns the next screen. Time is data (``at_ms``, boot clock). The caller
waits until ``wake_at(screen)`` and then calls ``advance`` without an event. The rules:

1. A picture is shown during an open verification only (``Guiding``), and never before its start.
2. ``Guiding`` has exactly one hint. The hints are those of the verification: this module selects none.
3. An ending is shown for ``ENDING_MS``, then the screen is idle. An end that the till ordered shows nothing.
4. Without a result the screen is idle at the deadline: a lost event leaves no picture on the screen.
5. Only events of the shown request change the screen. A repeated ``accepted`` changes nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from agent.core.model import Request, Result
from agent.core.ports import AcceptedEvent, GuidanceEvent, RefusedEvent, StageEvent, TillEvent
from agent.core.reasons import Decision, Guidance, Reason

ENDING_MS = 1_700  # with the time to the browser, the screen is blank within two seconds

ScreenEvent = TillEvent | Result

# The payer can do something about these: a next try may succeed.
_WORTH_A_TRY = frozenset(
    {
        Reason.NO_FACE,
        Reason.MULTIPLE_FACES,
        Reason.FACE_UNUSABLE,
        Reason.FACE_LOST,
        Reason.FACE_SWAPPED,
        Reason.LIVENESS_NOT_COMPLETED,
        Reason.TIMED_OUT,
        Reason.INTERRUPTED,
        Reason.COMPARE_BUSY,
    }
)


class Ending(StrEnum):
    """What the payer sees at the end. The screen names no reason: bystanders can read the screen."""

    RECOGNISED = "recognised"
    NOT_THIS_TIME = "not_this_time"
    ANOTHER_WAY = "another_way"


@dataclass(frozen=True, slots=True)
class Idle:
    """No open verification: no picture."""


@dataclass(frozen=True, slots=True)
class Guiding:
    """An open verification, with its picture and one hint."""

    till: str
    request_id: str
    locale: str | None
    began_ms: int
    until_ms: int  # deadline of the request
    hint: Guidance = Guidance.LOOK_HERE


@dataclass(frozen=True, slots=True)
class Ended:
    """The ending of a verification, without a picture."""

    ending: Ending
    locale: str | None
    until_ms: int


Screen = Idle | Guiding | Ended


def wake_at(screen: Screen) -> int | None:
    """The time at which the screen changes without an event; None: never."""
    match screen:
        case Idle():
            return None
        case Guiding() | Ended():
            return screen.until_ms
        case _:
            assert_never(screen)


def advance(screen: Screen, event: ScreenEvent | None, at_ms: int) -> Screen:
    """The next screen; the same object without a change. ``event`` None: time has passed."""
    due_ms = wake_at(screen)
    if due_ms is not None and at_ms >= due_ms:
        screen = Idle()
    match event:
        case None | StageEvent():  # the hints show the progress
            return screen
        case AcceptedEvent(request=request):
            return screen if _shows(screen, request.till, request.request_id) else _begin(request, at_ms)
        case GuidanceEvent(request=request, guidance=guidance):
            if isinstance(screen, Guiding) and _shows(screen, request.till, request.request_id):
                return screen if screen.hint is guidance else replace(screen, hint=guidance)
            return screen
        case RefusedEvent(till=till, request_id=request_id, asks=asks):
            # only the refusal of an accepted request has a number of calls: its result was not stored
            if asks is None or not isinstance(screen, Guiding) or not _shows(screen, till, request_id):
                return screen
            return Ended(Ending.ANOTHER_WAY, screen.locale, at_ms + ENDING_MS)
        case Result(request=request):
            if not isinstance(screen, Guiding) or not _shows(screen, request.till, request.request_id):
                return screen
            ending = ending_of(event)
            return Idle() if ending is None else Ended(ending, screen.locale, at_ms + ENDING_MS)
        case _:
            assert_never(event)


def ending_of(result: Result) -> Ending | None:
    """The ending of a stored result; None: the till ended the verification, and the cashier knows why."""
    if result.decision is Decision.MATCH:
        return Ending.RECOGNISED
    if result.reason is Reason.CANCELLED:
        return None
    return Ending.NOT_THIS_TIME if result.reason in _WORTH_A_TRY else Ending.ANOTHER_WAY


def _begin(request: Request, at_ms: int) -> Screen:
    if at_ms >= request.deadline_ms:
        return Idle()
    return Guiding(request.till, request.request_id, request.locale, at_ms, request.deadline_ms)


def _shows(screen: Screen, till: str, request_id: str | None) -> bool:
    return isinstance(screen, Guiding) and (screen.till, screen.request_id) == (till, request_id)
