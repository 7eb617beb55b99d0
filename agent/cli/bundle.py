"""`facepay bundle`: one file for support, with a manifest, without secrets and faces."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.config import load_config, path_of
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile, write_new
from agent.errors import AgentError
from agent.texts import Text, on_one_line, on_separate_lines

if TYPE_CHECKING:
    from agent.cli.bundle_parts import Gathering
    from agent.diagnostics.support_bundle import Part

CONFIRMATION = "send a picture"

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE.tar.gz", help="A new file; readable by you alone."),
]
WithPicture = Annotated[
    bool, typer.Option("--with-picture", help="Also take one picture now; requires a typed confirmation.")
]


def bundle(
    config: ConfigFile = None,
    output: Output = None,
    with_picture: WithPicture = False,
    as_json: AsJson = False,
) -> None:
    """Pack the facts for support: versions, config, doctor, status, last verification, traces, journal.

    Secrets are removed and ids of sales replaced; the result is searched once more before writing. The file
    has no face. With sudo, more files are readable and included. MANIFEST.json lists the parts.
    """
    from agent.cli.bundle_parts import Gathering
    from agent.diagnostics.support_bundle import pack
    from agent.messages.encode import rfc3339

    loaded = load_config(config)
    gathering = Gathering(path_of(config), loaded)
    with _quiet():
        if with_picture:
            gathering.parts.append(_picture(config))
        typer.echo("examining this terminal, some seconds …", err=True)
        with Spinner("examining") as spinner:
            gathering.gather(spinner.update)
    now = rfc3339(time.time_ns() // 1_000_000)
    identity = {"made_at": now, "site": loaded.site, "terminal": loaded.terminal}
    packed = pack(gathering.parts, gathering.missing, identity, gathering.redactor)
    stamp = now[:19].replace(":", "").replace("-", "")
    file = output or Path(f"facepay-bundle-{loaded.terminal}-{stamp}.tar.gz")
    write_new(file, packed)
    _print(file, len(packed), gathering, as_json=as_json)


def _print(file: Path, size_bytes: int, gathering: Gathering, *, as_json: bool) -> None:
    from agent.diagnostics.support_bundle import MANIFEST

    if as_json:
        names = [MANIFEST, *(part.name for part in gathering.parts)]
        left_out = {missing.name: missing.why for missing in gathering.missing}
        print(json.dumps({"file": str(file), "bytes": size_bytes, "parts": names, "left_out": left_out}))
        return
    for part in gathering.parts:
        print(f"{len(part.content):9,}  {part.name:<24} {part.what}")
    for missing in gathering.missing:
        print(f"        -  {missing.name:<24} left out: {missing.why}")
    print(f"\n{file}: {size_bytes:,} bytes. Check the content before you send it: tar -xOf {file}")
    if any(part.picture for part in gathering.parts):
        print(on_separate_lines(Text("cli.bundle_holds_picture")), end="")


def _picture(config: Path | None) -> Part:
    """One annotated picture after a typed confirmation. Raises ``AgentError`` (``picture_not_confirmed``)."""
    from agent.cli.camera_view import open_view
    from agent.diagnostics.support_bundle import PICTURE, Part

    typer.echo(on_separate_lines(Text("prompt.picture_warning")), err=True, nl=False)
    typed = typer.prompt(on_one_line(Text("prompt.picture_confirm", words=CONFIRMATION)), err=True)
    if typed.strip() != CONFIRMATION:
        message = Text("detail.picture_not_confirmed")
        raise AgentError(message, code="picture_not_confirmed")
    with open_view(config) as view:
        taken = view.shot()
    what = f"the current camera picture, annotated with the facts of the decision ({taken.reason})"
    return Part(PICTURE, what, "requested with --with-picture and confirmed", taken.jpeg, picture=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the log: the doctor's checks report the same faults."""
    log = logging.getLogger("agent")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
