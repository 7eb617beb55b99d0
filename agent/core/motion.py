"""Continuity of the motion of a head, from the capture times and the yaw of its frames. Pure.

A living head passes through the poses between two poses. A picture that replaces another picture does not.
Measured: films of people who move and talk change their yaw by at most 0.12 between two frames at 10 frames a
second (docs/explanation/attacks.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

MAX_STEP = 0.2  # yaw (``geometry.Pose``) from one frame to the next; more is a jump
# The motion within this time counts as one step, too: a picture that fades into another picture within some
# frames jumps. A longer time would refuse fast heads: 0.2 in 100 ms is about 200 degrees a second. Each end
# of such a step is the mean of two frames: otherwise a camera with more frames would refuse more heads,
# because a single frame out of more frames is more often far off by noise.
_STEP_MS = 100
# The longest frame period of a track without a gap (``FaceTracker``). A slower camera gives a turned face no
# track number.
_TRACKED_MS = 300
SLOWEST_MS = 600  # two consecutive frame periods above this limit: no challenge is possible
_MISSING_AFTER_PERIODS = 1.7  # of the shortest period of the attempt: after that, a frame is missing


@dataclass(frozen=True, slots=True)
class Motion:
    """The newest frames of one attempt.

    ``frames``: (capture time, yaw), oldest first; those within 100 ms of the newest one and the frame before
    them, at least the last three, or all if there are fewer.
    """

    frames: tuple[tuple[int, float], ...]
    shortest_ms: int = 0  # the shortest frame period of the attempt; 0 before the second frame
    last_ms: int = 0  # the last frame period
    late_frames: int = 0  # consecutive frames with a period above ``SLOWEST_MS``
    has_jumped: bool = False  # between the last frames

    @property
    def is_too_slow(self) -> bool:
        return self.late_frames >= 2

    @property
    def has_paused(self) -> bool:
        """Whether a frame is missing before the newest frame, so that a part of the motion is unknown."""
        return self.last_ms > max(_TRACKED_MS, min(SLOWEST_MS, _MISSING_AFTER_PERIODS * self.shortest_ms))

    @property
    def is_low_rate(self) -> bool:
        """Whether the frame period alone explains why a face has no track number."""
        return self.last_ms > _TRACKED_MS and not self.has_paused

    def moved(self, yaw: float, captured_ms: int) -> Motion:
        """The motion with one more frame. A frame that is not newer counts as a jump."""
        newest_ms, _ = self.frames[-1]
        period_ms = captured_ms - newest_ms
        if period_ms <= 0:
            return Motion(self.frames, self.shortest_ms, self.last_ms, self.late_frames, has_jumped=True)
        frames = (*self.frames, (captured_ms, yaw))
        recent_count = sum(captured_ms - at_ms <= _STEP_MS for at_ms, _ in frames)
        return Motion(
            frames[-max(3, recent_count + 1) :],
            min(period_ms, self.shortest_ms or period_ms),
            period_ms,
            self.late_frames + 1 if period_ms > SLOWEST_MS else 0,
            has_jumped=_has_jumped(frames),
        )


def _has_jumped(frames: tuple[tuple[int, float], ...]) -> bool:
    """Whether the yaw of the newest frame is too far from that of the frame before, or of 100 ms before."""
    yaws = [yaw for _, yaw in frames]
    newest_ms, _ = frames[-1]
    means = [(earlier + later) / 2 for earlier, later in pairwise(yaws)]
    recent_means = [
        mean for (at_ms, _), mean in zip(frames[1:], means, strict=True) if newest_ms - at_ms <= _STEP_MS
    ]
    return not (
        abs(yaws[-1] - yaws[-2]) <= MAX_STEP
        and all(abs(recent_means[-1] - mean) <= MAX_STEP for mean in recent_means)
    )
