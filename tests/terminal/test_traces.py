"""Trace files: bounded, private, without pixels, and exactly the same values after reading."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent.cli.command_table import application
from agent.config import Config, TraceConfig, VerificationConfig
from agent.core.policy import PolicyLimits
from agent.core.reasons import FrameReason
from agent.core.trace import Trace, replay
from agent.core.verification_types import FrameAnalyzed, Limits, State, Ticked
from agent.demo.demo_system import TOO_SLOW, TTL_MS, VISITS, DemoSystem, Visit, VisitRow, running_demo
from agent.errors import StorageError
from agent.recorder.trace_json import Recording, from_line, to_line
from agent.recorder.traces import FOLDER, TraceFiles, days, read
from agent.service.faults import InjectedFault
from tests.core.builders import NAN, answer, answered, frame_event, shot_event
from tests.core.test_trace import VISIT, recorded_verifications
from tests.texts import en

DAY_MS = 86_400_000
NOON_MS = 1_700_000_000_000 - 1_700_000_000_000 % DAY_MS + DAY_MS // 2


def recorded(trace: Trace = VISIT, ended_unix_ms: int = NOON_MS, request_id: str = "r-1") -> Recording:
    return Recording(request_id, ended_unix_ms, "ab" * 32, "match", "same_person", 1, PolicyLimits(), trace)


@given(recorded_verifications())
def test_trace_line_decodes_to_the_same_values(scenario: tuple[Trace, State]) -> None:
    line = to_line(recorded(scenario[0]))
    assert line.count(b"\n") == 1
    again = from_line(line)
    assert to_line(again) == line
    assert repr(replay(again.trace)) == repr(replay(scenario[0]))


def test_trace_line_keeps_nan() -> None:
    odd = trace_of(NAN)
    assert repr(from_line(to_line(recorded(odd))).trace.events[-1]) == repr(odd.events[-1])


def test_trace_line_keeps_an_undefined_similarity_of_two_faces() -> None:
    frame = frame_event(5, FrameReason.FOLLOWED, 1)
    frame = replace(frame, analysis=replace(frame.analysis, similarity=NAN))
    (event,) = from_line(to_line(recorded(Trace(8_000, 0, Limits(), (frame,))))).trace.events
    assert isinstance(event, FrameAnalyzed) and math.isnan(event.analysis.similarity or 0.0)


def trace_of(similarity: float) -> Trace:
    return Trace(
        8_000, 0, Limits(), (shot_event(1_000), Ticked(1_600), *answered(2_000, 1, answer(similarity)))
    )


@pytest.mark.parametrize(
    "junk",
    [b"", b"[]\n", b"{}\n", b"\xff\n", b'{"facepay_trace":2}\n', b'{"facepay_trace":1}\n', b"9" * 100],
)
def test_line_that_is_no_trace_raises(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_line(junk)


@given(st.data())
def test_changed_trace_line_is_a_trace_or_a_value_error(data: st.DataObject) -> None:
    """One value of a valid line is replaced by a value of another kind."""
    tree = json.loads(to_line(recorded()))
    node, path = tree, []
    while isinstance(node, dict | list) and node:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        path.append((node, key))
        node = node[key]
        if data.draw(st.integers(0, 2)) == 0:
            break
    holder, key = path[-1]
    holder[key] = data.draw(st.sampled_from([None, "x", -1, 1e308, [], {}, True]))
    try:
        found = from_line(json.dumps(tree).encode())
    except ValueError:
        return
    assert isinstance(found, Recording)


def files(folder: Path, *, keep_days: int = 7, max_bytes: int = 10_000_000) -> TraceFiles:
    return TraceFiles(folder, keep_days=keep_days, max_bytes=max_bytes)


def test_one_file_per_day_with_mode_0600(tmp_path: Path) -> None:
    for number, at_ms in enumerate((NOON_MS, NOON_MS + 1_000, NOON_MS + DAY_MS)):
        files(tmp_path).append(recorded(ended_unix_ms=at_ms, request_id=f"r-{number}"))
    assert [path.name for path in days(tmp_path / FOLDER)] == ["2023-11-14.jsonl", "2023-11-15.jsonl"]
    assert [each.request_id for each in read(tmp_path / FOLDER)] == ["r-0", "r-1", "r-2"]
    assert {path.stat().st_mode & 0o777 for path in days(tmp_path / FOLDER)} == {0o600}
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-3, 12), min_size=1, max_size=12), st.integers(1, 7))
def test_no_day_is_kept_longer_than_configured(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], keep_days: int
) -> None:
    """For any clock: set forward, set back, or after a suspend."""
    folder = tmp_path_factory.mktemp("state")
    for offset in offsets:
        now_ms = NOON_MS + offset * DAY_MS
        files(folder, keep_days=keep_days).append(recorded(ended_unix_ms=now_ms))
        kept = [each.ended_unix_ms for each in read(folder / FOLDER)]
        assert all(0 <= now_ms - at_ms < keep_days * DAY_MS for at_ms in kept)
        assert now_ms in kept


def test_too_many_bytes_delete_the_oldest_day_first(tmp_path: Path) -> None:
    size = len(to_line(recorded()))
    for day in range(4):
        files(tmp_path, max_bytes=2 * size + 10).append(recorded(ended_unix_ms=NOON_MS + day * DAY_MS))
    assert [path.name[8:10] for path in days(tmp_path / FOLDER)] == ["16", "17"]


def test_recording_larger_than_the_limit_is_not_written(tmp_path: Path) -> None:
    files(tmp_path, max_bytes=100).append(recorded())
    assert days(tmp_path / FOLDER) == []


def test_power_failure_during_a_line_loses_that_line_only(tmp_path: Path) -> None:
    files(tmp_path).append(recorded(request_id="before"))
    (path,) = days(tmp_path / FOLDER)
    with path.open("ab") as file:
        file.write(to_line(recorded(request_id="cut"))[:200])
    assert [each.request_id for each in read(path)] == ["before"]
    files(tmp_path).append(recorded(request_id="after"))
    assert [each.request_id for each in read(path)] == ["before", "after"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(to_line(recorded()) + b"junk\n")
    with pytest.raises(StorageError, match=r"x\.jsonl:2: "):
        list(read(path))


def test_trace_file_contains_no_pixels(tmp_path: Path) -> None:
    """A frame with one pattern: the pattern is not in the file, in no encoding of a picture."""
    shot = shot_event(1_000)
    best = shot.analysis.shot
    assert best is not None
    pixels = np.full((720, 1280, 3), 0xA5, np.uint8)
    lively = replace(
        shot, analysis=replace(shot.analysis, shot=replace(best, frame=replace(best.frame, pixels=pixels)))
    )
    line = to_line(recorded(Trace(8_000, 0, Limits(), (lively,))))
    assert b"pixels" not in line
    assert len(line) < 4_000


def run(*arguments: str) -> str:
    done = CliRunner().invoke(application(), ["trace", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_commands(tmp_path: Path) -> None:
    blurred = Trace(8_000, 0, Limits(), (frame_event(1_000, FrameReason.NO_FACE), Ticked(8_000)))
    files(tmp_path).append(recorded())
    files(tmp_path).append(
        replace(recorded(blurred, request_id="r-2"), decision="undecided", reason="no_face", asks=0)
    )
    folder = str(tmp_path / FOLDER)
    assert "match/same_person" in run("show", folder)
    shown = run("show", folder, "--request", "r-1")
    assert "answer 1: 93.0 of 80" in shown and "r-2" not in shown
    assert "2 of 2 verifications end as recorded; 3 of 3 frames" in run("replay", folder)
    config = tmp_path / "strict.toml"
    config.write_text("[policy]\nmin_sharpness = 90\n")
    compared = run("compare-policy", folder, "--with", str(config))
    assert "unknown: the recording ends before it is decided" in compared
    assert "1 of 2 end the same, 0 otherwise, 1 unknown" in compared
    rows = json.loads(run("compare-policy", folder, "--with", str(config), "--json"))
    assert [row["other_asks"] for row in rows] == [0, 0]


def test_replay_with_another_end_is_reported_and_exits_1(tmp_path: Path) -> None:
    files(tmp_path).append(replace(recorded(), decision="no_match", reason="different_person"))
    done = CliRunner().invoke(application(), ["trace", "replay", str(tmp_path / FOLDER)])
    assert done.exit_code == 1
    assert "0 of 1 verifications end as recorded" in done.output


def test_show_without_recordings_is_an_error_with_a_fix(tmp_path: Path) -> None:
    done = CliRunner().invoke(application(), ["trace", "show", str(tmp_path)])
    assert isinstance(done.exception, StorageError)
    assert "[trace]" in en(done.exception.fix)


def test_show_of_a_request_that_is_not_recorded_is_an_error(tmp_path: Path) -> None:
    files(tmp_path).append(recorded())
    done = CliRunner().invoke(application(), ["trace", "show", str(tmp_path / FOLDER), "--request", "r-0"])
    assert isinstance(done.exception, StorageError) and "r-0" in str(done.exception)
    assert not done.output


def test_tracing_is_off_by_default() -> None:
    assert not Config().trace.enabled
    assert TraceConfig().keep_days <= 7


# A comparison takes longer than ten seconds beside other work: no call is given up, and no visit ends early.
BUSY_MS = 60_000
BUSY_VISITS = [replace(each, ttl_ms=BUSY_MS) if each.ttl_ms == TTL_MS else each for each in VISITS]


@pytest.mark.real_time
async def test_replay_of_the_demo_ends_as_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The complete demo with real faces and answers, then a replay from the recording alone.

    The last comparison takes longer than [verification] ask_timeout_ms of a shop, as on a slow machine. A
    visit is played again while the machine has no time for it; each of these verifications is replayed.
    """
    rows, original = list[VisitRow](), DemoSystem._play

    async def play(stage: DemoSystem, visit: Visit) -> VisitRow:
        for _ in range(6):
            rows.append(await original(stage, visit))
            if rows[-1].as_expected or rows[-1].verdict.reason not in TOO_SLOW:
                break
        return rows[-1]

    monkeypatch.setattr(DemoSystem, "_play", play)
    patient = VerificationConfig(budget_ms=BUSY_MS, ask_timeout_ms=30_000)
    async with running_demo(Config(verification=patient)) as stage:
        ends = [await stage.play(visit) for visit in BUSY_VISITS[:-2]]
        stage.service._faults = (InjectedFault("latency", 3_000),)  # from the start after "service stopped"
        ends += [await stage.play(visit) for visit in BUSY_VISITS[-2:]]
        async with asyncio.timeout(60):  # the till has the result before it is recorded
            while len(recordings := list(read(stage.state_directory / FOLDER))) < len(rows):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
        report = json.loads(run("replay", str(stage.state_directory / FOLDER), "--json"))
    assert [row.visit.title for row in ends] == [visit.title for visit in VISITS]
    assert [(row.visit.title, row.verdict.reason) for row in ends if not row.as_expected] == []
    assert report["recorded"] == report["same"] == len(rows)
    assert report["judged_the_same"] == report["frames"] > len(VISITS)
    for row, each in zip(rows, recordings, strict=True):
        again = replay(each.trace).finished
        assert again is not None
        assert (again.decision, again.reason) == (row.verdict.decision, row.verdict.reason)
        assert again.asks == each.asks
        if again.comparison is not None and row.verdict.similarity is not None:
            assert again.comparison.similarity == pytest.approx(row.verdict.similarity, abs=0.06)
