"""A pause is detected by the first message or the first beat after it, whichever comes first."""

from __future__ import annotations

from agent.core.pauses import BEAT_MS, DRAIN_MS, PAUSE_MIN_MS, PauseDetector


def test_pause_detector_with_regular_beats_finds_no_pause() -> None:
    detector = PauseDetector(0)
    for at_ms in range(0, 60_000, BEAT_MS):
        detector.record_beat(at_ms)
        assert detector.waited_ms(at_ms + PAUSE_MIN_MS) == 0


def test_pause_detector_message_before_the_first_beat_finds_the_pause() -> None:
    detector = PauseDetector(0)
    assert detector.waited_ms(12_000) == 12_000
    detector.record_beat(12_001)
    assert detector.waited_ms(12_002) == 12_001


def test_pause_detector_message_after_the_first_beat_finds_the_pause_until_the_queue_is_read() -> None:
    detector = PauseDetector(0)
    detector.record_beat(12_000)
    for at_ms in range(12_000, 12_000 + DRAIN_MS + 1, BEAT_MS):
        detector.record_beat(at_ms)
        assert detector.waited_ms(at_ms) == 12_000
    detector.record_beat(12_000 + DRAIN_MS)
    assert detector.waited_ms(12_001 + DRAIN_MS) == 0


def test_pause_detector_second_shorter_pause_keeps_the_longer_one() -> None:
    detector = PauseDetector(0)
    detector.record_beat(12_000)
    detector.record_beat(14_000)
    assert detector.waited_ms(14_000) == 12_000
    assert detector.waited_ms(14_000 + PAUSE_MIN_MS) == 12_000
