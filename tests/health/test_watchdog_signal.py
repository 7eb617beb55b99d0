"""The liveness signal: fresh frames, or a recovery step before its time limit."""

from __future__ import annotations

from agent.terminal.frame_loop import WatchdogSignal


def test_without_a_frame_there_is_no_signal() -> None:
    assert not WatchdogSignal().poll(now_ms=1_000)


def test_one_frame_is_one_signal() -> None:
    signal = WatchdogSignal()
    signal.record_fresh_frame()
    assert [signal.poll(1_000), signal.poll(1_001)] == [True, False]


def test_recovery_step_is_a_signal_until_its_time_limit() -> None:
    signal = WatchdogSignal()
    signal.record_recovery(until_ms=5_000)
    assert [signal.poll(now) for now in (1_000, 4_999, 5_000)] == [True, True, False]


def test_fault_without_a_recovery_step_is_no_signal() -> None:
    signal = WatchdogSignal()
    signal.record_recovery(until_ms=5_000)
    signal.record_recovery(until_ms=0)
    assert not signal.poll(1_000)


def test_frame_ends_the_recovery() -> None:
    signal = WatchdogSignal()
    signal.record_recovery(until_ms=600_000)
    signal.record_fresh_frame()
    assert [signal.poll(1_000), signal.poll(1_001)] == [True, False]
