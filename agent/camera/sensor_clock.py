"""When the sensor took a picture, on the clock everything else lives by."""

from __future__ import annotations

import logging
import time

from agent.core.ports import Clock

log = logging.getLogger(__name__)

_PLAUSIBLE_NS = 2_000_000_000  # the first picture after a start is no older than that
_AHEAD_NS = 5_000_000  # a stamp may lie this much in the future: two clocks are read one after the other


class SensorClock:
    """From SensorTimestamp (ns) to ``Clock.now_ms``.

    libcamera says "since boot"; the Pi's receiver stamps with CLOCK_MONOTONIC, which stands still while the
    machine sleeps. Which one it is, the first picture tells, and from then on it is believed: a picture that
    comes late is called as old as it is, never new. A stamp of neither clock is not used at all, and pictures
    then count as taken when they arrive.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._source: int | None = None
        self._is_known = False

    def begin(self) -> None:
        """The camera was started: its next picture tells the clock."""
        self._is_known = False

    def captured_ms(self, stamp_ns: object) -> int:
        """When the picture was taken that arrives now. Never in the future.

        Args:
            stamp_ns: SensorTimestamp, or whatever stands in its place.
        """
        now_ms = self._clock.now_ms()
        stamp = stamp_ns if isinstance(stamp_ns, int) and not isinstance(stamp_ns, bool) else None
        if not self._is_known:
            self._source, self._is_known = _clock_of(stamp), True
            if self._source is None:
                log.warning("sensor_clock_unknown")
        if self._source is None or stamp is None:
            return now_ms
        age_ns = time.clock_gettime_ns(self._source) - stamp
        return now_ms - max(0, age_ns) // 1_000_000


def _clock_of(stamp_ns: int | None) -> int | None:
    for source in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
        if stamp_ns is not None and -_AHEAD_NS <= time.clock_gettime_ns(source) - stamp_ns <= _PLAUSIBLE_NS:
            return source
    return None
