"""`facepay init`: the first setup of a terminal: config, key, and checks of camera, broker and API."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import init_try
from agent.cli.config import DEFAULT, load_config
from agent.cli.console import Spinner
from agent.cli.doctor import show_row
from agent.cli.init_answers import Answers, completed, values_of
from agent.cli.init_questions import answered_by_prompts, with_accepted_risks, without_place
from agent.cli.keys import signing_key
from agent.cli.options import ConfigFile, grouped, read_file
from agent.cli.till import print_verdict
from agent.errors import ConfigError, failure_at
from agent.resources import config_file
from agent.texts import Text, on_one_line

if TYPE_CHECKING:
    from agent.fleet.terminal_paths import TerminalPaths

TESTS = ("config.lint", "keys.files", "keys.permissions", "camera.detect", "api.auth", "mqtt.roundtrip")
_FIXES_OF_A_FILE = ("fix.config_invalid", "fix.risks_not_accepted")


@grouped
def init(
    config: ConfigFile = None,
    answers: Answers = Answers(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="No prompts: use options and defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing config.")] = False,
    no_tests: Annotated[bool, typer.Option("--no-tests", help="Only write the config.")] = False,
    trial: Annotated[
        bool,
        typer.Option("--try", help="Play a scene and send one request, without camera, account and network."),
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="With --try: stop and remove the trial.")] = False,
) -> None:
    """Write a valid config, create the signing key, check camera, broker and API, and list the next steps.

    `--try` ends in a result of a simulated camera, on any machine; it never changes an operator's config.
    Secrets come from a file or a hidden prompt, never from an argument. Exit as `facepay doctor`: 0, 1 or 2.
    """
    from agent.fleet.terminal_paths import TerminalPaths

    paths = TerminalPaths((config or DEFAULT).resolve())
    if trial or undo:
        raise typer.Exit(_try(paths, undo=undo))
    if paths.target.exists() and not force:
        raise ConfigError(Text("detail.exists", path=paths.target), code="config_exists")
    answers = completed(answers) if yes else with_accepted_risks(answered_by_prompts(answers, paths), paths)
    text = _checked_text(paths, answers)
    secret = answers.secret_key_here or _secret(answers.secret_key_file, with_prompt=not yes)
    init_try.undo(paths)
    _write(paths, text, secret)
    fingerprint = signing_key(load_config(paths.config).storage.directory).fingerprint
    code = 0 if no_tests else _check(paths)
    _print_next_steps(paths, fingerprint)
    raise typer.Exit(code)


def _try(paths: TerminalPaths, *, undo: bool) -> int:
    """The exit code of `--try`: 0 for a match, or for a trial that is removed."""
    if undo:
        removed = init_try.undo(paths)
        print("The trial is stopped and removed." if removed else "There is no trial to remove.")
        return 0
    verdict = init_try.run_try(paths)
    print_verdict(verdict, as_json=False, checked=True)
    print(f"\n{init_try.next_steps(paths)}")
    return 0 if verdict.decision == "match" else 1


def _secret(file: Path | None, *, with_prompt: bool) -> bytes:
    """The API key; empty for no key yet: the package's placeholder stays."""
    if file is not None:
        return read_file(file).strip()
    if not with_prompt:
        return b""
    title = on_one_line(Text("prompt.secret_key"))
    return str(typer.prompt(title, hide_input=True, default="", show_default=False)).encode()


def _checked_text(paths: TerminalPaths, answers: Answers) -> str:
    """The text for ``paths.target``. The whole config was checked in a temporary file beside the config.

    Raises ``ConfigError``: the config may not run, or the temporary file cannot be written.
    """
    from agent.fleet.toml_edit import set_values
    from agent.root.judge import check_photos, load_runnable_config
    from agent.safe_write import write_whole

    values = values_of(answers, paths)
    whole = set_values(config_file("agent.toml").read_text(encoding="utf-8"), values)
    candidate = paths.config.with_name(f".{paths.config.name}.candidate")
    try:
        candidate.parent.mkdir(parents=True, exist_ok=True)
        write_whole(candidate, whole.encode(), mode=0o640)
        try:
            check_photos(load_runnable_config(candidate, with_parts=True, is_local=False))
        except ConfigError as error:
            fix = Text("fix.init_value") if error.fix.key in _FIXES_OF_A_FILE else error.fix
            raise ConfigError(without_place(error.detail, candidate), code=error.code, fix=fix) from error
        finally:
            candidate.unlink(missing_ok=True)
        return paths.fresh_text(values)
    except OSError as error:
        raise ConfigError(failure_at(error.filename, error), code="config_unwritable") from error


def _write(paths: TerminalPaths, text: str, secret: bytes) -> None:
    """Write the secret, then the config, which the service's group may read. Raises ``ConfigError``."""
    from agent.safe_write import write_whole

    path = paths.target
    try:
        if secret:
            paths.write_secret("secret-key", secret)
        if path.exists():
            write_whole(path.with_name(f"{path.name}.before"), path.read_bytes(), like=path)
        paths.write(path, text)
        storage = load_config(paths.config).storage.directory
        if os.geteuid() == 0 and storage.exists():
            os.chown(path, -1, storage.stat().st_gid)
    except OSError as error:
        raise ConfigError(failure_at(error.filename, error), code="config_unwritable") from error


def _check(paths: TerminalPaths) -> int:
    """Run the doctor's checks of the new config's camera, API and broker; return the doctor's exit code."""
    from agent.diagnostics.checks.table import CHECKS
    from agent.diagnostics.doctor import exit_code, run_checks, select
    from agent.root.doctor import inputs_from_config

    config = load_config(paths.config)
    if config.compare.secret_key_file == Path(paths.secret_in_config("secret-key")):
        # systemd passes the file to the service only while the service runs: read the file itself
        compare = config.compare.model_copy(update={"secret_key_file": paths.secret("secret-key")})
        config = config.model_copy(update={"compare": compare})
    logging.getLogger("agent").setLevel(logging.CRITICAL)  # the report names the same faults
    reports = []
    with Spinner("checking camera, API and broker") as spinner:
        for report in run_checks(select(CHECKS, TESTS), inputs_from_config(lambda: config, paths.config)):
            if report.check.id != "agent.status":  # no agent runs yet: not a finding
                reports.append(report)
                show_row(report.facts(), spinner.print_out)
    return exit_code(reports)


def _print_next_steps(paths: TerminalPaths, fingerprint: str) -> None:
    packaged = paths.is_packaged and paths.config == DEFAULT
    facepay, config = ("sudo facepay", "") if packaged else ("facepay", f" --config {paths.config}")
    print(f"\n{paths.target} is written. This terminal's signing key: {fingerprint}\n\nNext:")
    print(f"  {facepay} keys show{config} > terminal.pem   # pin this key on each till")
    print(f"  {facepay} keys trust TILL TILL.pem{config}   # for each till, its public key")
    print(f"  {facepay} enrol --url …{config}              # if the broker requires a certificate")
    print("  sudo systemctl enable --now facepay-agent" if packaged else f"  facepay run{config}")
