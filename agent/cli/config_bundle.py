"""`facepay config pack | trust | apply | rollback`: configs for a fleet, numbered and signed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import config as plain
from agent.cli.config import terminals_path_of
from agent.cli.options import AsJson, ConfigFile, read_file
from agent.cli.waiting import Spinner
from agent.texts import Text

if TYPE_CHECKING:
    from agent.fleet.config_bundle import Ring
    from agent.fleet.rollout import RolloutOutcome
    from agent.fleet.running import Watch

app = plain.app


Within = Annotated[float, typer.Option(metavar="S", help="How long the agent may take to do well with it.")]


@app.command("pack", epilog="Example:  facepay config pack --key operator.key --number 12 agent.toml")
def pack(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Config files.")],
    key: Annotated[Path, typer.Option(metavar="PEM", help="The operator's private Ed25519 key, mode 600.")],
    number: Annotated[int, typer.Option(metavar="N", help="Higher than any before.")],
    ring: Annotated[str, typer.Option(metavar="RING", help="canary | all")] = "canary",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: bundle-N.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """In the back office: sign config files as one numbered bundle.

    A file that names site and terminal is for that one; one that names neither is for every other.
    """
    import json
    import time

    from agent.fleet.config_bundle import Bundle
    from agent.fleet.config_bundle import pack as sign
    from agent.messages.encode import rfc3339
    from agent.messages.signing import Signer

    configs = _gathered(files)
    made = Bundle(number, _ring(ring), rfc3339(time.time_ns() // 1_000_000), configs)
    raw, path = sign(made, Signer.load(key)), output or Path(f"bundle-{number}.json")
    path.write_bytes(raw)
    if as_json:
        print(json.dumps({"file": str(path), "number": number, "ring": ring, "for": sorted(configs)}))
        return
    print(f"{path}: number {number}, ring {ring}, {len(raw)} bytes, for {', '.join(sorted(configs))}")


def _gathered(files: list[Path]) -> dict[str, str]:
    """The texts by whom they are for. Raises ``ConfigError``: one is wrong, half named, or a second one."""
    import tomllib

    from agent.config import Config
    from agent.config.file import load
    from agent.errors import ConfigError
    from agent.fleet.config_bundle import EVERYBODY
    from agent.root.judge import judged

    configs = dict[str, str]()
    for file in files:
        checked = load(file, Config)
        text = read_file(file).decode()
        named = {"site", "terminal"} & set(tomllib.loads(text))
        if len(named) == 1:
            raise ConfigError(f"{file}: names {named.pop()} alone: name both, or neither")
        judged(file, complete=True, here=False)
        name = f"{checked.site}/{checked.terminal}" if named else EVERYBODY
        if name in configs:
            raise ConfigError(f"{file}: a second config for {name}")
        configs[name] = text
    return configs


def _ring(name: str) -> Ring:
    from agent.errors import ConfigError
    from agent.fleet.config_bundle import is_ring

    if not is_ring(name):
        raise ConfigError(
            f"--ring {name}: there is no such ring",
            code="ring_unknown",
            fix=Text("fix.ring_unknown"),
        )
    return name


@app.command("trust", epilog="Example:  facepay config trust operator.pem --ring canary")
def trust(
    key: Annotated[Path, typer.Argument(metavar="PEM", help="The operator's Ed25519 public key.")],
    ring: Annotated[
        str, typer.Option(metavar="RING", help="canary | all; default: as it is, all at first")
    ] = "",
    only: Annotated[bool, typer.Option("--only", help="Forget the operator's other keys.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """On the terminal: pin the key whose bundles are taken, and choose the ring. Beside the config file."""
    import json
    from dataclasses import replace

    from agent.fleet.record import RolloutStore
    from agent.messages.signing import PublicKey, fingerprint, key_id

    public, fleet = PublicKey.load(read_file(key)), RolloutStore(terminals_path_of(config))
    with fleet.locked():
        record = fleet.read()
        chosen = _ring(ring or record.ring)
        fleet.pin(public, only=only)
        fleet.write(replace(record, ring=chosen))
    kid, sha256 = key_id(public.key), fingerprint(public.key)
    if as_json:
        print(json.dumps({"kid": kid, "sha256": sha256, "ring": chosen}))
        return
    print(f"bundles of key {kid} are taken here, ring {chosen}\nfingerprint  {sha256}")


@app.command("apply", epilog="Example:  facepay config apply bundle-12.json")
def apply(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Made by `facepay config pack`.")],
    config: ConfigFile = None,
    within: Within = 60.0,
    as_json: AsJson = False,
) -> None:
    """Bring a signed bundle's config into force, watch the agent, and go back when it does not do well.

    Refused with the reason, and nothing changed, unless: a pinned key signed it, its number is higher than
    any before, it is for this terminal and its ring, and the config is right. Exit 0: in force.
    """
    from agent.cli.rollout_world import make_terminal
    from agent.fleet.config_bundle import MAX_BUNDLE_BYTES
    from agent.fleet.files import read_bounded
    from agent.fleet.refusals import refusal
    from agent.fleet.rollout import apply as bring

    raw = read_bounded(bundle, MAX_BUNDLE_BYTES, refusal("bundle_unreadable", ""))
    path = terminals_path_of(config)
    terminal = make_terminal(path, within)
    with Spinner(f"watching the agent with it, {within:g} s at most"):
        outcome = bring(path, raw, terminal)
    _say("in force", outcome, terminal, as_json=as_json)


@app.command("rollback", epilog="Example:  facepay config rollback")
def rollback(config: ConfigFile = None, within: Within = 60.0, as_json: AsJson = False) -> None:
    """Bring the config before the last bundle into force again. The bundle's number stays spent."""
    from agent.cli.rollout_world import make_terminal
    from agent.fleet.rollout import rollback as back

    path = terminals_path_of(config)
    terminal = make_terminal(path, within)
    with Spinner(f"watching the agent with it, {within:g} s at most"):
        outcome = back(path, terminal)
    _say("rolled back", outcome, terminal, as_json=as_json)


def _say(what: str, outcome: RolloutOutcome, terminal: Watch, *, as_json: bool) -> None:
    import json

    if as_json:
        facts = {"outcome": what, "number": outcome.number, "changed": outcome.changed, "note": terminal.note}
        print(json.dumps(facts))
        return
    print(f"bundle {outcome.number}: {what}; changed: {', '.join(outcome.changed) or 'nothing'}")
    print(terminal.note or "The agent runs with it and does well.")
