"""The output of the demo: a live table, a summary, or JSON."""

import asyncio
import json
import shutil
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from agent.config import Config, PageConfig
from agent.demo.broker import free_port
from agent.demo.demo_system import SLOW_MACHINE, VISITS, DemoSystem, Visit, VisitRow, running_demo
from agent.resources import data
from agent.terminal_output import below


async def run_demo(base: Config | None, *, keep: bool, as_json: bool) -> bool:
    """Run the demo and print the rows. True: every verification ended with the expected result.

    ``base``: vision, policy, verification and pages of this config; None: limits for a slow machine.
    """
    # With --json only the JSON goes to stdout; the live table moves the cursor.
    console = Console(file=below(sys.stderr if as_json else sys.stdout))
    rows: list[VisitRow] = []
    base = base or Config(verification=SLOW_MACHINE)
    if keep and base.page.listen == "off":
        page = PageConfig(listen="loopback", port=free_port(), preview=True)
        base = base.model_copy(update={"page": page})
    async with AsyncExitStack() as stack:
        with console.status("broker, compare service, terminal and till are starting"):
            demo = await stack.enter_async_context(running_demo(base))
        with Live(_table(rows), console=console, auto_refresh=False) as live:
            for visit in VISITS:
                live.update(_table(rows, visit), refresh=True)
                rows.append(await demo.play(visit))
                live.update(_table(rows), refresh=True)
        summary = demo.summary(rows)
        if as_json:
            json.dump({"verifications": [row.as_json() for row in rows], "summary": summary}, sys.stdout)
            sys.stdout.write("\n")
        else:
            console.print(f"\n\n{_summary_text(summary)}")
        if keep:
            await demo.show_scene("one_obama_podium")
            console.print(instructions(demo), markup=False, soft_wrap=True)
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await stop.wait()
    return all(row.as_expected for row in rows)


def _table(rows: list[VisitRow], running: Visit | None = None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for title in ("scene", "decision", "reason"):
        table.add_column(title, no_wrap=True)
    for title in ("similarity", "calls", "total\nms"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        result = row.verdict
        similarity = "-" if result.similarity is None else f"{result.similarity:.1f}"
        calls, total_ms = str(row.calls), str(result.total_ms)
        style = "" if row.as_expected else "bold red"
        cells = (row.visit.title, result.decision, result.reason, similarity, calls, total_ms)
        table.add_row(*cells, style=style)
    if running is not None:
        table.add_row(running.title, "...", style="dim")
    return table


def _summary_text(summary: dict[str, int]) -> str:
    return (
        f"{summary['as_expected']} of {summary['of']} ended as expected. "
        f"{summary['frames_seen']} frames seen, {summary['frames_looked_at']} of them during a verification; "
        f"{summary['calls_made']} calls made, {summary['calls_saved']} saved against sending each of those."
    )


def instructions(demo: DemoSystem) -> str:
    """The commands for the running demo; each line can be pasted into another shell."""
    facepay, config = _program(), demo.config_file
    lines = [
        f"{facepay} status --config {config}",
        f"{facepay} why --config {config}",
        f"{facepay} doctor --config {config}",
        f"{facepay} page --config {config}",
        f"{facepay} till ask {data('photos/enrolled/obama_portrait.jpg')} --config {config}",
        f"{facepay} trace replay {demo.state_directory / 'traces'}",
    ]
    if shutil.which("mosquitto_sub"):
        lines.append(f"mosquitto_sub -V 5 -p {demo.broker_port} -t 'facepay/v1/#' -v")
    commands = "\n".join(f"  {line}" for line in lines)
    return (
        f"All parts keep running. In another shell:\n{commands}\n"
        f"The compare service is at {demo.service.url}. Ctrl-C ends all parts."
    )


def _program() -> str:
    """The words that start this program from any shell."""
    program = Path(sys.argv[0]).absolute()
    if program.name != "facepay":
        return f"{sys.executable} -m agent.cli"
    return "facepay" if shutil.which("facepay") == str(program) else str(program)
