"""`facepay keys show`: the terminal's public key, for tills to pin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.options import AsJson, ConfigFile

if TYPE_CHECKING:
    from agent.till.signing import Signer

app = typer.Typer(no_args_is_help=True, help="The terminal's signing key and the tills' keys it trusts.")

Directory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="State directory; default: the config's storage.directory.")
]


@app.command("show", epilog="Example:  facepay keys show --directory /var/lib/facepay-agent > terminal.pem")
def show(config: ConfigFile = None, directory: Directory = None, as_json: AsJson = False) -> None:
    """Show this terminal's public key. stdout is the PEM file that a till pins; the rest is on stderr.

    Compare the fingerprint with what the till has, by another way than MQTT: a phone, a piece of paper.
    """
    import json
    import sys

    signer = _existing(_directory(config, directory))
    pem = signer.public.pem().decode()
    if as_json:
        print(json.dumps({"kid": signer.key_id, "sha256": signer.fingerprint, "pem": pem}))
        return
    print(f"key id       {signer.key_id}\nfingerprint  {signer.fingerprint}", file=sys.stderr)
    print(pem, end="")


def _directory(config: Path | None, directory: Path | None) -> Path:
    from agent.cli.config import path_of
    from agent.config import Config, load

    return directory if directory is not None else load(path_of(config), Config).storage.directory


def _existing(directory: Path) -> Signer:
    """The key that is there. Raises ``TillError``: showing a key must not make one."""
    from agent.errors import TillError
    from agent.till.signing import KEY_FILE, Signer

    if not (directory / KEY_FILE).is_file():
        raise TillError(
            f"{directory / KEY_FILE}: there is no key yet",
            code="key_missing",
            fix="The agent makes it at its first start: facepay run.",
        )
    return Signer.load_or_create(directory)
