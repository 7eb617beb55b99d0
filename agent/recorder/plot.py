"""The last verification as one picture (SVG): time, score and reason of every frame."""

from html import escape

from agent.core.reasons import FrameReason
from agent.recorder.last_verification import LastVerification

WIDE, LEFT, RIGHT, TOP = 960, 150, 90, 112
ROW, SCORES = 22, 150  # px: height of the row of a reason, height of the score plot
LEGEND_Y, GLYPH = 82, 6.6  # px: position of the stage names, width of a letter
TICKS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)

_COLOURS = {"match": "#1a7f37", "no_match": "#b42318", "undecided": "#9a6700"}
_STAGES = {"seeking": "#eaeef2", "challenging": "#fbe3c2", "holding": "#ddf4ff", "comparing": "#d7f0dd"}
_SHOT, _OTHER, _INK, _FAINT = "#1a7f37", "#57606a", "#1f2328", "#d0d7de"
_NO_FACE, _UNUSABLE = "#8c959f", "#bf8700"  # frames without a face, with a face that is not good enough
_FACELESS = {FrameReason.IDLE, FrameReason.NO_PRESENCE, FrameReason.NO_FACE}


def svg(last: LastVerification, excellent_score: float) -> str:
    """The picture as an SVG document.

    Args:
        excellent_score: score from which a shot is sent without waiting for a better shot, 0–100.
    """
    rows = [reason for reason in FrameReason if last.frame_log.frames_by_reason[reason]]
    span_ms = max([last.total_ms, 1, *(frame.after_ms for frame in last.frame_log.frames)])
    plot = Plot(span_ms, TOP + SCORES + 24, rows)
    height = plot.rows_top + max(1, len(rows)) * ROW + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}"'
        f' width="{WIDE}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDE}" height="{height}" fill="white"/>',
        *_heading(last),
        *_stages(last, plot),
        *_axis(plot, height),
        *_scores(last, plot, excellent_score),
        *_rows(last, plot),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class Plot:
    """The coordinates of the plot, in px."""

    def __init__(self, span_ms: int, rows_top: int, rows: list[FrameReason]) -> None:
        self.span_ms, self.rows_top, self.rows = span_ms, rows_top, rows

    def x(self, after_ms: int) -> float:
        return round(LEFT + (WIDE - LEFT - RIGHT) * min(1.0, max(0, after_ms) / self.span_ms), 1)

    def score_y(self, score: float) -> float:
        return round(TOP + SCORES * (1 - score / 100), 1)

    def row_y(self, reason: FrameReason) -> float:
        return self.rows_top + self.rows.index(reason) * ROW + ROW / 2


def _text(
    x: float, y: float, content: object, *, fill: str = _INK, size: int = 12, anchor: str = "start"
) -> str:
    style = f'fill="{fill}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(str(content))}</text>'


def _heading(last: LastVerification) -> list[str]:
    frames = last.frame_log.frames_by_reason.total()
    asks = f"{last.asks} API call{'' if last.asks == 1 else 's'}"
    facts = f"{frames} frames, {asks}, {last.total_ms} ms"
    colour = _COLOURS.get(last.decision, _INK)
    return [
        _text(20, 32, f"{last.decision} / {last.reason}", fill=colour, size=20),
        _text(20, 52, f"{facts}, request {last.request_id}", fill=_OTHER),
    ]


def _stages(last: LastVerification, plot: Plot) -> list[str]:
    """The stages of the verification: coloured areas behind the scores, with their durations above."""
    parts, stages, legend_x = list[str](), last.frame_log.stages, float(LEFT)
    ends = [stage.after_ms for stage in stages[1:]] + [last.total_ms]
    for stage, end_ms in zip(stages, ends, strict=True):
        left, right = plot.x(stage.after_ms), plot.x(end_ms)
        fill = _STAGES.get(stage.name, "#f6f8fa")
        width = max(1.0, round(right - left, 1))
        parts.append(f'<rect x="{left}" y="{TOP}" width="{width}" height="{SCORES}" fill="{fill}"/>')
        label = f"{stage.name} {end_ms - stage.after_ms} ms"
        if legend_x + GLYPH * len(label) < WIDE:
            parts.append(f'<rect x="{legend_x}" y="{LEGEND_Y - 11}" width="12" height="12" fill="{fill}"/>')
            parts.append(_text(legend_x + 18, LEGEND_Y, label, fill=_OTHER))
        legend_x = round(legend_x + 36 + GLYPH * len(label), 1)
    return parts


def _scores(last: LastVerification, plot: Plot, excellent_score: float) -> list[str]:
    parts = [
        _text(LEFT - 8, plot.score_y(score) + 4, score, fill=_OTHER, anchor="end") for score in (0, 50, 100)
    ]
    line_y = plot.score_y(excellent_score)
    place = f'x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{line_y}" y2="{line_y}"'
    parts.append(f'<line {place} stroke="{_SHOT}" stroke-dasharray="4 4"/>')
    parts.append(_text(WIDE - RIGHT + 6, line_y + 4, f"{excellent_score:g} sent soon", fill=_SHOT, size=10))
    parts.append(_text(LEFT, TOP - 8, "quality of the face", fill=_OTHER))
    for frame in last.frame_log.frames:
        if frame.score is not None:
            fill = _colour(frame.reason)
            y = plot.score_y(frame.score)
            parts.append(f'<circle cx="{plot.x(frame.after_ms)}" cy="{y}" r="3.5" fill="{fill}"/>')
    return parts


def _rows(last: LastVerification, plot: Plot) -> list[str]:
    """One row for each reason: a mark per frame, and the count at the end."""
    parts = []
    for reason in plot.rows:
        y, fill = plot.row_y(reason), _colour(reason)
        parts.append(f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y}" y2="{y}" stroke="{_FAINT}"/>')
        parts.append(_text(LEFT - 8, y + 4, reason, fill=fill, anchor="end"))
        parts.append(_text(WIDE - RIGHT + 6, y + 4, last.frame_log.frames_by_reason[reason], fill=fill))
        parts += [
            f'<rect x="{plot.x(frame.after_ms) - 1.5}" y="{y - 7}" width="3" height="14" fill="{fill}"/>'
            for frame in last.frame_log.frames
            if frame.reason is reason
        ]
    return parts


def _colour(reason: FrameReason) -> str:
    if reason in (FrameReason.SHOT, FrameReason.FOLLOWED):
        return _SHOT
    return _NO_FACE if reason in _FACELESS else _UNUSABLE


def _axis(plot: Plot, height: int) -> list[str]:
    """The time axis: a line and a label at round times."""
    step_ms = next((step for step in TICKS_MS if plot.span_ms / step <= 8), TICKS_MS[-1])
    parts, foot = list[str](), height - 34
    for ms in range(0, plot.span_ms + 1, step_ms):
        x = plot.x(ms)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{foot}" stroke="{_FAINT}" stroke-width="0.5"/>')
        parts.append(_text(x, height - 16, f"{ms} ms", fill=_OTHER, anchor="middle"))
    return parts
