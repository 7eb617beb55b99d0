"""docs/images/{demo,cli-*}.svg, pictures of real command output: ``python -m tests.docs.screens``.

Real broker, compare service, agent and faces. The commands run on a pseudo-terminal, so that the output has
the colours of a terminal window.
"""

from __future__ import annotations

import asyncio
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from html import unescape
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto
from tests.e2e.agents import ENROLLED, Place, running, till_of
from tests.service.kit import slow_machine_config

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"
PACKAGED = "/usr/share/doc/facepay-agent/docs"  # where a terminal has the documentation
COLUMNS = 104
_WRITTEN = re.compile(r'(textLength=")([0-9.]+)("[^>]*>)([^<]+)')
ERASED = re.compile(r"[^\n]*\r\x1b\[2K")  # the progress line, erased at its end
REDRAWN = "\x1b[2K"  # a live table is drawn again after each row: the last drawing counts


def screen(folder: Path, *arguments: str) -> str:
    """The screen of a terminal window after ``facepay ARGUMENTS`` in this folder, with escape sequences."""
    own, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    command = [str(Path(sys.executable).with_name("facepay")), *arguments]
    env = plain | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, stdout=child, stderr=child, cwd=folder, env=env):
        os.close(child)
        raw = bytearray()
        try:
            while piece := os.read(own, 65_536):
                raw += piece
        except OSError:  # EIO: the child has ended
            pass
        os.close(own)
    shown = ERASED.sub("", raw.decode().replace("\r\n", "\n"))
    return shown.rsplit(REDRAWN, 1)[-1]


def _as_wide_as_its_cells(found: re.Match[str]) -> str:
    """Correct the width of Chinese text: rich counts one cell for a character that has two."""
    before, width, between, text = found.groups()
    plain = unescape(text)
    return f"{before}{float(width) * cell_len(plain) / max(1, len(plain)):g}{between}{text}"


def drawn(title: str, text: str) -> str:
    """An SVG of a terminal window with this text, without external fonts or pictures."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"\x1b[1m$ {title}\x1b[0m\n{text.strip()}\n"))
    svg = console.export_svg(title="", unique_id=re.sub(r"\W+", "-", title))
    svg = _WRITTEN.sub(_as_wide_as_its_cells, svg)
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.S)
    return svg.replace("Fira Code", "Noto Sans Mono CJK SC, DejaVu Sans Mono")


async def _screens(folder: Path) -> dict[str, tuple[str, str]]:
    """File name -> (command, screen). First a match, then a wrong key is installed."""
    service, broker = CompareService(slow_machine_config()), Mosquitto(folder).start()
    await service.start()
    place = Place(folder, broker, service)
    config = place.config("approach")
    shortened = config.read_text().replace(f"{folder}/", "")  # the pictures show no path of this machine
    config.write_text(shortened.replace('directory = "state"', f'directory = "{folder}/state"'))
    os.chdir(folder)

    async def take(*arguments: str) -> tuple[str, str]:
        shown = await asyncio.to_thread(screen, folder, *arguments)
        return f"facepay {' '.join(arguments)}", shown

    found = {"demo": await take("demo"), "cli-help": await take("--help")}
    try:
        async with running(config), till_of(place) as (till, _):
            assert (await till.ask(ENROLLED, ttl_ms=8_000)).decision == "match"
            found["cli-why"] = await take("why", "--config", "agent.toml")
            (folder / "secret").write_bytes(b"another key")
            await till.ask(ENROLLED, ttl_ms=8_000)
            found["cli-status"] = await take("status", "--config", "agent.toml")
            found["cli-doctor"] = await take("doctor", "--config", "agent.toml")
    finally:
        await service.stop()
        broker.stop()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="screens-") as name:
        for file, (title, text) in asyncio.run(_screens(Path(name))).items():
            shown = text.replace(f"{name}/", "").replace(str(IMAGES.parent), PACKAGED)
            (IMAGES / f"{file}.svg").write_text(drawn(title, shown), encoding="utf-8")
            print(f"docs/images/{file}.svg")


if __name__ == "__main__":
    main()
