"""States, events, effects and limits of one verification, as values. The rules are in ``verification``."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.challenge import Plan, Progress
from agent.core.model import Analysis, Comparison, Shot
from agent.core.reasons import Decision, Reason
from agent.errors import Retry


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers the rules use; from config, once per verification."""

    hold_ms: int = 600
    ask_timeout_ms: int = 2_500
    retry_pause_ms: int = 400
    min_ask_ms: int = 300  # the API answers in 200 ms at best; a later question is money for nothing
    max_asks: int = 3
    excellent_score: float = 80.0  # 0–100, ends the hold as soon as a second frame agrees
    jitter: float = 0.0  # 0–1, drawn once per verification: spreads the backoff of many terminals
    turns: int = 0  # of the liveness challenge; 0: no liveness is asked for
    plans: tuple[Plan, ...] = ()  # drawn once per verification: one challenge per try
    # a match is decided at once when the newest frame is no older; otherwise one more frame confirms it
    fresh_ms: int = 200
    confirm_ms: int = 2_000  # of frames after the answer; then the face is lost


@dataclass(frozen=True, slots=True)
class LivenessProgress:
    """What is proved about the person on this track; with ``turns``, nothing is asked before ``passed``."""

    passed: bool = False
    tries: int = 0  # challenges begun: each is another one


@dataclass(frozen=True, slots=True)
class Sight:
    """Whether the frames since the shot leave a gap in which the payer may have changed."""

    newest_ms: int  # capture time of the newest frame
    is_open: bool = False  # a gap or an unidentified face; only a frame of the shot's track ends it


# --- states ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seeking:
    """No usable shot yet. ``newest`` is what the deadline would report now."""

    deadline_ms: int
    asked: int  # never reset: it numbers the questions, so an old answer cannot pass as new
    newest: Reason
    not_before_ms: int  # shots captured earlier do not count
    resigned: bool = False
    live: LivenessProgress = LivenessProgress()


@dataclass(frozen=True, slots=True)
class Challenging:
    """Somebody stands there and is asked to move his head."""

    deadline_ms: int
    asked: int
    track: int
    progress: Progress
    resigned: bool = False
    live: LivenessProgress = LivenessProgress()


@dataclass(frozen=True, slots=True)
class Holding:
    """A good shot is in hand; until ``until_ms`` a better one may replace it."""

    deadline_ms: int
    asked: int
    best: Shot
    until_ms: int
    sight: Sight
    resigned: bool = False
    live: LivenessProgress = LivenessProgress()


@dataclass(frozen=True, slots=True)
class Comparing:
    """Question number ``asked`` is on the wire."""

    deadline_ms: int
    asked: int
    best: Shot
    until_ms: int  # this question's own time-out
    sight: Sight
    trouble: Reason | None = None  # what went wrong with an earlier question
    resigned: bool = False
    live: LivenessProgress = LivenessProgress()
    answer: CallAnswered | None = None  # a match that waits for a frame to confirm the payer


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pause before the same shot is asked about again."""

    deadline_ms: int
    asked: int
    best: Shot
    until_ms: int
    sight: Sight
    trouble: Reason
    resigned: bool = False
    live: LivenessProgress = LivenessProgress()


@dataclass(frozen=True, slots=True)
class Finished:
    decision: Decision
    reason: Reason
    asks: int
    comparison: Comparison | None = None
    api_code: int | None = None
    live: LivenessProgress = LivenessProgress()


State = Seeking | Challenging | Holding | Comparing | Waiting | Finished


# --- events: what happened, and when --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticked:
    at_ms: int


@dataclass(frozen=True, slots=True)
class FrameAnalyzed:
    """The eye has looked at a frame."""

    at_ms: int
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class CallAnswered:
    at_ms: int
    ask: int
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class CallFailed:
    at_ms: int
    ask: int
    reason: Reason
    retry: Retry
    api_code: int | None = None


@dataclass(frozen=True, slots=True)
class InputFailed:
    """Something no verification can do without is not to be had: the enrolled photo, or the eye's model."""

    at_ms: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class CameraFailed:
    at_ms: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Cancelled:
    at_ms: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The terminal is stopping."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class InternalFailure:
    """Something that is not an ``AgentError`` was raised: a bug, already logged with its traceback."""

    at_ms: int


Event = (
    Ticked
    | FrameAnalyzed
    | CallAnswered
    | CallFailed
    | InputFailed
    | CameraFailed
    | Cancelled
    | Interrupted
    | InternalFailure
)


# --- effects: what to do about it -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartCall:
    """Crop this shot and put question ``number``."""

    number: int
    shot: Shot
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Question ``number`` is nobody's any more: cancel it, close its connection."""

    number: int


@dataclass(frozen=True, slots=True)
class Report:
    finished: Finished


Effect = StartCall | CancelCall | Report
Step = tuple[State, tuple[Effect, ...]]
