"""`facepay camera shot | focus | light`: a picture, a focus meter and a light meter of the camera."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile, write_new
from agent.errors import CameraReserved
from agent.terminal_output import control
from agent.texts import Text, on_one_line, on_separate_lines

if TYPE_CHECKING:
    from agent.health.probe_results import LensReading

app = typer.Typer(
    no_args_is_help=True, help="Check this terminal's camera: one picture, a focus meter, a light meter."
)

_PAUSE_S = 0.1  # between readings
_PIPED_PAUSE_S = 0.5

Seconds = Annotated[
    float | None, typer.Option("--seconds", help="End after this time; default: Ctrl-C.", min=0.0)
]


@app.command("shot", epilog="Example:  facepay camera shot look.jpg --config agent.toml")
def shot(
    out: Annotated[Path, typer.Argument(metavar="OUT.jpg", help="A new file; readable by you alone.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take one picture with the facts of the decision drawn in: boxes, landmarks, payer zone, quality.

    A running agent takes the picture, and refuses while a verification runs. The file shows the people in
    front of the camera: delete the file after use.
    """
    from agent.cli.camera_view import open_view

    with Spinner("reading the camera"), open_view(config) as view:
        taken = view.shot()
    write_new(out, taken.jpeg)
    if as_json:
        facts = {"file": str(out), "bytes": len(taken.jpeg), "reason": taken.reason}
        print(json.dumps(facts | {"guidance": taken.guidance}))
        return
    hint = f", guidance for the payer: {taken.guidance}" if taken.guidance else ""
    print(f"{out}: {len(taken.jpeg) // 1024} kB, {taken.reason}{hint}")
    print(on_separate_lines(Text("camera.picture_of_people")), end="")


@app.command("focus", epilog="Example:  facepay camera focus --config agent.toml")
def focus(config: ConfigFile = None, seconds: Seconds = None, as_json: AsJson = False) -> None:
    """Live focus meter: turn the lens until the number stays at its peak.

    Put an object with fine print where a payer's face will be. In a pipe: one line per reading.
    """
    from agent.diagnostics.meters import PeakHold

    meter = PeakHold()
    if not as_json:
        print(on_separate_lines(Text("camera.turn_lens")), end="")
    _live(config, seconds, _json if as_json else meter.line, as_json=as_json)


@app.command("light", epilog="Example:  facepay camera light --config agent.toml")
def light(
    config: ConfigFile = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the exposure of the picture: a histogram, three numbers, and a fix."""
    from agent.cli.camera_view import open_view
    from agent.diagnostics.meters import light_line, light_screen

    if watch:
        _live(config, None, _json if as_json else light_line, as_json=as_json)
        return
    with Spinner("reading the camera"), open_view(config) as view:
        reading = view.lens()
    print(_json(reading) if as_json else light_screen(reading))


def _json(reading: LensReading) -> str:
    return json.dumps(asdict(reading))


def _live(
    config: Path | None, seconds: float | None, text_of: Callable[[LensReading], str], *, as_json: bool
) -> None:
    """Print readings: on a terminal in one line, in a pipe as lines. A verification makes the meter wait."""
    from agent.cli.camera_view import open_view

    alone = sys.stdout.isatty() and not as_json
    columns = shutil.get_terminal_size().columns - 1
    with open_view(config) as view:
        until_s = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                text = text_of(view.lens())
            except CameraReserved as error:
                wait = on_one_line(Text("camera.verification_runs"))
                text = json.dumps({"error": error.code}) if as_json else wait
            control("\r\x1b[K" if alone else "", sys.stdout)
            print(text[:columns] if alone else text, end="" if alone else "\n", flush=True)
            if until_s is not None and time.monotonic() >= until_s:
                break
            time.sleep(_PAUSE_S if alone else _PIPED_PAUSE_S)
    if alone:
        print()
