"""`facepay init --try`: one request that ends in a match, without a camera, an account or a network.

On a terminal with the package, systemd and no config of its own: a file in ``agent.d`` sets a simulated
camera, the example account and the broker on loopback, the shipped units start, and a till sends one request.
Elsewhere all parts run in this process, and nothing is written. A config of the operator is never changed.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent import event_loop, log
from agent.cli.console import Spinner
from agent.cli.keys import signing_key
from agent.errors import AgentError, ConfigError, failure_at
from agent.privileges import as_owner
from agent.resources import data
from agent.texts import Text
from agent.toml_layers import layers

if TYPE_CHECKING:
    from agent.fleet.terminal_paths import TerminalPaths
    from agent.fleet.toml_edit import Value
    from agent.kits.till.acceptance import Acceptance

AGENT, COMPARE, BROKER = "facepay-agent", "facepay-compare", "mosquitto"
SITE, TERMINAL, SCENE, PHOTO = "try", "terminal-1", "one_obama_podium", "photos/enrolled/obama_portrait.jpg"
_BROKER_AT = ("127.0.0.1", 1883)
_BROKER_S, _ONLINE_S, _TTL_MS, _API_MS = 15.0, 90.0, 20_000, 10_000  # a busy machine without a camera is slow
_SYSTEMD = Path("/run/systemd/system")


def run_try(paths: TerminalPaths) -> Acceptance:
    """Play a scene and send one request. Raises ``AgentError``: no broker, or a part does not start."""
    from agent.cli.command_line import end_as_ctrl_c

    log.setup("error")
    with Spinner("broker, compare service and terminal are starting"):
        if not uses_units(paths):
            end_as_ctrl_c()
            return event_loop.run(_in_this_process())
        _start_broker()
        storage = Path("/var/lib/facepay-agent/try")
        write_trial_config(paths, storage)
        _systemctl("stop", AGENT)
        for unit in (COMPARE, AGENT):
            _systemctl("--no-block", "start", unit)
        return event_loop.run(_ask(storage))


def uses_units(paths: TerminalPaths) -> bool:
    """Whether the trial may use the units of this machine: no config of the operator exists."""
    return os.geteuid() == 0 and _SYSTEMD.is_dir() and paths.is_packaged and not is_configured(paths)


def is_configured(paths: TerminalPaths) -> bool:
    """Whether the operator has changed the config or installed an API key."""
    from agent.service.settings import EXAMPLE_SECRET

    key = paths.secret("secret-key")
    has_key = key.exists() and key.read_bytes().strip() not in (b"", EXAMPLE_SECRET)
    own_files = [file for file in layers(paths.config)[1:] if file != paths.trial]
    return has_key or bool(own_files) or not paths.is_shipped()


def write_trial_config(paths: TerminalPaths, storage: Path) -> None:
    """Write the config layer of the trial, the key of the example account, and the state directory.

    Raises ``ConfigError``.
    """
    from agent.fleet.toml_edit import set_values
    from agent.root.runnable_config import load_runnable_config
    from agent.service.settings import EXAMPLE_ID, EXAMPLE_SECRET

    values: dict[str, Value] = {
        "profile": "demo",
        "site": SITE,
        "terminal": TERMINAL,
        "inline_reference": True,
        "camera.kind": "replay",
        "camera.source": SCENE,
        "verification.budget_ms": _TTL_MS,
        "verification.ask_timeout_ms": _API_MS,
        "compare.appid": "1250000001",
        "compare.bucket": "terminals",
        "compare.secret_id": EXAMPLE_ID,
        "compare.secret_key_file": paths.secret_in_config("secret-key"),
        "storage.directory": str(storage),
    }
    note = "# Written by `facepay init --try`. Remove it with: sudo facepay init --try --undo\n"
    try:
        with as_owner(storage.parent):
            storage.mkdir(mode=0o700, exist_ok=True)
        paths.write_secret("secret-key", EXAMPLE_SECRET)
        paths.write(paths.trial, note + set_values("", dict(reversed(values.items()))))
    except OSError as error:
        raise ConfigError(failure_at(error.filename, error), code="config_unwritable") from error
    load_runnable_config(paths.config, with_parts=True)


async def with_second_try(ask: Callable[[], Awaitable[Acceptance]]) -> Acceptance:
    """The result of a request; of a second request when the machine was too slow for the first one."""
    from agent.demo.demo_system import TOO_SLOW

    verdict = await ask()
    return await ask() if verdict.reason in TOO_SLOW else verdict


def undo(paths: TerminalPaths) -> bool:
    """Stop the units of the trial and remove its files. False: there is no trial."""
    from agent.config import Config
    from agent.config.file import load
    from agent.service.settings import EXAMPLE_SECRET

    if not paths.trial.exists():
        return False
    with suppress(ConfigError):  # damaged manually: its state directory is unknown
        storage = load(paths.trial, Config).storage.directory
        if paths.is_packaged:
            _systemctl("stop", AGENT)
            if not _systemctl("is-enabled", COMPARE):
                _systemctl("stop", COMPARE)
        if storage.name == "try":
            with as_owner(storage):
                shutil.rmtree(storage, ignore_errors=True)
    key = paths.secret("secret-key")
    if key.exists() and key.read_bytes() == EXAMPLE_SECRET:
        paths.write_secret("secret-key", b"")
    paths.trial.unlink()
    return True


def next_steps(paths: TerminalPaths) -> str:
    """The commands after a trial that ended."""
    if not paths.trial.exists():
        following = "sudo facepay init    # camera, broker, API"
        with suppress(PermissionError):  # a user without rights may not know: `init` replaces no config
            if is_configured(paths) and paths.config.exists():
                following = "facepay status       # this terminal has a config, which the trial did not use"
        return f"The trial ran in this process and wrote nothing.\n\nNext:\n  {following}"
    return (
        f"The units {AGENT} and {COMPARE} run with a simulated camera and the example account.\n\nNext:\n"
        f"  sudo facepay status; sudo facepay why; sudo facepay doctor\n"
        f"  facepay till ask {data(PHOTO)} --site {SITE} --terminal {TERMINAL}\n"
        f"  sudo facepay init                # this terminal's camera, broker and API; ends the trial\n"
        f"  sudo facepay init --try --undo   # ends the trial"
    )


async def _in_this_process() -> Acceptance:
    from agent.config import Config, VerificationConfig
    from agent.demo.demo_system import Visit, running_demo

    # the person stays in the scene, so that a slow machine has all of the time
    visit = Visit("the holder", SCENE, Path(PHOTO).stem, "match", "same_person", ttl_ms=_TTL_MS)
    limits = VerificationConfig(budget_ms=_TTL_MS, ask_timeout_ms=_API_MS)
    async with running_demo(Config(verification=limits)) as demo:
        return (await demo.play(visit)).verdict


async def _ask(storage: Path) -> Acceptance:
    from agent.config import MqttConfig
    from agent.kits.till.client import TillClient
    from agent.messages.topics import Topics

    pinned = signing_key(storage).public
    till = TillClient(MqttConfig(), Topics(SITE, TERMINAL), "till-1", pinned=pinned)
    await till.start()
    try:
        await till.online(_ONLINE_S)
        photo = data(PHOTO).read_bytes()
        return await with_second_try(lambda: till.ask(photo, ttl_ms=_TTL_MS))
    finally:
        await till.stop()


def _start_broker() -> None:
    """Start the system's mosquitto unless a broker listens. Raises ``AgentError``."""
    if _listens():
        return
    _systemctl("start", BROKER)
    until_s = time.monotonic() + _BROKER_S
    while not _listens():
        if time.monotonic() > until_s:
            why, fix = Text("detail.no_broker_here"), Text("fix.install_mosquitto")
            raise AgentError(why, code="demo_broker_missing", fix=fix)
        time.sleep(0.1)


def _listens() -> bool:
    try:
        socket.create_connection(_BROKER_AT, timeout=1.0).close()
    except OSError:
        return False
    return True


def _systemctl(*words: str) -> bool:
    """Whether systemctl ended without an error."""
    from agent.diagnostics.check_inputs import run_program

    return run_program("systemctl", *words) is not None
