"""`facepay init`: the first setup of a terminal: config, key, and checks of camera, broker and API."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.config import DEFAULT, load_config
from agent.cli.doctor import show_row
from agent.cli.init_answers import Answers, accepting, completed, config_text
from agent.cli.keys import signing_key
from agent.cli.options import ConfigFile, grouped, read_file
from agent.cli.waiting import Spinner
from agent.errors import ConfigError
from agent.texts import Text, beside

if TYPE_CHECKING:
    from agent.fleet.places import TerminalPaths

TESTS = ("config.lint", "keys.files", "keys.permissions", "camera.detect", "api.auth", "mqtt.roundtrip")


@grouped
def init(
    config: ConfigFile = None,
    answers: Answers = Answers(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="No prompts: use options and defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing config.")] = False,
    no_tests: Annotated[bool, typer.Option("--no-tests", help="Only write the config.")] = False,
) -> None:
    """Write a valid config, create the signing key, check camera, broker and API, and list the next steps.

    Secrets come from a file or a hidden prompt, never from an argument. Exit as `facepay doctor`: 0, 1 or 2.
    """
    from agent.fleet.places import TerminalPaths

    places = TerminalPaths((config or DEFAULT).resolve())
    if places.config.exists() and not force:
        raise ConfigError(f"{places.config} exists already", code="config_exists")
    answers = completed(answers, ask=not yes)
    answers = answers if yes else accepting(answers, places)
    _write(places, config_text(answers, places), _secret(answers.secret_key_file, ask=not yes))
    fingerprint = signing_key(load_config(places.config).storage.directory).fingerprint
    code = 0 if no_tests else _check(places.config)
    _print_next_steps(places.config, fingerprint)
    raise typer.Exit(code)


def _secret(file: Path | None, *, ask: bool) -> bytes:
    """The API key; empty for no key yet: the package's placeholder stays."""
    if file is not None:
        return read_file(file).strip()
    if not ask:
        return b""
    title = beside(Text("prompt.secret_key"))
    return str(typer.prompt(title, hide_input=True, default="", show_default=False)).encode()


def _write(places: TerminalPaths, text: str, secret: bytes) -> None:
    """Check the config in a candidate file first; an agent never reads an unchecked config."""
    from agent.fleet.files import write_whole
    from agent.root.judge import judged

    path, candidate = places.config, places.config.with_name(f".{places.config.name}.candidate")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(candidate, text.encode(), mode=0o640)
        try:
            loaded = judged(candidate, complete=True, here=False)
        finally:
            candidate.unlink(missing_ok=True)
        if secret:
            places.keep("secret-key", secret)
        if path.exists():
            write_whole(path.with_name(f"{path.name}.before"), path.read_bytes(), like=path)
        write_whole(path, text.encode(), mode=0o640)
        storage = loaded.storage.directory
        if os.geteuid() == 0 and storage.exists():
            os.chown(path, -1, storage.stat().st_gid)  # the service's group may read the config
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", code="config_unwritable") from error


def _check(config: Path) -> int:
    """Run the doctor's checks of the new config's camera, API and broker; return the doctor's exit code."""
    from agent.diagnostics.checks.table import CHECKS
    from agent.diagnostics.doctor import exit_code, run_checks, select
    from agent.root.doctor import make_world

    logging.getLogger("agent").setLevel(logging.CRITICAL)  # the report names the same faults
    reports = []
    with Spinner("checking camera, API and broker") as spinner:
        for report in run_checks(select(CHECKS, TESTS), make_world(config)):
            if report.check.id != "agent.status":  # no agent runs yet: not a finding
                reports.append(report)
                show_row(report.facts(), spinner.print_out)
    return exit_code(reports)


def _print_next_steps(config: Path, fingerprint: str) -> None:
    print(f"\n{config} is written. This terminal's signing key: {fingerprint}\n\nNext:")
    print(f"  facepay keys show --config {config} > terminal.pem   # pin this key on each till")
    print(f"  facepay keys trust TILL TILL.pem --config {config}    # for each till, its public key")
    print(f"  facepay enrol --url … --config {config}               # if the broker requires a certificate")
    print("  systemctl enable --now facepay-agent")
