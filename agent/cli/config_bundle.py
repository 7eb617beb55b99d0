"""`facepay config pack | trust | apply | rollback`: numbered and signed configs for a fleet."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import config as plain
from agent.cli.config import load_config, terminals_path_of
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile, File, pem, read_file, write_file
from agent.errors import ConfigError
from agent.texts import Text, json_fields, on_separate_lines
from agent.toml_layers import layers

if TYPE_CHECKING:
    from agent.cli.rollout_target import LocalRolloutTarget
    from agent.fleet.config_bundle import Ring
    from agent.fleet.rollout import RolloutOutcome

app = plain.app

Within = Annotated[float, typer.Option(metavar="S", help="Maximum time until the agent is healthy.")]


@app.command("pack", epilog="Example:  facepay config pack --key operator.key --number 12 agent.toml")
def pack(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Config files.")],
    key: Annotated[Path, pem(help="The operator's private Ed25519 key, mode 600.")],
    number: Annotated[int, typer.Option(metavar="N", help="Higher than every number before.")],
    ring: Annotated[str, typer.Option(metavar="RING", help="canary | all")] = "canary",
    output: Annotated[
        File, typer.Option("--output", "-o", metavar="FILE", help="Default: bundle-N.json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """In the back office: sign config files as one numbered bundle.

    A file with site and terminal is for that terminal. A file without both is for all other terminals.
    """
    from agent.fleet.config_bundle import Bundle
    from agent.fleet.config_bundle import pack as sign
    from agent.messages.encode import rfc3339
    from agent.messages.signing import Signer

    configs = _configs_of(files)
    bundle = Bundle(number, _ring(ring), rfc3339(time.time_ns() // 1_000_000), configs)
    raw, path = sign(bundle, Signer.load(key)), output or Path(f"bundle-{number}.json")
    write_file(path, raw)
    if as_json:
        print(json.dumps({"file": str(path), "number": number, "ring": ring, "for": sorted(configs)}))
        return
    print(f"{path}: number {number}, ring {ring}, {len(raw)} bytes, for {', '.join(sorted(configs))}")


def _configs_of(files: list[Path]) -> dict[str, str]:
    """The config texts by terminal.

    Raises ``ConfigError``: a file is invalid, has keys in its ``.d`` folder, names only one of site and
    terminal, or repeats a terminal.
    """
    from agent.fleet.config_bundle import ALL_TERMINALS
    from agent.root.runnable_config import load_runnable_config

    configs = dict[str, str]()
    for file in files:
        further = layers(file)[1:]
        if further:
            raise ConfigError(Text("detail.bundle_overridden", file=file, other=further[0]))
        checked = load_config(file)
        text = read_file(file).decode()
        identity_keys = {"site", "terminal"} & set(tomllib.loads(text))
        if len(identity_keys) == 1:
            raise ConfigError(Text("detail.bundle_half_named", file=file, key_=identity_keys.pop()))
        load_runnable_config(file, with_parts=True, is_local=False)
        name = f"{checked.site}/{checked.terminal}" if identity_keys else ALL_TERMINALS
        if name in configs:
            raise ConfigError(Text("detail.bundle_second", file=file, name=name))
        configs[name] = text
    return configs


def _ring(name: str) -> Ring:
    from agent.fleet.config_bundle import is_ring

    if not is_ring(name):
        raise ConfigError(Text("detail.no_ring", name=name), code="ring_unknown")
    return name


@app.command("trust", epilog="Example:  facepay config trust operator.pem --ring canary")
def trust(
    key: Annotated[Path, typer.Argument(metavar="PEM", help="The operator's Ed25519 public key.")],
    ring: Annotated[
        str, typer.Option(metavar="RING", help="canary | all; default: unchanged, at first all")
    ] = "",
    only: Annotated[bool, typer.Option("--only", help="Remove the operator's other keys.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """On the terminal: trust an operator's key for bundles, and choose the ring.

    The key and the ring are stored beside the config file.
    """
    from agent.fleet.rollout_store import RolloutStore
    from agent.messages.signing import PublicKey, fingerprint, key_id

    public, fleet = PublicKey.load(read_file(key)), RolloutStore(terminals_path_of(config))
    with fleet.locked():
        record = fleet.read()
        chosen = _ring(ring or record.ring)
        fleet.pin(public, replaces_others=only)
        fleet.write(replace(record, ring=chosen))
    kid, sha256 = key_id(public.key), fingerprint(public.key)
    if as_json:
        print(json.dumps({"kid": kid, "sha256": sha256, "ring": chosen}))
        return
    print(f"bundles of key {kid} are accepted, ring {chosen}\nfingerprint  {sha256}")


@app.command("apply", epilog="Example:  facepay config apply bundle-12.json")
def apply(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Made by `facepay config pack`.")],
    config: ConfigFile = None,
    within: Within = 60.0,
    as_json: AsJson = False,
) -> None:
    """Apply a signed bundle's config, watch the agent, and roll back if the agent is not healthy.

    Conditions: a trusted key signed the bundle, its number is higher than every number before, the bundle is
    for this terminal and its ring, and the config is valid. Otherwise the command reports the reason and
    changes nothing. Exit 0: in force.
    """
    from agent.fleet.config_bundle import MAX_BUNDLE_BYTES
    from agent.fleet.fleet_errors import read_bounded
    from agent.fleet.rollout import apply as apply_bundle

    raw = read_bounded(bundle, MAX_BUNDLE_BYTES, "bundle_unreadable")
    _change_config("in force", config, within, lambda path, target: apply_bundle(path, raw, target), as_json)


@app.command("rollback", epilog="Example:  facepay config rollback")
def rollback(config: ConfigFile = None, within: Within = 60.0, as_json: AsJson = False) -> None:
    """Apply the config before the last bundle again. The bundle's number stays used."""
    from agent.fleet.rollout import rollback as roll_back

    _change_config("rolled back", config, within, roll_back, as_json)


def _change_config(
    state: str,
    config: Path | None,
    within_s: float,
    change: Callable[[Path, LocalRolloutTarget], RolloutOutcome],
    as_json: bool,
) -> None:
    """Change this terminal's config, watch the agent, print the outcome."""
    from agent.cli.rollout_target import make_rollout_target

    path = terminals_path_of(config)
    target = make_rollout_target(path, within_s)
    with Spinner(f"watching the agent, at most {within_s:g} s"):
        outcome = change(path, target)
    if as_json:
        facts = {"outcome": state, "number": outcome.number, "changed": outcome.changed_keys}
        print(json.dumps(facts | json_fields("note", target.note), ensure_ascii=False))
        return
    print(f"bundle {outcome.number}: {state}; changed: {', '.join(outcome.changed_keys) or 'nothing'}")
    print(on_separate_lines(target.note or Text("cli.config_in_force")), end="")
