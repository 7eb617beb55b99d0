"""`facepay till`: a till, a simulated terminal, a load test and a conformance kit, for till developers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import till_conformance, till_load, till_simulate, till_verify
from agent.cli.options import AsJson, read_file
from agent.cli.till_options import (
    NO_IDENTITY,
    Client,
    Host,
    Place,
    Port,
    SignKey,
    Site,
    Terminal,
    TillId,
    as_client,
    broker_of,
)
from agent.cli.waiting import Spinner

if TYPE_CHECKING:
    from agent.kits.till.acceptance import Acceptance
    from agent.kits.till.client import TillClient
    from agent.messages.signing import Signer

_STATE_S: float | None = 5.0  # a terminal's state is retained: the broker delivers it at once
# config file, host, port, site, terminal, till, identity
Who = tuple[Path | None, str | None, int | None, str, str, str, Client]

app = typer.Typer(
    no_args_is_help=True,
    help="Be a till; simulate a terminal; test a till against the contract.",
)
app.command("verify", epilog=till_verify.EXAMPLE)(till_verify.verify)
app.command("simulate", epilog=till_simulate.EXAMPLE)(till_simulate.simulate)
app.command("load", epilog=till_load.EXAMPLE)(till_load.load)
app.command("conformance", epilog=till_conformance.EXAMPLE)(till_conformance.conformance)


@app.command(
    "ask", epilog="Example:  facepay till ask enrolled.jpg --site demo --terminal terminal-1 --port 1883"
)
@as_client
def ask(
    photo: Annotated[Path, typer.Argument(metavar="ENROLLED.jpg", help="The enrolled photo, at most 60 kB.")],
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    till: TillId = "till-1",
    config: Place = None,
    client: Client = NO_IDENTITY,
    ttl_ms: Annotated[int, typer.Option(min=1_000, max=60_000, help="Validity of the request.")] = 8_000,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="The terminal's public key; without a key nothing is verified."),
    ] = None,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Send a request: is the person in front of the terminal the person on this photo?

    `--config` reads the broker's address and CA, site and terminal from a terminal's file instead of the
    options. The client's identity is separate: `--cert-file`, `--key-file`, `--username`, `--password-file`.
    Exit 0: match, 1: no match, 2: undecided.
    """
    import asyncio

    photo_bytes, pinned = read_file(photo), None if key is None else read_file(key)
    who = (config, host, port, site, terminal, till, client)
    with Spinner(f"verifying at {site}/{terminal}" if config is None else f"verifying at {config}"):
        verdict = asyncio.run(_ask(who, photo_bytes, ttl_ms, pinned, sign_key))
    _print(verdict, as_json=as_json, checked=pinned is not None)
    code = {"match": 0, "no_match": 1}.get(verdict.decision, 2)
    if code:
        raise typer.Exit(code)


@app.command("watch", epilog="Example:  facepay till watch --site demo --terminal terminal-1 --json")
@as_client
def watch(
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    till: TillId = "till-1",
    config: Place = None,
    client: Client = NO_IDENTITY,
    count: Annotated[int, typer.Option(help="End after this many messages; 0: never.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show every message of a terminal to this till, one line each, until Ctrl-C."""
    import asyncio

    asyncio.run(_watch((config, host, port, site, terminal, till, client), count, as_json=as_json))


async def _watch(who: Who, count: int, *, as_json: bool) -> None:
    import asyncio
    import json

    messages: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
    client = _till(*who, on_message=lambda *message: messages.put_nowait(message))
    await client.start()
    try:
        shown, timeout_s = 0, _STATE_S
        while not count or shown < count:
            try:
                async with asyncio.timeout(timeout_s):
                    topic, tree = await messages.get()
            except TimeoutError:
                typer.echo("no message yet: no broker, or no such terminal; still waiting", err=True)
                topic, tree = await messages.get()
            timeout_s, shown = None, shown + 1
            text = json.dumps(tree, ensure_ascii=False)
            print(json.dumps({"topic": topic, "message": tree}) if as_json else f"{topic} {text}", flush=True)
    finally:
        await client.stop()


@app.command(
    "ack", epilog="Example:  facepay till ack c9bf9e57-1685-4c89-bafb-ff5af830be8a --terminal terminal-1"
)
@as_client
def ack(
    result_id: Annotated[str, typer.Argument(metavar="RESULT_ID", help="The result_id of the result.")],
    host: Host = None,
    port: Port = None,
    site: Site = "site",
    terminal: Terminal = "terminal",
    till: TillId = "till-1",
    config: Place = None,
    client: Client = NO_IDENTITY,
    sign_key: SignKey = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge a result as this till, so that the terminal stops sending the result again."""
    import asyncio
    import json
    import uuid

    from agent.errors import TillError

    try:
        result_id = str(uuid.UUID(result_id))
    except ValueError:
        raise TillError(f"{result_id!r} is no result_id: a result_id is a UUID", code="id_invalid") from None
    with Spinner("waiting for the terminal"):
        asyncio.run(_ack((config, host, port, site, terminal, till, client), result_id, sign_key))
    print(json.dumps({"acknowledged": result_id}) if as_json else f"acknowledged {result_id}")


async def _ack(who: Who, result_id: str, sign_key: Path | None) -> None:
    client = _till(*who, signer=_signer(sign_key))
    await client.start()
    try:
        await client.online()
        await client.ack(result_id)
    finally:
        await client.stop()


async def _ask(who: Who, photo: bytes, ttl_ms: int, pem: bytes | None, sign_key: Path | None) -> Acceptance:
    from agent.messages.signing import PublicKey

    pinned = None if pem is None else PublicKey.load(pem)
    client = _till(*who, pinned=pinned, signer=_signer(sign_key))
    await client.start()
    try:
        return await client.ask(photo, ttl_ms=ttl_ms)
    finally:
        await client.stop()


def _print(verdict: Acceptance, *, as_json: bool, checked: bool) -> None:
    import json

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


def _signer(sign_key: Path | None) -> Signer | None:
    from agent.messages.signing import Signer

    return None if sign_key is None else Signer.load(sign_key)


def _till(
    config: Path | None,
    host: str | None,
    port: int | None,
    site: str,
    terminal: str,
    till: str,
    client: Client,
    **options: Any,
) -> TillClient:
    from agent.config import Config
    from agent.config.file import load
    from agent.kits.till.client import TillClient
    from agent.messages.topics import Topics, checked

    place = None if config is None else load(config, Config)
    mqtt = broker_of(host, port, client, place)
    if place is not None:
        site, terminal = place.site, place.terminal
    return TillClient(mqtt, Topics(checked(site), checked(terminal)), checked(till), **options)
