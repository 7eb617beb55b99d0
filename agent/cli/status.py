"""`facepay status | metrics | page`: requests to the running agent over its local socket."""

import json
import sys
import time
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from agent.cli.config import path_of, storage_of
from agent.cli.console import paint
from agent.cli.options import AsJson, ConfigFile
from agent.errors import AgentError, AgentNotRunning, StatusError
from agent.terminal_output import control
from agent.texts import Text, on_one_line, on_separate_lines

_WATCH_S = 1.0
_UNITS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
_HOME = "\x1b[H\x1b[2J"
# two rows of modules in one line; black on white, because many phones read no inverted code
_HALF_BLOCKS = {(True, True): "\u2588", (True, False): "\u2580", (False, True): "\u2584", (False, False): " "}
_QR_COLOURS, _QR_END = "\x1b[30;107m", "\x1b[0m"
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Repeat every second until Ctrl-C.")]


def status(config: ConfigFile = None, watch: Watch = False, as_json: AsJson = False) -> None:
    """Show the status of the agent on this terminal, read over its local socket. Changes nothing.

    Exit 0: healthy, 1: a warning, 2: an error condition, 3: no agent runs, 4: the status cannot be read.
    """
    from agent.control.server import agent_status

    storage = storage_of(config)
    if watch:
        _watch(storage, as_json=as_json)
    try:
        document = agent_status(storage)
    except AgentNotRunning as error:
        raise _with_cause(error, config) from error
    _show(document, as_json=as_json)
    severities = {condition["severity"] for condition in document["conditions"]}
    if severities:
        raise typer.Exit(2 if "error" in severities else 1)


def _with_cause(error: AgentNotRunning, config: Path | None) -> AgentNotRunning:
    """The error with the reason why no agent runs: the state of the systemd unit, or the config."""
    if not any(folder.joinpath("facepay-agent.service").exists() for folder in _UNITS):
        return error  # at once: the checks load large modules
    from agent.diagnostics.check import Verdict
    from agent.diagnostics.checks.agent import unit
    from agent.root.doctor import inputs_from_file

    inputs = inputs_from_file(path_of(config))
    finding = unit(inputs)
    if finding.verdict is Verdict.FAIL:
        return AgentNotRunning(_with(error, finding.reason), code=error.code, fix=finding.remedy)
    if finding.because:
        try:
            inputs.config()
            inputs.check_runnable()
        except AgentError as cause:
            return AgentNotRunning(_with(error, cause.sentence), code=error.code, fix=cause.fix)
    return error


def _with(error: AgentError, cause: Text | str) -> Text:
    return Text("detail.with_cause", detail=error.detail, cause=cause)


def metrics(config: ConfigFile = None) -> None:
    """Print the metrics of the running agent as Prometheus text. Names: docs/reference/metrics.md."""
    from agent.control.server import path_for, request_status
    from agent.health.metrics import render

    print(render(request_status(path_for(storage_of(config)))).decode(), end="")


def page(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print a link that opens the diagnostics page in a browser: once, within two minutes.

    Every person with the link can use it. The running agent creates the link for a user who may use its local
    socket. stdout has only the link.
    """
    from agent.control.page_link import request_link
    from agent.control.server import path_for

    url = request_link(path_for(storage_of(config)))
    print(json.dumps({"url": url}) if as_json else url, flush=True)
    if as_json:
        return
    print(on_separate_lines(Text("cli.page_link_once")), end="", file=sys.stderr)
    address = urlsplit(url)
    if address.hostname != "127.0.0.1":
        _print_qr_code(url)
    else:
        tunnel = f"ssh -L {address.port}:127.0.0.1:{address.port} THIS-TERMINAL"
        print(f"{on_one_line(Text('cli.page_tunnel'))}  {tunnel}", file=sys.stderr)


def _print_qr_code(url: str) -> None:
    """The link for a phone. Only on a terminal window: a code is of no use in a file or a log."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        return
    print(on_separate_lines(Text("cli.page_qr")), end="", file=sys.stderr, flush=True)
    for line in qr_lines(url):
        control(f"{_QR_COLOURS}{line}{_QR_END}\n", sys.stderr)
    sys.stderr.flush()


def qr_lines(text: str) -> list[str]:
    """A QR code as half blocks: a full block is two black modules, a space is two white ones."""
    import segno

    rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=2)]
    pairs = zip_longest(rows[::2], rows[1::2], fillvalue=[0] * len(rows[0]))
    return [
        "".join(_HALF_BLOCKS[bool(top), bool(bottom)] for top, bottom in zip(upper, lower, strict=True))
        for upper, lower in pairs
    ]


def _show(document: dict[str, Any], *, as_json: bool) -> None:
    from agent.control.status_text import status_lines

    if as_json:
        print(json.dumps(document, ensure_ascii=False), flush=True)
        return
    for line in status_lines(document):
        print(paint(line, _colour(line, document)))
    sys.stdout.flush()


def _colour(line: str, document: dict[str, Any]) -> str:
    """The colour of the first line shows the status; the colour of a condition, its severity."""
    if line.startswith(f"{document['site']}/{document['terminal']}  "):
        return "green" if document["status"] == "online" else "red"
    starts = (("error: ", "red"), ("warning: ", "yellow"), ("consequences: ", "dim"))
    return next((colour for start, colour in starts if line.startswith(start)), "")


def _watch(storage: Path, *, as_json: bool) -> None:
    """Repeat until interrupted, also without an answer of the agent: a restart is then visible."""
    from agent.control.server import agent_status

    clear = _HOME if sys.stdout.isatty() and not as_json else ""
    while True:
        try:
            document = agent_status(storage)
            control(clear, sys.stdout)
            _show(document, as_json=as_json)
        except StatusError as error:
            control(clear, sys.stdout)
            print(json.dumps({"error": error.code}) if as_json else on_one_line(error.sentence), flush=True)
        time.sleep(_WATCH_S)
