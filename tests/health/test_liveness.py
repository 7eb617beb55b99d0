"""What feeds the watchdog: fresh frames, or a recovery whose step has an end that is not over yet."""

from __future__ import annotations

from agent.health.liveness import LivenessSignal


def test_without_a_frame_it_does_not_beat() -> None:
    assert not LivenessSignal().beats(now_ms=1_000)


def test_one_frame_is_one_beat() -> None:
    pulse = LivenessSignal()
    pulse.frame()
    assert [pulse.beats(1_000), pulse.beats(1_001)] == [True, False]


def test_a_recovery_beats_until_its_step_should_have_ended() -> None:
    pulse = LivenessSignal()
    pulse.recovering(until_ms=5_000)
    assert [pulse.beats(now) for now in (1_000, 4_999, 5_000)] == [True, True, False]


def test_each_step_has_its_own_end_and_trouble_without_one_feeds_nothing() -> None:
    pulse = LivenessSignal()
    pulse.recovering(until_ms=5_000)
    pulse.recovering(until_ms=0)
    assert not pulse.beats(1_000)


def test_a_frame_ends_the_recovery() -> None:
    pulse = LivenessSignal()
    pulse.recovering(until_ms=600_000)
    pulse.frame()
    assert [pulse.beats(1_000), pulse.beats(1_001)] == [True, False]
