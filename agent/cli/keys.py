"""`facepay keys show | rotate | bind | trust | distrust`: this terminal's key and the keys it trusts."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.config import load_config
from agent.cli.options import AsJson, ConfigFile, read_file
from agent.errors import TillError, failure_at
from agent.texts import Text

if TYPE_CHECKING:
    from agent.messages.keyring import Keyring
    from agent.messages.signing import Signer

app = typer.Typer(no_args_is_help=True, help="Manage the terminal's signing key and the tills' keys.")

Directory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="State directory; default: the config's storage.directory.")
]
Operator = Annotated[
    bool,
    typer.Option(
        "--operator", help="The key of an operator for remote diagnosis (`facepay diag ask`), not of a till."
    ),
]
TillName = Annotated[str, typer.Argument(metavar="TILL", help="The till's id, as in its topics.")]


@app.command("show", epilog="Example:  facepay keys show --directory /var/lib/facepay-agent > terminal.pem")
def show(config: ConfigFile = None, directory: Directory = None, as_json: AsJson = False) -> None:
    """Show this terminal's public key: the PEM file for tills on stdout, the rest on stderr.

    Compare the fingerprint with the till's, over another channel than MQTT: by phone or on paper.
    """
    from agent.messages.signing import key_id

    where = _directory(config, directory)
    signer = _existing_key(where)
    key_ids = list[dict[str, list[str]]]()
    for ring in (_ring(where, False), _ring(where, True)):
        key_ids.append({name: [key_id(key.key) for key in ring.keys(name)] for name in ring.tills()})
    tills, operators = key_ids
    pem = signer.public.pem().decode()
    if as_json:
        facts = {"kid": signer.key_id, "sha256": signer.fingerprint, "pem": pem}
        print(json.dumps(facts | {"tills": tills, "operators": operators}))
        return
    print(f"key id       {signer.key_id}\nfingerprint  {signer.fingerprint}", file=sys.stderr)
    for label, names in (("trusted", tills), ("operator", operators)):
        for name, kids in names.items():
            print(f"{label:<13}{name}: {', '.join(kids) or 'no usable key'}", file=sys.stderr)
    print(pem, end="")


@app.command("rotate", epilog="Example:  facepay keys rotate --config /etc/facepay-agent/agent.toml")
def rotate(config: ConfigFile = None, directory: Directory = None, as_json: AsJson = False) -> None:
    """Create a new signing key and sign it with the old key. The agent uses the new key after its next start.

    A till with the old key accepts the new key by the statement in `state`. After two missed rotations, pin
    the new key on the till by hand. A further rotation is refused until the agent has started with the key.
    """
    from agent.messages.encode import rfc3339
    from agent.messages.rotation import rotate as make_new

    settings = load_config(config)
    where = directory or settings.storage.directory
    old = _existing_key(where)
    now = rfc3339(time.time_ns() // 1_000_000)
    new = make_new(where, site=settings.site, terminal=settings.terminal, issued_at=now)
    if as_json:
        print(json.dumps({"old_kid": old.key_id, "kid": new.key_id, "sha256": new.fingerprint}))
        return
    print(f"old key id   {old.key_id}\nkey id       {new.key_id}\nfingerprint  {new.fingerprint}")
    print("Restart the agent to use it: systemctl restart facepay-agent")


@app.command("bind", epilog="Example:  facepay keys bind    As the service: sudo -u facepay")
def bind(config: ConfigFile = None, directory: Directory = None) -> None:
    """Bind the keys to this machine, after a repair that moved the card to another board.

    Never bind a copy of a terminal that still runs: delete the copy's state directory and enrol the copy.
    """
    from agent.fleet import machine
    from agent.privileges import as_owner

    where = _directory(config, directory)
    _existing_key(where)
    try:
        with as_owner(where):
            machine.bind_to_machine(where)
    except OSError as error:
        raise TillError(failure_at(where, error), code="key_unusable") from error
    print("The keys are bound to this machine. Restart the agent: systemctl restart facepay-agent")


@app.command("trust", epilog="Example:  facepay keys trust till-1 till-1.pem")
def trust(
    till: TillName,
    key: Annotated[Path, typer.Argument(metavar="PEM", help="The till's Ed25519 public key.")],
    only: Annotated[bool, typer.Option("--only", help="Remove the till's other keys.")] = False,
    operator: Operator = False,
    config: ConfigFile = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Trust a till's public key. The till must then sign its requests; a running agent uses the key at once.

    Create a till's key with: openssl genpkey -algorithm ed25519 -out till.key && openssl pkey -in till.key
    -pubout -out till-1.pem
    """
    from agent.messages.signing import PublicKey, fingerprint, key_id
    from agent.messages.topics import checked_id

    public = PublicKey.load(read_file(key))
    ring = _ring(_directory(config, directory), operator)
    has_operator = bool(ring.tills())
    ring.trust(checked_id(till), public, replaces_others=only)
    kid, sha256 = key_id(public.key), fingerprint(public.key)
    kind = "operator" if operator else "till"
    if as_json:
        print(json.dumps({kind: till, "kid": kid, "sha256": sha256}))
        return
    print(f"{kind} {till} is trusted with key {kid}\nfingerprint  {sha256}")
    if operator and not has_operator:
        print("This is the first operator. Restart the agent to enable remote diagnosis.")


@app.command("distrust", epilog="Example:  facepay keys distrust till-1")
def distrust(
    till: TillName,
    operator: Operator = False,
    config: ConfigFile = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Remove every key of a till, e.g. a stolen till; a running agent stops accepting them at once."""
    from agent.messages.topics import checked_id

    removed = _ring(_directory(config, directory), operator).distrust(checked_id(till))
    kind = "operator" if operator else "till"
    print(json.dumps({kind: till, "forgotten": removed}) if as_json else f"{removed} keys of {till} removed")


def _directory(config: Path | None, directory: Path | None) -> Path:
    return directory or load_config(config).storage.directory


def _ring(directory: Path, operator: bool) -> Keyring:
    from agent.messages.keyring import FOLDER, OPERATORS, Keyring

    return Keyring(directory, OPERATORS if operator else FOLDER)


def _existing_key(directory: Path) -> Signer:
    """The existing key. Raises ``TillError`` (``key_missing``): showing a key must not create a key."""
    from agent.messages.signing import KEY_FILE

    if not (directory / KEY_FILE).is_file():
        raise TillError(Text("detail.no_key_yet", path=directory / KEY_FILE), code="key_missing")
    return signing_key(directory)


def signing_key(directory: Path) -> Signer:
    """The key of a state directory, created if missing, owned by the directory's owner."""
    from agent.messages.signing import Signer
    from agent.privileges import as_owner

    with as_owner(directory):
        return Signer.load_or_create(directory)
