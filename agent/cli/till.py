"""`facepay till`: a till, a simulated terminal, a load test and a conformance kit, for till developers."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import till_conformance, till_simulate
from agent.cli.console import Spinner
from agent.cli.options import AsJson, File, grouped, pem, read_file
from agent.cli.till_options import IdentityOptions, SignKey, TillOptions, broker_of, topics_of
from agent.errors import TillError
from agent.texts import Text, on_separate_lines

if TYPE_CHECKING:
    import asyncio

    from agent.kits.till.acceptance import Acceptance
    from agent.kits.till.client import TillClient

_STATE_S = 5.0  # a terminal's state is retained: the broker delivers it at once
Options = tuple[TillOptions, IdentityOptions]

app = typer.Typer(
    no_args_is_help=True,
    help="Send requests as a till; simulate a terminal; test a till against the contract.",
)


@app.command(
    "verify", epilog="Example:  facepay till verify result.json --key terminal.pem --request request.json"
)
def verify(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="The result's MQTT payload.")],
    key: Annotated[Path, pem(help="The terminal's public key, received over another channel.")],
    request: Annotated[
        File, typer.Option(metavar="REQUEST.json", help="The request's MQTT payload, byte for byte as sent.")
    ] = None,
    site: Annotated[str, typer.Option(help="The expected site.")] = "",
    terminal: Annotated[str, typer.Option(help="The expected terminal.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check a captured result's signature, and with --request that the result belongs to this request.

    Exit 0: valid, 1: invalid, with the broken rule. Only the till can check that the result arrived in time.
    """
    from agent.kits.till.acceptance import check
    from agent.messages.signing import PublicKey

    pinned = PublicKey.load(read_file(key))
    also = {name: value for name, value in (("site", site), ("terminal", terminal)) if value}
    checked = check(read_file(result), pinned, None if request is None else read_file(request), also)
    if as_json:
        print(json.dumps({"valid": not checked.broken, "broken": checked.broken, "result": checked.result}))
    elif checked.broken:
        print(f"NOT valid: {checked.broken}")
    else:
        against = "signature only (no --request)" if request is None else "signature and request"
        result_of = checked.result.get
        outcome, sender = (
            f"{result_of('decision')}/{result_of('reason')}",
            f"{result_of('site')}/{result_of('terminal')}",
        )
        print(f"valid: {outcome} from {sender}; checked: {against}")
    if checked.broken:
        raise typer.Exit(1)


app.command("simulate", epilog=till_simulate.EXAMPLE)(till_simulate.simulate)
app.command("load", epilog=till_simulate.LOAD_EXAMPLE)(till_simulate.load)
app.command("conformance", epilog=till_conformance.EXAMPLE)(till_conformance.conformance)


@app.command(
    "ask", epilog="Example:  facepay till ask enrolled.jpg --site demo --terminal terminal-1 --port 1883"
)
@grouped
def ask(
    photo: Annotated[Path, typer.Argument(metavar="ENROLLED.jpg", help="The enrolled photo, at most 60 kB.")],
    till: TillOptions = TillOptions(),
    client: IdentityOptions = IdentityOptions(),
    ttl_ms: Annotated[int, typer.Option(min=1_000, max=60_000, help="Validity of the request.")] = 8_000,
    key: Annotated[File, pem(help="The terminal's public key; without a key nothing is verified.")] = None,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a request: is the person in front of the terminal the person on this photo?

    `--config` reads the broker's address and CA, site and terminal from a terminal's file instead of the
    options. The client's identity is separate: `--cert-file`, `--key-file`, `--username`, `--password-file`.
    Exit 0: match, 1: no match, 2: undecided.
    """
    from agent import event_loop

    photo_bytes, pinned = read_file(photo), None if key is None else read_file(key)
    place = f"{till.site}/{till.terminal}" if till.config is None else till.config
    with Spinner(f"verifying at {place}", in_pipe=True):
        verdict = event_loop.run(_ask((till, client), photo_bytes, ttl_ms, pinned, sign_key))
    print_verdict(verdict, as_json=as_json, checked=pinned is not None)
    if verdict.reason == "timed_out" and not verdict.result:
        missing = "no_result" if verdict.accepted else "not_accepted"
        where = {"base": topics_of(till, till.config).base, "till": till.till}
        typer.echo(on_separate_lines(Text(f"till_timeout.{missing}", **where)), err=True, nl=False)
    raise typer.Exit({"match": 0, "no_match": 1}.get(verdict.decision, 2))


@app.command("watch", epilog="Example:  facepay till watch --site demo --terminal terminal-1 --json")
@grouped
def watch(
    till: TillOptions = TillOptions(),
    client: IdentityOptions = IdentityOptions(),
    count: Annotated[int, typer.Option(help="End after this many messages; 0: never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show every message of a terminal to this till, one line each, until Ctrl-C.

    Waits for a terminal that is away. Exit 1: the broker does not answer, or refuses this client.
    """
    from agent import event_loop

    event_loop.run(_watch((till, client), count, as_json=as_json))


async def _watch(options: Options, count: int, *, as_json: bool) -> None:
    import asyncio

    messages: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    async with _till(options, on_message=lambda *message: messages.put_nowait(message)) as client:
        await _first_message(client, messages)
        shown = 0
        while not count or shown < count:
            topic, tree = await messages.get()
            shown += 1
            text = json.dumps(tree, ensure_ascii=False)
            print(json.dumps({"topic": topic, "message": tree}) if as_json else f"{topic} {text}", flush=True)


async def _first_message(client: TillClient, messages: asyncio.Queue[tuple[str, dict[str, Any]]]) -> None:
    """Wait for a message, or report once that the terminal is silent.

    Raises ``TillError``: the problem of the broker.
    """
    import asyncio

    try:
        with Spinner("waiting for the first message", in_pipe=True):
            async with client.reachability.limit(_STATE_S):
                while messages.empty():  # noqa: ASYNC110 - the queue has no event for it
                    await asyncio.sleep(0.05)
    except TimeoutError:
        absence = client.absence()
        if absence.code != "terminal_offline":
            raise absence from None
        typer.echo(on_separate_lines(Text("cli.no_message_yet", why=absence.detail)), err=True, nl=False)


@app.command(
    "ack", epilog="Example:  facepay till ack c9bf9e57-1685-4c89-bafb-ff5af830be8a --terminal terminal-1"
)
@grouped
def ack(
    result_id: Annotated[str, typer.Argument(metavar="RESULT_ID", help="The result_id of the result.")],
    till: TillOptions = TillOptions(),
    client: IdentityOptions = IdentityOptions(),
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge a result as this till, so that the terminal stops sending the result again.

    The terminal does not answer: an id that is not that of an open result changes nothing.
    """
    from agent import event_loop

    try:
        result_id = str(uuid.UUID(result_id))
    except ValueError:
        raise TillError(Text("detail.no_result_id", result_id=result_id), code="id_invalid") from None
    with Spinner("waiting for the terminal"):
        event_loop.run(_ack((till, client), result_id, sign_key))
    print(json.dumps({"acknowledged": result_id}) if as_json else f"acknowledged {result_id}")


async def _ack(options: Options, result_id: str, sign_key: Path | None) -> None:
    async with _till(options, sign_key) as client:
        await client.online()
        await client.ack(result_id)


async def _ask(
    options: Options, photo: bytes, ttl_ms: int, pem: bytes | None, sign_key: Path | None
) -> Acceptance:
    from agent.messages.signing import PublicKey

    pinned = None if pem is None else PublicKey.load(pem)
    async with _till(options, sign_key, pinned=pinned) as client:
        return await client.ask(photo, ttl_ms=ttl_ms)


def print_verdict(verdict: Acceptance, *, as_json: bool, checked: bool) -> None:
    """Print the verdict. ``checked``: the signature was verified with the terminal's key."""
    if as_json:
        print(json.dumps(verdict.result or {"decision": verdict.decision, "reason": verdict.reason}))
        return
    if not verdict.result:
        print(f"{verdict.decision}/{verdict.reason}, no acceptable result arrived; nothing was verified")
        return
    hint = next(iter(verdict.result.get("hint", {}).values()), "")
    scale = "" if verdict.similarity is None else f", similarity {verdict.similarity:.1f}"
    signature = "signature valid" if checked else "signature NOT checked (no --key)"
    print(f"{verdict.decision}/{verdict.reason}{scale}, {verdict.total_ms} ms, {signature}\n{hint}")


@asynccontextmanager
async def _till(options: Options, sign_key: Path | None = None, **more: Any) -> AsyncIterator[TillClient]:
    """A till that is started, and stopped at the end. ``more``: further arguments of ``TillClient``."""
    from agent.kits.till.client import TillClient
    from agent.messages.signing import Signer
    from agent.messages.topics import checked_id

    till, identity = options
    signer = None if sign_key is None else Signer.load(sign_key)
    broker, topics = broker_of(till, identity, till.config), topics_of(till, till.config)
    client = TillClient(broker, topics, checked_id(till.till), signer=signer, **more)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
