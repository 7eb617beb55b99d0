"""States, events, effects and limits of one verification, as values. The rules are in ``verification``."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.challenge import ChallengeProgress
from agent.core.challenge_plan import Plan
from agent.core.model import Analysis, Comparison, Shot
from agent.core.reasons import Decision, Reason
from agent.errors import Retry


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers of the rules; taken from the config once per verification."""

    hold_ms: int = 600
    ask_timeout_ms: int = 2_500
    retry_pause_ms: int = 400
    min_ask_ms: int = 300  # the API needs at least 200 ms; a later API call cannot be answered in time
    max_asks: int = 3
    excellent_score: float = 80.0  # 0–100; ends the hold when a second frame confirms the track
    jitter: float = 0.0  # 0–1, drawn once per verification: spreads the backoff of many terminals
    turns: int = 0  # of the liveness challenge; 0: no challenge
    plans: tuple[Plan, ...] = ()  # drawn once per verification: one challenge per attempt
    fresh_ms: int = 200  # age of the newest frame up to which a match needs no further frame
    confirm_ms: int = 2_000  # from the answer to the frame that confirms a match; then the face is lost


@dataclass(frozen=True, slots=True)
class LivenessProgress:
    """The liveness of the face on this track. With ``turns``, no API call is made before ``passed``."""

    passed: bool = False
    attempts: int = 0  # challenges that were started, each with a different plan


@dataclass(frozen=True, slots=True)
class TrackGap:
    """Whether the frames since the shot have a gap, in which another person can replace the payer."""

    newest_ms: int  # capture time of the newest frame
    is_open: bool = False  # a gap or an unidentified face; only a frame of the shot's track closes the gap


# --- states ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Context:
    """The fields that each open state carries on to the next state."""

    deadline_ms: int
    asks: int = 0  # API calls started; numbers the calls and is never reset, so an old answer is detected
    clock_retry_used: bool = False
    liveness: LivenessProgress = LivenessProgress()


@dataclass(frozen=True, slots=True)
class Seeking:
    """No usable shot yet. ``newest`` is the reason that a deadline would publish now."""

    context: Context
    newest: Reason
    not_before_ms: int  # shots with an earlier capture time do not count


@dataclass(frozen=True, slots=True)
class Challenging:
    """A face is present and a liveness challenge runs."""

    context: Context
    track: int
    progress: ChallengeProgress


@dataclass(frozen=True, slots=True)
class Holding:
    """A good shot is stored; until ``until_ms`` a better shot may replace it."""

    context: Context
    best: Shot
    until_ms: int
    gap: TrackGap


@dataclass(frozen=True, slots=True)
class Comparing:
    """API call number ``context.asks`` is running."""

    context: Context
    best: Shot
    until_ms: int  # time limit of this call
    gap: TrackGap
    last_error: Reason | None = None  # of an earlier call
    answer: CallAnswered | None = None  # a match that waits for a frame which confirms the payer


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pause before the next API call with the same shot."""

    context: Context
    best: Shot
    until_ms: int
    gap: TrackGap
    last_error: Reason


@dataclass(frozen=True, slots=True)
class Finished:
    decision: Decision
    reason: Reason
    asks: int  # API calls that were started
    comparison: Comparison | None = None
    api_code: int | None = None
    liveness: LivenessProgress = LivenessProgress()


OpenState = Seeking | Challenging | Holding | Comparing | Waiting
State = OpenState | Finished


# --- events: facts with their time ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticked:
    at_ms: int


@dataclass(frozen=True, slots=True)
class FrameAnalyzed:
    at_ms: int
    analysis: Analysis


@dataclass(frozen=True, slots=True)
class CallAnswered:
    at_ms: int
    number: int
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class CallFailed:
    at_ms: int
    number: int
    reason: Reason
    retry: Retry
    api_code: int | None = None


@dataclass(frozen=True, slots=True)
class InputFailed:
    """A required input failed: the reference photo or the detector."""

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
    """An exception that is not an ``AgentError``: a bug, already logged with its traceback."""

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


# --- effects: orders to the runner ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartCall:
    """Crop this shot and start API call ``number``."""

    number: int
    shot: Shot
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class CancelCall:
    """API call ``number`` is not needed any more: cancel the call and close its connection."""

    number: int


@dataclass(frozen=True, slots=True)
class Report:
    finished: Finished


Effect = StartCall | CancelCall | Report
Step = tuple[State, tuple[Effect, ...]]
