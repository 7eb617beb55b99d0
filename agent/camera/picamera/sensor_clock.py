"""Conversion of the sensor's time stamp to the agent's clock."""

import logging
import time

from agent.core.ports import Clock

log = logging.getLogger(__name__)

_PLAUSIBLE_NS = 2_000_000_000  # largest age of a frame that identifies the clock
_AHEAD_NS = 5_000_000  # a stamp may be this much in the future: the two clocks are read one after the other
_UNKNOWN_STAMPS_MAX = 3  # frames whose stamp fits no clock are possibly old, so this many are not used


class SensorClock:
    """From SensorTimestamp (ns) to ``Clock.now_ms``.

    libcamera documents "since boot"; the Pi's receiver stamps with CLOCK_MONOTONIC, which stops while the
    machine sleeps. The first fresh frame identifies the clock, and that clock is used from then on: a late
    frame gets its true age. Without a stamp, or with a stamp of neither clock, the capture time is the
    arrival time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """To be called at each start of the camera: the next frames identify the clock."""
        self._source: int | None = None
        self._tries_left = _UNKNOWN_STAMPS_MAX

    def captured_ms(self, stamp_ns: object) -> int | None:
        """Capture time of the frame that arrives now. Never in the future; None when the age is unknown.

        Args:
            stamp_ns: SensorTimestamp, or any other value in its place.
        """
        now_ms = self._clock.now_ms()
        if not isinstance(stamp_ns, int) or isinstance(stamp_ns, bool):
            return now_ms
        if self._source is None:
            for source in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
                if -_AHEAD_NS <= time.clock_gettime_ns(source) - stamp_ns <= _PLAUSIBLE_NS:
                    self._source = source
                    break
        if self._source is not None:
            age_ns = time.clock_gettime_ns(self._source) - stamp_ns
            return now_ms - max(0, age_ns) // 1_000_000
        self._tries_left -= 1
        if self._tries_left == 0:
            log.warning("sensor_clock_unknown")
        return now_ms if self._tries_left < 0 else None
