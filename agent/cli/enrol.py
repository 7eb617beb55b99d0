"""`facepay enrol`: this terminal's TLS key and its certificate, signed by the operator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.config import DEFAULT, load_config
from agent.cli.console import Spinner
from agent.cli.keys import signing_key
from agent.cli.options import AsJson, ConfigFile, File, file, pem, read_file
from agent.errors import ConfigError, failure_at
from agent.texts import Text, on_one_line

if TYPE_CHECKING:
    from agent.fleet.enrolment import Enrolled
    from agent.fleet.terminal_paths import TerminalPaths


def enrol(
    url: Annotated[str, typer.Option(metavar="URL", help="The operator's enrolment address, https.")] = "",
    token_file: Annotated[File, file(help="File with the one-time token; default: a prompt.")] = None,
    site: Annotated[str, typer.Option(metavar="ID", help="The shop; the operator may override it.")] = "",
    terminal: Annotated[
        str, typer.Option(metavar="ID", help="Default: from the Pi's serial number or the machine id.")
    ] = "",
    server_ca: Annotated[File, pem(help="The CA of the address's certificate.")] = None,
    csr_only: Annotated[bool, typer.Option("--csr-only", help="Only print the certificate request.")] = False,
    install: Annotated[File, pem(help="A certificate signed elsewhere.")] = None,
    ca: Annotated[File, pem(help="With --install: its CA.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Create the terminal's TLS key, request its certificate, install both, and set both in the config.

    The key never leaves the terminal; an existing key is kept. The token is never an argument. To renew the
    certificate, run the command again, then `systemctl restart facepay-agent`.
    """
    from agent.fleet.csr import make_csr
    from agent.fleet.terminal_paths import TerminalPaths

    paths = TerminalPaths((config or DEFAULT).resolve())
    site, terminal = _ids(paths, site, terminal)
    if csr_only:
        print(make_csr(_key(paths), site, terminal), end="")
        return
    if install is not None:
        enrolled = _signed_elsewhere(site, terminal, install, ca)
        _require_key(paths)
    else:
        token = _token(url, token_file)  # before the key: a refused command writes nothing
        csr = make_csr(_key(paths), site, terminal)
        enrolled = _by_network(paths, url, csr, token, (site, terminal), server_ca)
    _install(paths, enrolled, _key(paths))
    _print(paths, enrolled, as_json=as_json)


def _ids(paths: TerminalPaths, site: str, terminal: str) -> tuple[str, str]:
    """Site and terminal: from the options; else from the config, unless as shipped; else from the machine."""
    from agent.config import Config
    from agent.fleet import machine
    from agent.fleet.fleet_errors import refusal
    from agent.messages.topics import is_id

    if paths.trial.exists():
        raise ConfigError(Text("detail.try_sets_ids", path=paths.trial), code="try_active")
    fresh = Config()
    own = load_config(paths.config) if paths.config.exists() else fresh
    site = site or (own.site if own.site != fresh.site else "")
    terminal = terminal or (own.terminal if own.terminal != fresh.terminal else machine.terminal_id())
    if not is_id(terminal) or (site and not is_id(site)):
        raise refusal("enrolment_incomplete", Text("detail.not_ids", site=site, terminal=terminal))
    return site, terminal


def _key(paths: TerminalPaths) -> bytes:
    """The existing key, or a new key. An empty file is the package's placeholder."""
    from agent.fleet.csr import make_key
    from agent.fleet.fleet_errors import refusal

    path = paths.secret("terminal-key.pem")
    try:
        key = path.read_bytes() if path.exists() else b""
        if not key.strip():
            key = make_key()
            paths.write_secret(path.name, key)
    except OSError as error:
        raise refusal("enrolment_unwritable", failure_at(path, error)) from error
    return key


def _require_key(paths: TerminalPaths) -> None:
    """A certificate that was signed elsewhere belongs to the key of ``--csr-only``."""
    from agent.fleet.fleet_errors import refusal

    path = paths.secret("terminal-key.pem")
    if not path.exists() or not path.read_bytes().strip():
        raise refusal("enrolment_incomplete", Text("detail.no_key_yet", path=path))


def _token(url: str, token_file: Path | None) -> str:
    """The token for this address. Raises ``AgentError``: no address, an insecure one, or no token."""
    from agent.fleet.enrolment import check_url
    from agent.fleet.fleet_errors import refusal

    if not url:
        raise refusal("enrolment_incomplete", Text("detail.enrol_way"))
    check_url(url)
    if token_file is not None:
        token = read_file(token_file)[:4_096].decode(errors="replace").strip()
    else:
        token = str(typer.prompt(on_one_line(Text("prompt.token")), hide_input=True)).strip()
    if not token:
        raise refusal("enrolment_incomplete", Text("detail.token_empty"))
    return token


def _by_network(
    paths: TerminalPaths, url: str, csr: str, token: str, ids: tuple[str, str], server_ca: Path | None
) -> Enrolled:
    """Send the request, with the public signing key, which the operator distributes to the tills."""
    from agent.config import Config
    from agent.fleet.enrolment import enrol as ask

    own = load_config(paths.config) if paths.config.exists() else Config()
    signer = signing_key(own.storage.directory)
    public = {"kid": signer.key_id, "sha256": signer.fingerprint, "pem": signer.public.pem().decode()}
    body = {"token": token, "csr": csr, "site": ids[0], "terminal": ids[1], "signing_key": public}
    with Spinner(f"waiting for {url}"):
        return ask(url, body, server_ca)


def _signed_elsewhere(site: str, terminal: str, install: Path, ca: Path | None) -> Enrolled:
    from agent.fleet.enrolment import Enrolled
    from agent.fleet.fleet_errors import refusal

    if ca is None or not site:
        raise refusal("enrolment_incomplete", Text("detail.install_needs"))
    return Enrolled(site, terminal, read_file(install), read_file(ca))


def _install(paths: TerminalPaths, enrolled: Enrolled, key: bytes) -> None:
    """Check first, then write the files; write the config last, when the files it names exist."""
    from agent.fleet.csr import check_certificate
    from agent.fleet.fleet_errors import refusal
    from agent.safe_write import write_whole

    check_certificate(enrolled.certificate, enrolled.authority, key, enrolled.terminal)
    text = paths.text_with(
        {
            "site": enrolled.site,
            "terminal": enrolled.terminal,
            "mqtt.tls": True,
            "mqtt.ca_file": str(paths.authority),
            "mqtt.cert_file": str(paths.certificate),
            "mqtt.key_file": paths.secret_in_config("terminal-key.pem"),
        }
    )
    try:
        write_whole(paths.authority, enrolled.authority, mode=0o644)
        write_whole(paths.certificate, enrolled.certificate, mode=0o644)
        paths.write(paths.target, text)
    except OSError as error:
        raise refusal("enrolment_unwritable", failure_at(error.filename, error)) from error


def _print(paths: TerminalPaths, enrolled: Enrolled, *, as_json: bool) -> None:
    if as_json:
        files = {"certificate": str(paths.certificate), "ca": str(paths.authority)}
        print(json.dumps({"site": enrolled.site, "terminal": enrolled.terminal, **files}))
        return
    print(f"enrolled as {enrolled.site}/{enrolled.terminal}\ncertificate  {paths.certificate}")
    print(f"config       {paths.target}: site, terminal and [mqtt] are set")
    print("next: facepay doctor --only mqtt.roundtrip, then systemctl enable --now facepay-agent")
