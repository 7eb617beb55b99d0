"""`facepay trace show | replay | compare-policy`: recorded verifications, decided again without a camera."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.options import AsJson, ConfigFile
from agent.cli.waiting import Spinner
from agent.log import printable
from agent.texts import Text

if TYPE_CHECKING:
    from agent.core.policy import PolicyLimits
    from agent.core.steps import Event, Limits
    from agent.recorder.trace_json import Recorded

app = typer.Typer(no_args_is_help=True, help="Look at recorded verifications, and decide them again.")

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="A trace file or a folder of them; else those of the state directory."
    ),
]


@app.command("show", epilog="Example:  facepay trace show --request r-17")
def show(
    source: Source = None,
    config: ConfigFile = None,
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="Every event of this request.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List what is recorded, or tell one verification event by event.

    Recording is off until `[trace] enabled = true`. Numbers and words only: no picture is kept.
    """
    import json
    from datetime import UTC, datetime

    for recorded in _recorded(source, config):
        if request and recorded.request_id != request:
            continue
        row = _row(recorded)
        if as_json:
            print(json.dumps(row))
            continue
        ended = datetime.fromtimestamp(recorded.ended_unix_ms / 1e3, UTC)
        verdict = f"{recorded.decision}/{recorded.reason}"
        counts = f"{row['asks']} asked  {row['frames']:3d} frames  {recorded.request_id}"
        print(printable(f"{ended:%Y-%m-%d %H:%M:%S}Z  {verdict:<34} {counts}"))
        if request:
            print("\n".join(printable(line) for line in _told(recorded)))


@app.command("replay", epilog="Example:  facepay trace replay /var/lib/facepay-agent/traces")
def replay(source: Source = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Decide every recorded verification again, from its events. Exit 1 if one ends otherwise.

    Frames are judged again, too, by the policy that was in force.
    """
    import json

    from agent.core.steps import FrameAnalyzed
    from agent.core.trace import judge_again
    from agent.core.trace import replay as decide

    same = count = judged = frames = 0
    found = _recorded(source, config)
    with Spinner("deciding again") as waiting:
        for recorded in found:
            again = decide(recorded.trace).finished
            looks = [event.analysis for event in recorded.trace.events if isinstance(event, FrameAnalyzed)]
            was = (recorded.decision, recorded.reason, recorded.asks)
            now = None if again is None else (again.decision, again.reason, again.asks)
            count, same = count + 1, same + (was == now)
            frames += len(looks)
            judged += sum(judge_again(seen, recorded.policy) is seen.reason for seen in looks)
            if was != now and not as_json:
                waiting.say(printable(f"{recorded.request_id}: recorded {was}, decided again {now}"))
    if as_json:
        print(json.dumps({"recorded": count, "same": same, "frames": frames, "judged_the_same": judged}))
    else:
        print(f"{same} of {count} verifications end as recorded;", end="")
        print(f" {judged} of {frames} frames are judged the same")
    if same != count or judged != frames:
        raise typer.Exit(1)


@app.command("compare-policy", epilog="Example:  facepay trace compare-policy --with stricter.toml")
def compare_policy(
    other: Annotated[Path, typer.Option("--with", metavar="FILE", help="Config with the other [policy].")],
    source: Source = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """What would another policy have come to on the recorded frames and answers?

    Takes [policy], [verification] and the excellent score from the other config. Where the recording cannot
    tell (a question nobody asked, an end nobody saw), it says so instead of guessing.
    """
    import json

    from agent.config import Config
    from agent.config.file import load
    from agent.root.wiring import make_limits, policy_limits

    loaded = load(other, Config)
    policy, limits = policy_limits(loaded), make_limits(loaded)
    found = _recorded(source, config)
    with Spinner("deciding again"):
        rows = [_compared(recorded, policy, limits) for recorded in found]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        verdict = row["other"] or f"unknown: {row['unknown']}"
        mark = "?" if row["unknown"] else " " if row["other"] == row["recorded"] else "≠"
        counts = f"{row['asks']} → {row['other_asks']} asked"
        print(printable(f"{mark} {row['recorded']:<34} → {verdict:<46} {counts}  {row['request_id']}"))
    known = [row for row in rows if not row["unknown"]]
    same = sum(row["other"] == row["recorded"] for row in known)
    calls, other_calls = (sum(row[name] for row in known) for name in ("asks", "other_asks"))
    print(f"{same} of {len(rows)} end the same, {len(known) - same} otherwise,", end="")
    print(f" {len(rows) - len(known)} unknown; {calls} → {other_calls} questions where it is known")


def _compared(recorded: Recorded, policy: PolicyLimits, limits: Limits) -> dict[str, Any]:
    from agent.core.policy_replay import under

    found = under(recorded.trace, policy, limits)
    return {
        "request_id": recorded.request_id,
        "recorded": f"{recorded.decision}/{recorded.reason}",
        "other": f"{found.finished.decision}/{found.finished.reason}" if found.finished else None,
        "unknown": found.unknown,
        "asks": recorded.asks,
        "other_asks": found.asks,
        "unjudged_frames": found.unjudged,
    }


def _recorded(source: Path | None, config: Path | None) -> list[Recorded]:
    from agent.cli.config import path_of
    from agent.config import Config
    from agent.config.file import load
    from agent.errors import StorageError
    from agent.recorder.traces import FOLDER, read

    path = source or load(path_of(config), Config).storage.directory / FOLDER
    with Spinner("reading what is recorded"):
        found = list(read(path))
    if not found:
        raise StorageError(
            f"{path}: nothing is recorded there",
            fix=Text("fix.trace_off"),
        )
    return found


def _row(recorded: Recorded) -> dict[str, Any]:
    from agent.core.steps import FrameAnalyzed

    frames = sum(isinstance(event, FrameAnalyzed) for event in recorded.trace.events)
    names = ("request_id", "ended_unix_ms", "config_sha256", "decision", "reason", "asks")
    return {name: getattr(recorded, name) for name in names} | {"frames": frames}


def _told(recorded: Recorded) -> list[str]:
    started_ms = recorded.trace.not_before_ms
    return [f"{event.at_ms - started_ms:8d} ms  {_words(event)}" for event in recorded.trace.events]


def _words(event: Event) -> str:
    from agent.core.steps import CallAnswered, CallFailed, CameraFailed, FrameAnalyzed, InputFailed

    match event:
        case FrameAnalyzed(analysis=seen):
            score = "" if seen.quality is None else f"  score {seen.quality.score:.0f}"
            track = "" if seen.track is None else f"  track {seen.track}"
            return f"frame {seen.frame_seq}: {seen.reason}{score}{track}"
        case CallAnswered(ask=ask, comparison=answer):
            return f"answer {ask}: {answer.similarity:.1f} of {answer.threshold:g}"
        case CallFailed(ask=ask, reason=reason, retry=retry):
            return f"question {ask} failed: {reason}, {retry}"
        case InputFailed(reason=reason) | CameraFailed(reason=reason):
            return f"{type(event).__name__.lower()}: {reason}"
        case _:
            return type(event).__name__.lower()
