"""Wiring of the diagnostics page. Part of the root; loaded only when the page is configured."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from agent.boot_clock import boot_s
from agent.config import Config, PageConfig
from agent.config.tls_files import load_pair, server_context
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import run_checks
from agent.diagnostics.order import most_urgent_first
from agent.errors import ConfigError
from agent.health.metrics import render
from agent.live_view.annotate import notice_picture
from agent.live_view.live_view import LivePicture, LiveView
from agent.log import facts
from agent.page.access import LOCALHOST, own_names
from agent.page.app import Sources, application
from agent.page.doctor_job import DoctorJob, Rows
from agent.page.listener import Listener
from agent.page.login import SessionStore, read_token
from agent.page.preview import Picture, Preview
from agent.page.session_file import SessionFile, read_boot_id
from agent.root.doctor import inputs_from_config
from agent.root.handle import AgentHandle
from agent.root.wiring import policy_limits
from agent.texts import Text

log = logging.getLogger(__name__)

_HOSTS = {"loopback": "127.0.0.1", "lan": "0.0.0.0"}  # noqa: S104 - configured by name, needs a token


async def open_page(
    stack: AsyncExitStack,
    handle: AgentHandle,
    live_view: LiveView,
    status: Callable[[], Mapping[str, Any]],
    path: Path | None,
) -> Callable[[], str]:
    """Open the page. Returns a function that makes a one-time link. Raises ``AgentError``.

    ``path``: the file of the config.
    """
    config = handle.reload.config.page
    preview = _make_preview(handle, live_view) if config.preview else None

    sessions = await _make_sessions(config, handle.reload.config.storage.directory)
    doctor = DoctorJob(partial(_run_doctor, lambda: handle.reload.config, path))
    sources = Sources(status, doctor, preview, render)
    listener = await _open_listener(config, sessions, sources)
    if preview is not None:
        stack.push_async_callback(preview.close)
    stack.push_async_callback(listener.close)  # runs before preview.close: clients disconnect first
    log.info("page_open", extra=facts(listen=config.listen, port=listener.port))
    login_url = login_url_of(config, listener.port)
    return lambda: login_url + sessions.new_link_secret()


def _run_doctor(config: Callable[[], Config], path: Path | None) -> Rows:
    """The rows of `facepay doctor` for the config in force; ``path``: its file."""
    return most_urgent_first(
        report.facts() for report in run_checks(CHECKS, inputs_from_config(config, path))
    )


def login_url_of(config: PageConfig, port: int) -> str:
    """The address before the secret of a link. On the LAN it names this machine, as a certificate can."""
    name = socket.gethostname() if config.listen == "lan" else _HOSTS[config.listen]
    return f"{'http' if config.cert_file is None else 'https'}://{name}:{port}/login#"


async def _make_sessions(config: PageConfig, directory: Path) -> SessionStore:
    """``directory``: of the state. Raises ``ConfigError``."""
    if config.token_file is None and config.listen == "lan":
        raise ConfigError(Text("detail.page_lan_token"), code="page_unavailable")
    token = None if config.token_file is None else await asyncio.to_thread(read_token, config.token_file)
    file = SessionFile(directory, read_boot_id())
    secure = config.cert_file is not None
    return await asyncio.to_thread(SessionStore, token, secure=secure, now_s=boot_s, file=file)


async def _open_listener(config: PageConfig, sessions: SessionStore, sources: Sources) -> Listener:
    """Raises ``ConfigError``."""
    tls = None
    if config.cert_file is not None and config.key_file is not None:
        tls = server_context()
        load_pair(tls, "page", config.cert_file, config.key_file)
    names = own_names() if config.listen == "lan" else LOCALHOST
    listener = Listener(application(sources, sessions, names=names), tls)
    await listener.open(_HOSTS[config.listen], config.port)
    return listener


def _make_preview(handle: AgentHandle, live_view: LiveView) -> Preview:
    live = LivePicture(handle.analyzer, lambda: policy_limits(handle.reload.config))

    async def picture() -> Picture:
        return Picture(*await live_view.on_next_frame(live.draw))

    async def announce(is_open: bool) -> None:
        handle.frame_tap.watched = is_open
        verification = handle.terminal.open_verification
        if not is_open and not verification.is_open:  # the end of a verification deletes the frame, too
            handle.terminal.worker.submit(live.end)
        if not verification.is_stopping:  # else this message would replace `stopping`
            await handle.till.state.announce()

    return Preview(picture, notice_picture, announce)
