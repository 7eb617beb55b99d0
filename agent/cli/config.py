"""`facepay config check | show`, and the paths that other commands take from the config."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson, ConfigFile
from agent.core.directories import directory_fault
from agent.errors import ConfigError
from agent.resources import config_file
from agent.texts import Text, json_fields, labelled_lines, on_one_line
from agent.toml_layers import layers, merged

if TYPE_CHECKING:
    from agent.config import Config

app = typer.Typer(no_args_is_help=True, help="Check a config file, or show the values in force.")

DEFAULT = Path("/etc/facepay-agent/agent.toml")
STORAGE = "/var/lib/facepay-agent"  # the config's default, which a test compares


def path_of(config: Path | None) -> Path:
    """The given file; else the file in /etc; else the shipped defaults."""
    if config is not None:
        return config
    return DEFAULT if DEFAULT.exists() else config_file("agent.toml")


def load_config(config: Path | None) -> Config:
    """The config of ``path_of``. Raises ``ConfigError``."""
    from agent.config import Config
    from agent.config.file import load

    return load(path_of(config), Config)


def terminals_path_of(config: Path | None) -> Path:
    """The config file of this terminal, for commands that write the file or files beside it.

    Raises ``ConfigError`` (``config_shipped``): only the shipped defaults exist. These are part of the
    package or of a checkout, and no command changes them.
    """
    path = path_of(config).resolve()
    if path == config_file("agent.toml").resolve():
        message = Text("detail.config_shipped", path=path)
        raise ConfigError(message, code="config_shipped")
    return path


def storage_of(config: Path | None) -> Path:
    """The state directory of a config file's agent; it also holds the agent's socket.

    Reads this one key without validating the others, for two reasons: the status command must be fast, and a
    config error must not hide the status of an agent that still runs. If the key cannot be read, the whole
    file is loaded, which raises ``ConfigError`` with the error.
    """
    try:
        files = layers(path_of(config))
        tree = merged(tomllib.loads(file.read_text(encoding="utf-8")) for file in files)
        directory = Path(tree.get("storage", {}).get("directory", STORAGE))
        return load_config(config).storage.directory if directory_fault(str(directory)) else directory
    except (OSError, ValueError, AttributeError, TypeError):
        return load_config(config).storage.directory


@app.command("check", epilog="Example:  facepay config check --config /etc/facepay-agent/agent.toml")
def check(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check whether `run` accepts a config file. If not: exit 78 and `file:line: key: why`."""
    from agent.cli.console import Spinner
    from agent.root.runnable_config import load_runnable_config

    path = path_of(config)
    with Spinner(f"checking {path}"):
        loaded = load_runnable_config(path, with_parts=True)
    name = f"{loaded.site}/{loaded.terminal}"
    warnings = _warnings(loaded, path)
    facts = {"file": str(path), "ok": True, "profile": loaded.profile, "terminal": name}
    facts |= json_fields("warning", warnings[0][0] if warnings else None)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    print(f"{path}: valid (profile {loaded.profile}, {name})")
    for why, fix in warnings:
        print("\n".join([f"warning: {on_one_line(why)}", *labelled_lines(fix, "fix")]))


def _warnings(loaded: Config, path: Path) -> list[tuple[Text, Text]]:
    """The warnings about a config that may run, each with its fix; the most important first."""
    from agent.config.secret_files import exposed_config
    from agent.root.runnable_config import lacks_till_key

    warnings = list[tuple[Text, Text]]()
    if exposed := exposed_config(loaded, path):
        warnings.append((exposed[1], Text("fix.run_command", command=f"chmod o= {exposed[0]}")))
    if lacks_till_key(loaded):
        warnings.append((Text("why.keys.tills.none"), Text("fix.till_key_missing")))
    return warnings


@app.command("show", epilog="Example:  facepay config show --config agent.toml --json")
def show(
    config: ConfigFile = None,
    as_json: AsJson = False,
    section: Annotated[str, typer.Option(help="Only this section.", metavar="NAME")] = "",
) -> None:
    """Show every value in force: the file's values and the defaults.

    Shows no secret: user, password and query of an address are omitted.
    """
    from agent.config.secret_files import without_secrets

    values = without_secrets(load_config(config))
    if section:
        if section not in values:
            raise ConfigError(Text("detail.no_section", section=section, known=", ".join(values)))
        values = {section: values[section]}
    if as_json:
        print(json.dumps(values, ensure_ascii=False, indent=2))
        return
    for name, value in values.items():
        if isinstance(value, dict):
            print(f"\n[{name}]")
        for key, inner in value.items() if isinstance(value, dict) else [(name, value)]:
            print(f"{key} = {json.dumps(inner, ensure_ascii=False)}")
