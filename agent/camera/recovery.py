"""What to do when frames stay away: the ladder. Pure; source.py does what is decided here.

When a stream stands still: each remedy of the grabber, the gentlest first; then close and open again.
What only a new process can mend ends at the top: a call into the driver that does not come back, too many
threads left behind in it, or a third stall without a sound run between. Every step is bounded: it has an end
by which either frames come, or the next one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

STEP_MS = 1_000  # for a remedy to bring a frame
OPEN_MS = 20_000  # a stream may take its 5 s, a name that cannot be resolved longer
CLOSE_MS = 3_000  # also for a blocked grab to end after a close
STALLS_MAX = 3  # in a row
LEFT_MAX = 4  # threads left behind in a driver; a step under way is one of them
SOUND_MS = 10_000  # a stream that ran this long is sound: what was before does not count any more
POLL_MS = 1_500  # whoever waits for frames looks at the ladder at least this often, a busy machine included


class RecoveryStep(StrEnum):
    """What the capture thread is at."""

    OPENING = "open"
    GRABBING = "grab"
    CLOSING = "close"
    RESTING = "rest"  # before it opens again
    ENDED = "end"  # for good: opening again would not help


@dataclass(frozen=True, slots=True)
class FrameTiming:
    """The capture as it is seen from outside."""

    doing: RecoveryStep
    since_ms: int  # when it began that
    rest_ms: int = 0  # how long it rests
    stalls: int = 0  # in a row
    frame_ms: int = 0  # when the newest frame was taken; 0: none yet
    left: int = 0  # threads left behind in the driver

    @property
    def quiet_since_ms(self) -> int:
        """No frame since; a stream that was just opened has had no time to give one."""
        return max(self.frame_ms, self.since_ms)


@dataclass(frozen=True, slots=True)
class RecoveryState:
    """Where a recovery stands. ``rungs`` taken in this stall, the last one at ``taken_ms``."""

    rungs: int = 0
    taken_ms: int = 0
    hopeless: str = ""  # why only a new process helps


@dataclass(frozen=True, slots=True)
class RecoveryRules:
    stall_ms: int
    remedies: int  # how many the grabber has


def next_step(
    ladder: RecoveryState, sight: FrameTiming, rules: RecoveryRules, now_ms: int
) -> tuple[RecoveryState, int | None]:
    """The next state, and the rung to take now: a remedy's number, or ``remedies``: open it again."""
    if sight.doing is RecoveryStep.GRABBING and sight.since_ms <= sight.frame_ms > now_ms - rules.stall_ms:
        return RecoveryState(), None  # frames flow, whatever was before
    hung = _hung(ladder, sight, rules, now_ms)
    if hung:
        return replace(ladder, hopeless=hung), None
    hopeless = f"it stalled {sight.stalls} times in a row" if sight.stalls >= STALLS_MAX else ""
    if sight.doing is not RecoveryStep.GRABBING or now_ms - sight.quiet_since_ms < rules.stall_ms:
        return RecoveryState(hopeless=hopeless), None
    if ladder.rungs and now_ms < _step_end_ms(ladder, rules):
        return replace(ladder, hopeless=hopeless), None
    return RecoveryState(ladder.rungs + 1, now_ms, hopeless), ladder.rungs


def bounded_until_ms(ladder: RecoveryState, sight: FrameTiming, rules: RecoveryRules) -> int:
    """When the step that is under way has come to an end, one way or the other; 0: none is under way."""
    if ladder.hopeless:
        return 0
    match sight.doing:
        case RecoveryStep.OPENING:
            end_ms = sight.since_ms + OPEN_MS
        case RecoveryStep.CLOSING:
            end_ms = sight.since_ms + CLOSE_MS
        case RecoveryStep.RESTING:
            end_ms = sight.since_ms + sight.rest_ms
        case RecoveryStep.GRABBING if ladder.rungs:
            end_ms = _step_end_ms(ladder, rules)
        case RecoveryStep.GRABBING:
            end_ms = sight.quiet_since_ms + rules.stall_ms
        case RecoveryStep.ENDED:
            return 0
    return end_ms + POLL_MS


def _step_end_ms(ladder: RecoveryState, rules: RecoveryRules) -> int:
    return ladder.taken_ms + (STEP_MS if ladder.rungs <= rules.remedies else CLOSE_MS)


def _hung(ladder: RecoveryState, sight: FrameTiming, rules: RecoveryRules, now_ms: int) -> str:
    """What does not come back; empty when nothing is missed."""
    limit_ms = {RecoveryStep.OPENING: OPEN_MS, RecoveryStep.CLOSING: CLOSE_MS}.get(sight.doing)
    if limit_ms is not None and now_ms - sight.since_ms >= limit_ms:
        return f"{sight.doing} does not return"
    opened_again = sight.since_ms > ladder.taken_ms
    if ladder.rungs > rules.remedies and not opened_again and now_ms >= _step_end_ms(ladder, rules):
        return "grab does not return"
    return f"{sight.left} threads were left behind in its driver" if sight.left >= LEFT_MAX else ""


# --- when a new process is worth it ---------------------------------------------------------------

_SERVED_MS = 60_000  # of pictures: then ending at once is no restart loop
_PATIENCE_MS = 600_000  # for a process that had less: serve without a camera, say so, try again that seldom


def exit_due_ms(started_ms: int, pictures_ms: int, now_ms: int) -> int:
    """When a process whose camera only a new one can mend may end.

    At once if it had pictures for a minute; else ten minutes after its start. A camera that is broken for
    good makes a terminal that says so, started anew six times an hour, not one that is away half of the time.
    """
    return now_ms if pictures_ms >= _SERVED_MS else started_ms + _PATIENCE_MS
