"""`facepay why`: the frame log is complete, contains no personal data, and can be read and drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.core.frame_log import FRAMES_MAX, FrameLog
from agent.core.model import Analysis, Assurance, Result, Timings
from agent.core.ports import RequestReceived
from agent.core.reasons import Decision, FrameReason, Reason
from agent.core.trace import Trace
from agent.errors import StorageError
from agent.recorder.last_verification import FILE, read, write
from agent.recorder.plot import svg
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from tests.core.builders import shot
from tests.fakes import EPOCH, RealClock, check_frame, request
from tests.terminal.test_terminal import LIMITS, TerminalSetup, serving

SVG = "{http://www.w3.org/2000/svg}"


def log_of(reasons: list[FrameReason]) -> FrameLog:
    frame_log = FrameLog()
    frame_log.add_stage("seeking", 0)
    for number, reason in enumerate(reasons):
        quality = shot(0).quality if reason is FrameReason.SHOT else None
        frame_log.add_frame(Analysis(number, number, reason, quality=quality), number * 100)
    return frame_log


def ended(frame_log: FrameLog, folder: Path) -> Result:
    result = Result(
        request(), Decision.UNDECIDED, Reason.NO_FACE, 0, None, replace(Timings(), total=4_000), Assurance()
    )
    write(folder, result, frame_log, 1_700_000_000_000)
    return result


@given(st.lists(st.sampled_from(FrameReason), max_size=300))
def test_frame_log_counts_every_frame_once(reasons: list[FrameReason]) -> None:
    frame_log = log_of(reasons)
    assert frame_log.frames_by_reason.total() == len(reasons) == len(frame_log.frames)
    assert all(frame_log.frames_by_reason[reason] == reasons.count(reason) for reason in FrameReason)


@pytest.mark.parametrize(
    ("reasons", "is_late"),
    [
        ([], False),
        ([FrameReason.SHOT], False),
        ([FrameReason.SHOT, *[FrameReason.NO_FACE] * 10], False),
        ([*[FrameReason.BLURRED] * 5, FrameReason.SHOT], False),
        ([*[FrameReason.NO_FACE] * 6, FrameReason.FOLLOWED], False),  # half of the time, not more
        ([*[FrameReason.NO_FACE] * 7, FrameReason.SHOT], True),
        ([FrameReason.NO_FACE] * 7, True),
        ([FrameReason.BLURRED] * 7, False),  # a face that is no shot: the lens can be the fault
    ],
)
def test_is_face_late_needs_a_frame_of_the_second_half_without_a_face(
    reasons: list[FrameReason], is_late: bool
) -> None:
    """A terminal that analyzes its first frame late has no proof that the payer was absent."""
    assert log_of(reasons).is_face_late(1_000) is is_late


def test_long_frame_log_is_bounded_and_counts_all_frames() -> None:
    frame_log = log_of([FrameReason.NO_FACE] * (FRAMES_MAX + 10))
    assert (len(frame_log.frames), frame_log.frames_by_reason.total()) == (FRAMES_MAX, FRAMES_MAX + 10)


@given(st.lists(st.sampled_from(FrameReason), max_size=60))
def test_written_frame_log_is_read_and_drawn(
    tmp_path_factory: pytest.TempPathFactory, reasons: list[FrameReason]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    result = ended(log_of(reasons), folder)
    last = read(folder)
    assert last.frame_log == log_of(reasons)
    assert (last.request_id, last.reason) == (result.request.request_id, "no_face")
    drawn = ElementTree.fromstring(svg(last, 80.0))
    marks = [each for each in drawn.iter(f"{SVG}rect") if each.get("width") == "3"]
    assert len(marks) == len(reasons)


async def test_terminal_stores_the_frame_log_of_the_last_verification(tmp_path: Path) -> None:
    setup = TerminalSetup()
    setup.analyzer.stage = FrameReason.NO_FACE
    ports = Ports(
        RealClock(), setup.camera, setup.analyzer, setup.compare, setup.till, setup.claim_store, check_frame
    )
    kept = replace(ports, record=lambda result, frame_log, _trace: write(tmp_path, result, frame_log, 0))
    setup.terminal = Terminal(kept, Settings(EPOCH, LIMITS, 50, Assurance()))
    async with serving(setup):
        await setup.till.inbox.put(RequestReceived(request(budget_ms=1_000)))
        await setup.verdict()
    last = read(tmp_path)
    assert (last.decision, last.reason, last.asks) == ("undecided", "no_face", 0)
    assert last.frame_log.frames_by_reason.total() == last.frame_log.frames_by_reason[FrameReason.NO_FACE] > 0
    assert last.frame_log.frames_by_reason.total() <= setup.terminal.counters.frames[FrameReason.NO_FACE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_full_disk_loses_the_frame_log_only() -> None:
    def refuse(_result: Result, _frame_log: FrameLog, _trace: Trace | None) -> None:
        raise OSError(28, "No space left on device")

    setup = TerminalSetup()
    ports = Ports(
        RealClock(),
        setup.camera,
        setup.analyzer,
        setup.compare,
        setup.till,
        setup.claim_store,
        check_frame,
        refuse,
    )
    setup.terminal = Terminal(ports, Settings(EPOCH, LIMITS, 50, Assurance()))
    async with serving(setup):
        for number in (1, 2):
            await setup.till.inbox.put(RequestReceived(request(f"r-{number}")))
            assert await setup.verdict(number) == "match/same_person"


def test_frame_log_file_contains_numbers_and_codes_only(tmp_path: Path) -> None:
    ended(log_of([FrameReason.SHOT, FrameReason.NO_FACE]), tmp_path)
    tree = json.loads((tmp_path / FILE).read_text())
    assert set(tree) == {
        "request_id", "decision", "reason", "asks", "total_ms", "ended_unix_ms", "funnel", "stages", "frames"
    }  # fmt: skip
    assert all(len(frame) == 3 for frame in tree["frames"]), "time, reason, score: no position"


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b"\xff", b'{"funnel":{"x":1}}', b"9" * 2_000_000])
def test_invalid_file_is_an_error_with_a_fix(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(junk)
    with pytest.raises(StorageError) as caught:
        read(tmp_path)
    assert caught.value.fix


def test_why_prints_the_frames_by_reason_and_draws_them(tmp_path: Path) -> None:
    config, picture = tmp_path / "agent.toml", tmp_path / "why.svg"
    config.write_text(f'[storage]\ndirectory = "{tmp_path}"\n')
    none_yet = CliRunner().invoke(application(), ["why", "--config", str(config)])
    assert isinstance(none_yet.exception, StorageError)
    ended(log_of([FrameReason.NO_FACE] * 3 + [FrameReason.TOO_SMALL]), tmp_path)
    shown = CliRunner().invoke(application(), ["why", "--config", str(config), "--plot", str(picture)])
    assert shown.exit_code == 0
    assert "undecided / no_face" in shown.output
    assert "     4  frames in total" in shown.output
    assert picture.read_text().startswith("<svg")
    as_json = CliRunner().invoke(application(), ["why", "--config", str(config), "--json"])
    assert json.loads(as_json.output)["frames"] == {"no_face": 3, "too_small": 1}


@pytest.mark.parametrize(
    ("count", "watched_ms", "shown"),
    [(5, 8_000, "5 frames in 8000 ms"), (6, 8_000, ""), (0, 2_999, ""), (0, 3_000, "0 frames in 3000 ms")],
)
def test_few_frames_of_a_slow_terminal(count: int, watched_ms: int, shown: str) -> None:
    frame_log = log_of([FrameReason.SHOT] * count)
    assert not frame_log.few_frames(), "before its end, and for a claim that took long"
    frame_log.watched_ms = watched_ms
    assert frame_log.few_frames() == shown


def test_frames_of_a_still_picture_are_not_few() -> None:
    """A camera with little noise repeats its picture in front of an empty scene: the processor has time."""
    frame_log = log_of([FrameReason.NO_FACE])
    frame_log.watched_ms, frame_log.repeated = 8_000, 70
    assert not frame_log.few_frames()
