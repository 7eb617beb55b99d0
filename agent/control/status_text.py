"""The status document as one screen of text. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agent.log import printable
from agent.texts import labelled_lines, lines_of_fields, on_one_line, text_of_fields, translated_lines

_LAST_SHOWN = 5
_TITLE = 11  # width of the first column


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """The lines of a ``facepay.status/1`` document. No value can start a new line."""
    lines = [*_head(status), *_conditions(status), *_work(status), *_last(status)]
    return [printable(line) for line in lines]


def _row(title: str, text: str) -> str:
    return f"{title:<{_TITLE}}{text}"


def _head(status: Mapping[str, Any]) -> list[str]:
    camera, mqtt = status["camera"], status["mqtt"]
    age = camera["frame_age_ms"]
    frames = "no frame yet" if age is None else f"{camera['fps']:g} fps, newest frame {age} ms old"
    if status.get("preview_open"):
        frames += ", LIVE PREVIEW OPEN"
    link = "connected" if mqtt["connected"] else "NOT CONNECTED"
    return [
        f"{status['site']}/{status['terminal']}  {status['status'].upper()}",
        "",
        _row("agent", f"{status['version']}, profile {status['profile']}, up {_long(status['uptime_s'])}"),
        _row("config", f"sha256 {status['config_sha256'][:16]}"),
        *(_row("", line) for line in _written("config_refused", "refused", status)),
        _row("camera", f"{camera['kind']}, {frames}"),
        *_pace(status),
        _row("broker", f"{link}, {mqtt['outbox_depth']} results unacknowledged"),
    ]


def _pace(status: Mapping[str, Any]) -> list[str]:
    """Empty before the measurement, and in the status of an older agent."""
    pace = status.get("pace")
    if pace is None:
        return []
    return [_row("speed", on_one_line(text_of_fields("text", pace)))]


def _conditions(status: Mapping[str, Any]) -> list[str]:
    lines = []
    for condition in status["conditions"]:
        lasted = f"for {_long(condition['lasted_s'])}"
        titles = on_one_line(text_of_fields("title", condition))
        lines += ["", f"{condition['severity']}: {condition['code']}: {titles}, {lasted}"]
        lines += [f"    {line}" for line in _written("detail", "reported", condition)]
        lines += [
            f"    why: {condition['cause']}",
            *(f"    {line}" for line in lines_of_fields("fix", condition)),
        ]
    if status["consequences"]:
        codes = ", ".join(
            f"{condition['code']} (because {condition['because']})" for condition in status["consequences"]
        )
        lines += ["", f"consequences: {codes}"]
    return lines


def _written(field: str, label: str, row: Mapping[str, Any]) -> list[str]:
    """A text in each language behind its label; equal texts once. Empty without a text."""
    text = text_of_fields(field, row)
    return [*labelled_lines(text, label)[:1], *translated_lines(text, label)] if str(text) else []


def _work(status: Mapping[str, Any]) -> list[str]:
    counters = status["counters"]
    refusals = _counts(counters["refusals"])
    return [
        "",
        _row("frames", _counts(counters["frames"]) or "none"),
        _row("results", _counts(counters["results"]) or "none"),
        _row("API calls", f"{counters['calls']} made, {counters['calls_saved']} saved"),
        *([_row("refused", refusals)] if refusals else []),
    ]


def _last(status: Mapping[str, Any]) -> list[str]:
    lines = [""] if status["last"] else []
    for result in status["last"][:_LAST_SHOWN]:
        times = result["timings_ms"]
        parts = ", ".join(f"{name} {ms}" for name, ms in times.items() if ms and name != "total")
        code = f", API code {result['api_code']}" if result["api_code"] else ""
        calls = f"{result['asks']} API call{'' if result['asks'] == 1 else 's'}{code}, {times['total']} ms"
        calls += f" ({parts})" if parts else ""
        title = "last" if len(lines) == 1 else ""
        # an older agent's status has no origin
        origin = f", {result['till']} {result['request_id']}" if "request_id" in result else ""
        lines.append(_row(title, f"{_at(result)}{result['decision']}/{result['reason']}  {calls}{origin}"))
    return lines


def _at(verification: Mapping[str, Any]) -> str:
    """The time of day of the end; empty in the status of an older agent."""
    ended_ms = verification.get("ended_unix_ms")
    return "" if ended_ms is None else f"{datetime.fromtimestamp(ended_ms / 1e3).astimezone():%H:%M:%S} "


def _counts(counts: Mapping[str, int]) -> str:
    """Counts with their codes, the largest first."""
    return ", ".join(f"{count} {code}" for code, count in sorted(counts.items(), key=lambda pair: -pair[1]))


def _long(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"
