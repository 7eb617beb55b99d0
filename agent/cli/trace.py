"""`facepay trace show | replay | compare-policy`: recorded verifications, replayed without a camera.

`facepay why`: the frames of the last verification, counted by reason.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.config import load_config
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile
from agent.errors import ConfigError, StorageError, failure_at
from agent.log import printable
from agent.texts import Text

if TYPE_CHECKING:
    from agent.core.policy import PolicyLimits
    from agent.core.verification_types import Event, Limits
    from agent.recorder.trace_json import Recording

app = typer.Typer(no_args_is_help=True, help="Show recorded verifications, and replay their decisions.")

Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="A trace file or a directory of traces; default: the state directory."
    ),
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the frames as a picture.")
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
    """List the recorded verifications, or the events of one verification.

    Recording is off until `[trace] enabled = true`. A trace holds numbers and codes, never a picture.
    """
    from agent.core.verification_types import FrameAnalyzed

    recordings = _recorded(source, config)
    if request:
        recordings = [recorded for recorded in recordings if recorded.request_id == request]
        if not recordings:
            why = Text("detail.request_not_recorded", request=printable(request))
            raise StorageError(why, fix=Text("fix.request_not_recorded"))
    for recorded in recordings:
        frames = sum(isinstance(event, FrameAnalyzed) for event in recorded.trace.events)
        if as_json:
            names = ("request_id", "ended_unix_ms", "config_sha256", "decision", "reason", "asks")
            print(json.dumps({name: getattr(recorded, name) for name in names} | {"frames": frames}))
            continue
        ended = datetime.fromtimestamp(recorded.ended_unix_ms / 1e3, UTC)
        verdict = f"{recorded.decision}/{recorded.reason}"
        counts = f"{recorded.asks} calls  {frames:3d} frames  {recorded.request_id}"
        print(printable(f"{ended:%Y-%m-%d %H:%M:%S}Z  {verdict:<34} {counts}"))
        if request:
            for event in recorded.trace.events:
                after_ms = event.at_ms - recorded.trace.not_before_ms
                print(printable(f"{after_ms:8d} ms  {_event_line(event)}"))


@app.command("replay", epilog="Example:  facepay trace replay /var/lib/facepay-agent/traces")
def replay(source: Source = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Replay every recorded verification from its events. Exit 1 if a decision differs.

    Also judges the frames again, with the policy that was in force.
    """
    from agent.core.trace import reason_with_policy
    from agent.core.trace import replay as decide
    from agent.core.verification_types import FrameAnalyzed

    same = count = judged = frames = 0
    recordings = _recorded(source, config)
    with Spinner("replaying") as spinner:
        for recorded in recordings:
            again = decide(recorded.trace).finished
            analyses = [event.analysis for event in recorded.trace.events if isinstance(event, FrameAnalyzed)]
            was = (recorded.decision, recorded.reason, recorded.asks)
            now = None if again is None else (again.decision, again.reason, again.asks)
            count, same = count + 1, same + (was == now)
            frames += len(analyses)
            judged += sum(
                reason_with_policy(analysis, recorded.policy) is analysis.reason for analysis in analyses
            )
            if was != now and not as_json:
                spinner.print_out(printable(f"{recorded.request_id}: recorded {was}, replayed {now}"))
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
    """Decide the recorded frames and answers with another policy.

    Takes [policy], [verification] and the excellent score from the other config. The result is unknown where
    the other policy needs an API call or an end that was not recorded.
    """
    from agent.root.wiring import make_limits, policy_limits

    loaded = load_config(other)
    policy, limits = policy_limits(loaded), make_limits(loaded)
    recordings = _recorded(source, config)
    with Spinner("replaying"):
        rows = [_compared(recorded, policy, limits) for recorded in recordings]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        verdict = row["other"] or f"unknown: {row['unknown']}"
        mark = "?" if row["unknown"] else " " if row["other"] == row["recorded"] else "≠"
        counts = f"{row['asks']} → {row['other_asks']} calls"
        print(printable(f"{mark} {row['recorded']:<34} → {verdict:<46} {counts}  {row['request_id']}"))
    decided = [row for row in rows if not row["unknown"]]
    same = sum(row["other"] == row["recorded"] for row in decided)
    calls, other_calls = (sum(row[name] for row in decided) for name in ("asks", "other_asks"))
    print(f"{same} of {len(rows)} end the same, {len(decided) - same} otherwise,", end="")
    print(f" {len(rows) - len(decided)} unknown; {calls} → {other_calls} API calls where known")


def _compared(recorded: Recording, policy: PolicyLimits, limits: Limits) -> dict[str, Any]:
    from agent.core.policy_replay import replay_with_policy

    replayed = replay_with_policy(recorded.trace, policy, limits)
    return {
        "request_id": recorded.request_id,
        "recorded": f"{recorded.decision}/{recorded.reason}",
        "other": f"{replayed.finished.decision}/{replayed.finished.reason}" if replayed.finished else None,
        "unknown": replayed.unknown,
        "asks": recorded.asks,
        "other_asks": replayed.asks,
        "unjudged_frames": replayed.unjudged,
    }


def _recorded(source: Path | None, config: Path | None) -> list[Recording]:
    from agent.recorder.traces import FOLDER, read

    path = source or load_config(config).storage.directory / FOLDER
    with Spinner("reading the traces"):
        recordings = list(read(path))
    if not recordings:
        raise StorageError(Text("detail.no_recording", path=path), fix=Text("fix.trace_off"))
    return recordings


def _event_line(event: Event) -> str:
    from agent.core.verification_types import (
        CallAnswered,
        CallFailed,
        CameraFailed,
        FrameAnalyzed,
        InputFailed,
    )

    match event:
        case FrameAnalyzed(analysis=analysis):
            score = "" if analysis.quality is None else f"  score {analysis.quality.score:.0f}"
            track = "" if analysis.track is None else f"  track {analysis.track}"
            return f"frame {analysis.frame_seq}: {analysis.reason}{score}{track}"
        case CallAnswered(number=number, comparison=answer):
            return f"answer {number}: {answer.similarity:.1f} of {answer.threshold:g}"
        case CallFailed(number=number, reason=reason, retry=retry):
            return f"API call {number} failed: {reason}, {retry}"
        case InputFailed(reason=reason) | CameraFailed(reason=reason):
            return f"{type(event).__name__.lower()}: {reason}"
        case _:
            return type(event).__name__.lower()


def why(config: ConfigFile = None, plot: Plot = None, as_json: AsJson = False) -> None:
    """Show the reason of the last result, and the number of its frames for each reason.

    Each frame counts under exactly one reason. The command shows numbers; no picture or landmark is stored.
    """
    from agent.recorder.last_verification import read

    loaded = load_config(config)
    last = read(loaded.storage.directory)
    frames_by_reason = dict(last.frame_log.frames_by_reason.most_common())
    if plot is not None:
        from agent.recorder.plot import svg

        try:
            plot.write_text(svg(last, loaded.policy.excellent_score), encoding="utf-8")
        except OSError as error:
            raise ConfigError(failure_at(plot, error), fix=Text("fix.file_unwritable")) from error
    if as_json:
        facts = {"request_id": last.request_id, "decision": last.decision, "reason": last.reason}
        print(json.dumps(facts | {"asks": last.asks, "total_ms": last.total_ms, "frames": frames_by_reason}))
        return
    total = last.frame_log.frames_by_reason.total()
    line = f"{last.total_ms} ms, API calls: {last.asks}, request {last.request_id}"
    print(printable(f"{last.decision} / {last.reason}   {line}") + "\n")
    for reason, count in frames_by_reason.items():
        print(f"{count:6d}  {printable(reason):<15} {'█' * max(1, round(40 * count / total))}")
    print(f"{total:6d}  frames in total")
    if last.frame_log.stages:
        stages = " → ".join(f"{stage.name} at {stage.after_ms} ms" for stage in last.frame_log.stages)
        print("\n" + printable(stages))
    if plot is not None:
        print(f"\npicture: {plot}")
