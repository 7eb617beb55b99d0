"""The recovery rules for a camera without frames. Pure; source.py executes the decisions.

When no frames arrive: each remedy of the backend in turn, the mildest first; then close and open again. Three
cases need a new process and are unrecoverable here: a driver call that does not return, too many abandoned
threads, and a third stall without a stable run between. Each step has a time limit; then either frames arrive
or the next step is due.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from agent.texts import Text

STEP_MS = 1_000  # for a remedy to bring a frame
OPEN_MS = 20_000  # a stream may take its 5 s; a name that cannot be resolved takes longer
CLOSE_MS = 3_000  # also for a blocked grab to end after a close
STALLS_MAX = 3  # in a row
ABANDONED_MAX = 4  # threads that hang in a driver; the thread of a running step counts
STABLE_MS = 10_000  # after a run of this length earlier failures do not count any more
POLL_MS = 1_500  # the frame loop calls next_step at least this often, also on a busy machine


class CapturePhase(StrEnum):
    """The present activity of the capture thread."""

    OPENING = "open"
    GRABBING = "grab"
    CLOSING = "close"
    PAUSED = "pause"  # before opening again
    ENDED = "end"  # final: opening again does not help


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """The observable state of the capture thread."""

    phase: CapturePhase
    since_ms: int  # start of the phase
    pause_ms: int = 0  # duration of PAUSED
    stalls: int = 0  # in a row
    frame_ms: int = 0  # capture time of the newest frame; 0: no frame yet
    abandoned: int = 0  # threads that hang in the driver

    @property
    def quiet_since_ms(self) -> int:
        """Start of the time without a frame; not before the start of the phase."""
        return max(self.frame_ms, self.since_ms)


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """The recovery of one stall so far. ``steps``: number of steps taken, the last at ``last_step_ms``."""

    steps: int = 0
    last_step_ms: int = 0
    unrecoverable: Text | None = None  # the reason why only a new process helps


@dataclass(frozen=True, slots=True)
class RecoveryRules:
    """The time that counts as a stall, and the measures that the backend offers."""

    stall_ms: int
    remedies: int  # number of remedies of the backend


def next_step(
    state: RecoveryState, status: CaptureStatus, rules: RecoveryRules, now_ms: int
) -> tuple[RecoveryState, int | None]:
    """The next state, and the step to take now: the number of a remedy, or ``remedies`` to open again."""
    is_grabbing = status.phase is CapturePhase.GRABBING
    if is_grabbing and status.since_ms <= status.frame_ms > now_ms - rules.stall_ms:
        return RecoveryState(), None  # frames arrive
    hung_call = _hung_call(state, status, rules, now_ms)
    if hung_call:
        return replace(state, unrecoverable=hung_call), None
    stalled = Text("detail.camera_stalls", stalls=status.stalls)
    unrecoverable = stalled if status.stalls >= STALLS_MAX else None
    if not is_grabbing or now_ms - status.quiet_since_ms < rules.stall_ms:
        return RecoveryState(unrecoverable=unrecoverable), None
    if state.steps and now_ms < _step_end_ms(state, rules):
        return replace(state, unrecoverable=unrecoverable), None
    return RecoveryState(state.steps + 1, now_ms, unrecoverable), state.steps


def bounded_until_ms(state: RecoveryState, status: CaptureStatus, rules: RecoveryRules) -> int:
    """The time by which the running step has ended, with or without success; 0 without a running step."""
    if state.unrecoverable:
        return 0
    match status.phase:
        case CapturePhase.OPENING:
            end_ms = status.since_ms + OPEN_MS
        case CapturePhase.CLOSING:
            end_ms = status.since_ms + CLOSE_MS
        case CapturePhase.PAUSED:
            end_ms = status.since_ms + status.pause_ms
        case CapturePhase.GRABBING if state.steps:
            end_ms = _step_end_ms(state, rules)
        case CapturePhase.GRABBING:
            end_ms = status.quiet_since_ms + rules.stall_ms
        case CapturePhase.ENDED:
            return 0
    return end_ms + POLL_MS


def _step_end_ms(state: RecoveryState, rules: RecoveryRules) -> int:
    return state.last_step_ms + (STEP_MS if state.steps <= rules.remedies else CLOSE_MS)


def _hung_call(state: RecoveryState, status: CaptureStatus, rules: RecoveryRules, now_ms: int) -> Text | None:
    """The call that does not return; None when no call is overdue."""
    limit_ms = {CapturePhase.OPENING: OPEN_MS, CapturePhase.CLOSING: CLOSE_MS}.get(status.phase)
    if limit_ms is not None and now_ms - status.since_ms >= limit_ms:
        return Text("detail.camera_call_hangs", call=status.phase)
    opened_again = status.since_ms > state.last_step_ms
    if state.steps > rules.remedies and not opened_again and now_ms >= _step_end_ms(state, rules):
        return Text("detail.camera_call_hangs", call="grab")
    abandoned = Text("detail.camera_threads_hang", threads=status.abandoned)
    return abandoned if status.abandoned >= ABANDONED_MAX else None


# --- the exit of a process with an unrecoverable camera --------------------------------------------

_SERVED_MS = 60_000  # of frames: an exit after this is no restart loop
_WITHOUT_FRAMES_MS = 600_000  # a process with fewer frames runs this long and reports the fault


def exit_due_ms(started_ms: int, frames_ms: int, now_ms: int) -> int:
    """The time when a process with an unrecoverable camera may end.

    At once after a minute of frames; otherwise ten minutes after the start. So a terminal with a broken
    camera reports the fault and restarts six times an hour. With an exit at once, the terminal would be
    absent half of the time.
    """
    return now_ms if frames_ms >= _SERVED_MS else started_ms + _WITHOUT_FRAMES_MS
