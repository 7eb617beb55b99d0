"""``python -m tests.bench.soak [--count N]``: the verifications of weeks, one after the other.

The agent is a separate process, measured from outside: memory, file descriptors, threads, written bytes.
Writes the table of docs/reference/long-life.md. Not part of ``make bench``: the run takes ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from agent.kits.till.client import TillClient
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from agent.resources import data
from agent.service.settings import EXAMPLE_SECRET
from tests.bench.page import markdown
from tests.bench.report import Row, Section, machine, machine_line, table
from tests.bench.soaked_agent import config
from tests.bench.stub_api import StubApi
from tests.brokers import Mosquitto

NEXT_SECTION = "## An API with faults"  # from here the page is not changed
PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "long-life.md"
COUNT, SAMPLES = 10_000, 20
WARM_UP = 0.1  # share of the run, not measured: caches fill, helper threads start

INTRO = """# Long life

In `python -m tests.bench.soak` one agent answers ten thousand requests in a row, with the real detector,
outbox on disk (`synchronous=FULL`), broker, signatures and HTTP. Camera and API are simulated. Traces, the
frame log of the last verification and the log are on. The benchmark reads memory, file descriptors and
writes from `/proc`.
"""


def sample(pid: int, folder: Path) -> Row:
    """The kernel's counters of a process, and the size of its files."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    io = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    state = sum(path.stat().st_size for path in (folder / "state").rglob("*") if path.is_file())
    return {
        "RSS (MiB)": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "file descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(status["Threads"]),
        "written (MB)": round(int(io["write_bytes"]) / 1e6, 1),
        "state directory (MB)": round(state / 1e6, 1),
    }


async def soak(folder: Path, count: int) -> Section:
    section = Section("ten thousand verifications" if count == COUNT else f"{count} verifications")
    (folder / "secret").write_bytes(EXAMPLE_SECRET)
    api, broker = await StubApi().start(), Mosquitto(folder).start()
    log = (folder / "log").open("wb")
    agent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.soaked_agent", str(folder), str(broker.port), api.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
    )
    assert agent.stdout is not None
    assert (await agent.stdout.readline()).strip() == b"READY"
    key = Signer.load_or_create(folder / "state").public
    till = TillClient(
        config(folder, broker.port, api.url).mqtt, Topics("site", "terminal"), "till-1", pinned=key
    )
    await till.start()
    enrolled, start_s = data("photos/enrolled/obama_podium.jpg").read_bytes(), time.monotonic()
    matches, sample_numbers = (
        0,
        {round(count * part / SAMPLES) for part in range(1, SAMPLES + 1)} | {round(WARM_UP * count)},
    )
    for number in range(1, count + 1):
        matches += (await till.ask(enrolled, ttl_ms=8_000)).decision == "match"
        if number in sample_numbers:
            section.rows.append({"after": number, "matches": matches, **sample(agent.pid, folder)})
    await till.stop()
    agent.terminate()
    await agent.wait()
    log.close()
    await api.stop()
    broker.stop()
    _judge(section, count, time.monotonic() - start_s, log=(folder / "log").stat().st_size)
    return section


def _judge(section: Section, count: int, duration_s: float, *, log: int) -> None:
    first, last = next(row for row in section.rows if row["after"] >= WARM_UP * count), section.rows[-1]
    growth = round(100 * (last["RSS (MiB)"] / first["RSS (MiB)"] - 1), 2)
    section.goal("requests without a match", count - last["matches"], at_most=0)
    section.goal(f"RSS growth after the first {first['after']} (%)", growth, at_most=5)
    for what in ("file descriptors", "threads"):
        section.goal(
            f"more {what} than after the first {first['after']}", last[what] - first[what], at_most=0
        )
    kb_per_verification = 1e3 * (last["written (MB)"] - first["written (MB)"]) / (count - first["after"])
    section.notes += [
        f"{count / duration_s:.1f} verifications a second, {duration_s / 60:.0f} minutes",
        f"written to the disk: {kb_per_verification:.0f} kB a verification, as the kernel counts it (pages"
        f" and journal included): {kb_per_verification * 500 / 1e3:.0f} MB a day at 500 a day",
        f"the log (stderr; systemd bounds the journal): {log / count:.0f} bytes a verification",
    ]


def page(section: Section) -> str:
    notes = "".join(f"- {note}\n" for note in section.notes)
    here = f"**Machine.** {machine_line(machine())}.\n"
    _, mark, rest = PAGE.read_text(encoding="utf-8").partition(NEXT_SECTION)
    parts = [INTRO, here, markdown(section.goals), markdown(section.rows), notes]
    return "\n".join([*parts, f"{mark}{rest}"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak")
    parser.add_argument("--count", type=int, default=COUNT)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as name:
        section = asyncio.run(soak(Path(name), count))
    print(table(section))
    if count == COUNT:
        PAGE.write_text(page(section), encoding="utf-8")


if __name__ == "__main__":
    main()
