"""The screen of `facepay fleet watch`: the terminals that need a person first, then what to do."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text as Line

from agent.fleet.fleet_model import URGENT, Need, TerminalRow
from agent.fleet.fleet_subscriber import FleetSubscriber
from agent.health.conditions import CONDITIONS
from agent.texts import Text, on_one_line

_COLUMNS = ("terminal", "need", "for", "health", "outbox", "version", "conditions")
_LEFT_OUT_FIRST = ("version", "outbox", "health", "for", "conditions")  # in a narrow window
_CELL_MAX = 30
_FIXES_MAX = 3
_OTHER_LINES = 6  # first line, head of the table, totals


def screen(
    subscriber: FleetSubscriber,
    rows: Sequence[TerminalRow],
    broker: str,
    *,
    width: int,
    height: int | None = None,
) -> RenderableType:
    """One screen of ``width`` columns.

    ``height``: lines of the window; None: print every terminal that needs a person.
    """
    needy = [row for row in rows if row.need is not Need.NOTHING]
    advice = [Line(text, no_wrap=height is not None, overflow="ellipsis") for text in _advice(needy)]
    shown = needy if height is None else list(rows)[: max(1, height - len(advice) - _OTHER_LINES)]
    parts: list[RenderableType] = [_first_line(subscriber, rows, broker)]
    if shown:
        parts.append(_table(shown, width))
    if len(rows) > len(shown):
        hidden = len([row for row in rows[len(shown) :] if row.need is not Need.NOTHING])
        text = f"{len(rows) - len(shown)} more terminals; {hidden} of these need a person"
        parts.append(Line(text, style="red" if hidden else "dim"))
    return Group(*parts, *advice)


def _first_line(subscriber: FleetSubscriber, rows: Sequence[TerminalRow], broker: str) -> Line:
    needs = Counter(row.need for row in rows)
    line = Line(f"{broker}  ")
    connected = subscriber.connection.is_connected
    line.append("connected" if connected else "NOT CONNECTED", "green" if connected else "bold red")
    line.append(
        f"  {len(rows)} terminals" + "".join(f"  {need.value} {needs[need]}" for need in Need if needs[need])
    )
    for reason, count in sorted(subscriber.fleet.left_out.items()):
        line.append(f"  left out: {reason.value} {count}, e.g. {subscriber.fleet.example}", "yellow")
    if subscriber.connection.dropped_messages:
        line.append(f"  dropped messages {subscriber.connection.dropped_messages}", "yellow")
    return line


def _table(rows: Sequence[TerminalRow], width: int) -> Table:
    """The table. A narrow window shows fewer columns and shorter ids; ``need`` is always complete."""
    table, now_s = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False), time.monotonic()
    cells = [dict(zip(_COLUMNS, _cells(row, now_s), strict=True)) for row in rows]
    # a long name of a hostile terminal takes no more than its place
    widths = {
        title: min(_CELL_MAX, max(len(title), *(len(row[title]) for row in cells)))
        for title in _COLUMNS
        if title != "conditions"
    } | {"conditions": len("conditions")}  # the window shortens the codes
    for title in _LEFT_OUT_FIRST:
        if _width(widths) > width:
            del widths[title]
    widths["terminal"] -= max(0, min(_width(widths) - width, widths["terminal"] - 1))
    for title, columns in widths.items():
        max_width = None if title == "conditions" else columns
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=columns, max_width=max_width)
    for row, texts in zip(rows, cells, strict=True):
        table.add_row(*(Line(texts[title]) for title in widths), style=_style(row.need))
    return table


def _width(widths: dict[str, int]) -> int:
    """Of a table with these columns: a space at the right of each one, and a space between two."""
    return sum(widths.values()) + 2 * len(widths) - 1


def _cells(row: TerminalRow, now_s: float) -> Iterator[str]:
    yield from (f"{row.site}/{row.terminal}", row.need.value, _age(now_s - row.since_s))
    yield "" if row.health_s is None else _age(now_s - row.health_s)
    unacknowledged = None if row.health is None else row.health.numbers.get(("till", "unacknowledged"))
    yield "" if unacknowledged is None else f"{unacknowledged:g}"
    yield "" if row.state is None else row.state.version
    yield " ".join(_codes(row))


def _codes(row: TerminalRow) -> Iterator[str]:
    yield from row.problems
    if row.state is not None:
        yield from row.state.conditions
        if row.state.conditions_left_out:
            yield f"(+{row.state.conditions_left_out} unknown)"


def _advice(needy: Sequence[TerminalRow]) -> Iterator[str]:
    """The fix of the most urgent needs, in every language; of a condition, its title."""
    for need in list(dict.fromkeys(row.need for row in needy))[:_FIXES_MAX]:
        yield f"{need.value}: {on_one_line(Text(f'fleet.{need.value}'))}"
    codes = [code for row in needy if row.state is not None for code in row.state.conditions]
    for code in list(dict.fromkeys(codes))[:_FIXES_MAX]:
        yield f"{code}: {on_one_line(CONDITIONS[code].title)}"


def _style(need: Need) -> str:
    if need in URGENT:
        return "red"
    return "yellow" if need in (Need.FLOODING, Need.WARNING) else "dim" if need is Need.NOTHING else ""


def _age(seconds: float) -> str:
    """1 s, 2 min, 3 h, 4 d."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
