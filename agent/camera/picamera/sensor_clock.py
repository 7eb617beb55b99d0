"""When the sensor took a picture, on the clock everything else lives by."""

from __future__ import annotations

import logging
import time

from agent.core.ports import Clock

log = logging.getLogger(__name__)

_PLAUSIBLE_NS = 2_000_000_000  # a picture that tells the clock is no older than that
_AHEAD_NS = 5_000_000  # a stamp may lie this much in the future: two clocks are read one after the other
_TRIES = 3  # pictures whose stamp fits no clock: they may just be old, so they are not used


class SensorClock:
    """From SensorTimestamp (ns) to ``Clock.now_ms``.

    libcamera says "since boot"; the Pi's receiver stamps with CLOCK_MONOTONIC, which stands still while the
    machine sleeps. Which one it is, the first fresh picture tells, and from then on it is believed: a picture
    that comes late is called as old as it is, never new. Where there is no stamp, or one of neither clock,
    pictures count as taken when they arrive.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """The camera was started: its next pictures tell the clock."""
        self._source: int | None = None
        self._tries = _TRIES

    def captured_ms(self, stamp_ns: object) -> int | None:
        """When the picture was taken that arrives now. Never in the future; None when it may be of any time.

        Args:
            stamp_ns: SensorTimestamp, or whatever stands in its place.
        """
        now_ms = self._clock.now_ms()
        if not isinstance(stamp_ns, int) or isinstance(stamp_ns, bool):
            return now_ms
        if self._source is None:
            self._source = _clock_of(stamp_ns)
        if self._source is not None:
            age_ns = time.clock_gettime_ns(self._source) - stamp_ns
            return now_ms - max(0, age_ns) // 1_000_000
        self._tries -= 1
        if self._tries == 0:
            log.warning("sensor_clock_unknown")
        return now_ms if self._tries < 0 else None


def _clock_of(stamp_ns: int) -> int | None:
    for source in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
        if -_AHEAD_NS <= time.clock_gettime_ns(source) - stamp_ns <= _PLAUSIBLE_NS:
            return source
    return None
