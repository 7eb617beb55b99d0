"""The pace of a terminal: detector width and analyzed frames a second, for the measured speed. Pure.

A slow machine is no reason to refuse a payer. At the start the terminal measures one detection. It uses the
first step of this table at which a detection in a whole frame takes at most a third of the frame period. The
rest of the period is for capture, measures, crop and messages. If no step fits, the last step is used.

| step | width of the detector's input | analyzed frames a second, at most | followed frames |
|---|---|---|---|
| 1 | as configured | as configured | 2 of 3 at 10 fps |
| 2 | as configured | 10 | 2 of 3 |
| 3 | 0.8 (256 of 320) | 10 | 2 of 3 |
| 4 | 0.6 (192 of 320) | 10 | 2 of 3 |
| 5 | 0.6 | 5 | 1 of 2 |
| 6 | 0.5 (160 of 320) | 5 | 1 of 2 |
| 7 | 0.5 | 3 | none |
| 8 | 0.5 | 1 | none |

A smaller input finds far faces later, so the rate goes down to 10 first. The rate of 1 is the lowest one that
was tried with the rules of continuity. The whole frame is searched at least every 300 ms, because a second
person must not stay undetected for longer. At 3 frames a second and below, each analyzed frame is a whole
one, and the period is the longest time without a search.
"""

import math
from dataclasses import dataclass

_SHARE_OF_PERIOD = 1 / 3
# (share of the configured width, frames a second at most), each step cheaper than the one before
_STEPS = (
    (1.0, math.inf),
    (1.0, 10.0),
    (0.8, 10.0),
    (0.6, 10.0),
    (0.6, 5.0),
    (0.5, 5.0),
    (0.5, 3.0),
    (0.5, 1.0),
)
# Of the time of a detection: scaling the frame does not depend on the width, the network on its area.
# Measured: a width of 160 takes 0.42 of the time of 320.
_FIXED_SHARE, _AREA_SHARE = 0.2, 0.8


@dataclass(frozen=True, slots=True)
class Pace:
    """The detector width and the rate in use.

    ``detection_ms``: measured, one detection at the configured width; None: not measured.
    """

    width_px: int
    fps: float
    detection_ms: float | None = None
    is_reduced: bool = False

    @property
    def period_ms(self) -> float:
        return 1_000.0 / self.fps


def choose_pace(detection_ms: float, width_px: int, fps: float, *, may_reduce: bool = True) -> Pace:
    """The pace for a measured detection.

    Args:
        detection_ms: one detection in a whole frame at ``width_px``. A value that is not finite or not
            positive changes nothing.
        width_px: the configured width of the detector's input, which is the largest one.
        fps: the configured rate of the camera, which is the highest one.
        may_reduce: False: width and rate as configured, with the measured time.
    """
    if not may_reduce:
        return Pace(width_px, fps, detection_ms)
    if not (math.isfinite(detection_ms) and detection_ms > 0):
        return Pace(width_px, fps)
    for share, rate in _STEPS:
        pace = Pace(
            round(width_px * share), min(fps, rate), detection_ms, (share, min(fps, rate)) != (1.0, fps)
        )
        if expected_ms(detection_ms, share) <= _SHARE_OF_PERIOD * pace.period_ms:
            break
    return pace


def expected_ms(detection_ms: float, share: float) -> float:
    """The time of a detection at a share of the width, 0–1, from its time at the whole width."""
    return detection_ms * (_FIXED_SHARE + _AREA_SHARE * share * share)
