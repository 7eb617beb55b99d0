"""The log of a terminal that runs unattended for weeks: rate limit and redaction."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
from collections.abc import Iterator

import pytest

from agent import log
from agent.log import Sparing, facts

NOISE = logging.getLogger("agent.noise")


@pytest.fixture(autouse=True)
def restored_loggers() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("agent")
    before = (root.handlers[:], root.level, own.level)
    yield
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def record(event: str, level: int = logging.WARNING, **more: str) -> logging.LogRecord:
    return NOISE.makeRecord(NOISE.name, level, "x.py", 1, event, (), None, extra=facts(code="x", **more))


def test_filter_limits_an_event_twice_a_second_for_a_day() -> None:
    clock, day_s = Clock(), 86_400
    sparing = Sparing(clock)
    written, reported, line = 0, 0, record("camera_failed")
    for _ in range(day_s * 2):
        clock.now_s += 0.5
        if sparing.filter(line):
            written += 1
            reported += line.facts.get("left_out", 0)  # type: ignore[attr-defined]
            line = record("camera_failed")  # a written record has the number of dropped lines
    assert written <= 14_400 + Sparing.BURST
    assert day_s * 2 - written - reported <= 12, "left_out counts all dropped lines except for the newest"


def test_filter_writes_every_rare_event() -> None:
    clock = Clock()
    sparing = Sparing(clock)
    for _ in range(1_000):
        clock.now_s += Sparing.REFILL_S
        assert sparing.filter(record("result"))


def test_filter_flood_of_one_event_hides_no_other_event() -> None:
    sparing = Sparing(Clock())
    for _ in range(10_000):
        sparing.filter(record("link_failed"))
    assert sparing.filter(record("ready")) and sparing.filter(record("link_failed", logging.ERROR))


def test_filter_flood_of_one_till_hides_no_other_till() -> None:
    clock = Clock()
    sparing = Sparing(clock)
    for _ in range(1_000):
        sparing.filter(record("refused", till="till-1"))
    assert all(sparing.filter(record("refused", till=f"till-{number}")) for number in (2, 3, 4))
    assert sparing.filter(record("refused", operator="back-office"))
    clock.now_s += Sparing.REFILL_S
    loud, quiet = record("refused", till="till-1"), record("refused", till="till-2")
    assert sparing.filter(loud) and sparing.filter(quiet)
    assert loud.facts["left_out"] == 1_000 - Sparing.BURST  # type: ignore[attr-defined]
    assert "left_out" not in quiet.facts  # type: ignore[attr-defined]


def test_a_stranger_with_a_new_name_for_each_message_does_not_fill_the_journal() -> None:
    clock = Clock()
    sparing = Sparing(clock)
    written = sum(sparing.filter(record("refused", till=f"till-{number}")) for number in range(20_000))
    assert written == Sparing.BURST * Sparing.SENDERS
    assert len(sparing._events) == Sparing.EVENTS_MAX
    assert sparing.filter(record("ready"))


def test_filter_new_events_use_bounded_memory() -> None:
    sparing = Sparing(Clock())
    for number in range(5_000):
        assert sparing.filter(record(f"event {number}" * 100))
    assert len(sparing._events) == Sparing.EVENTS_MAX


def test_next_line_contains_the_number_of_dropped_lines(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    log.setup("info", json_lines=True)
    handler = logging.getLogger().handlers[0]
    handler.filters[:] = [Sparing(clock)]
    for _ in range(Sparing.BURST + 40):
        NOISE.warning("camera_failed", extra=facts(code="camera_unavailable"))
    clock.now_s += Sparing.REFILL_S
    NOISE.warning("camera_failed", extra=facts(code="camera_unavailable"))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == Sparing.BURST + 1
    assert lines[-1]["left_out"] == 40 and lines[-1]["code"] == "camera_unavailable"


@pytest.mark.parametrize("json_lines", [False, True])
def test_text_from_outside_starts_no_new_line(json_lines: bool, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info", json_lines=json_lines)
    sent = "no such host\nwarning terminal: result decision=match\x1b[2J\u2028\r\udcff"
    NOISE.warning("api_failed", extra=facts(why=sent))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "\x1b" not in lines[0] and "result decision=match" in lines[0]


def test_setup_installs_the_rate_limit() -> None:
    log.setup()
    assert any(isinstance(each, Sparing) for each in logging.getLogger().handlers[0].filters)


def test_setup_stuck_reader_of_the_journal_drops_lines_and_counts_them() -> None:
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with reader, writer, os.fdopen(os.dup(writer.fileno()), "w") as stream:
        handler = log._handler(stream)
        logger = logging.Logger("agent.stuck")
        logger.addHandler(handler)
        for _ in range(2_000):  # far more than the buffer of a socket; a blocking write would never return
            logger.warning("x" * 1_000)
        reader.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while reader.recv(65_536):
                pass
        logger.warning("reads again")
        assert re.search(rb"\nwarning log: \d+ lines dropped.*\nreads again\n", reader.recv(65_536), re.S)
        logger.warning("next")
        assert reader.recv(65_536) == b"next\n"
