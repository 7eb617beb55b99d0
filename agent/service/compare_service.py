"""Composition root of the compare service: a program, or a thread of another program (demo, tests)."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from agent import log
from agent.compare.contract import PATH
from agent.errors import AgentError, ConfigError
from agent.health.notify import notify
from agent.service.endpoint import CompareApi, application
from agent.service.faults import Faulty, InjectedFault
from agent.service.recogniser import Recogniser
from agent.service.settings import ServiceConfig, check
from agent.service.stats import Stats
from agent.texts import Text

_BACKLOG = 128
_KEEPALIVE_S = 75  # longer than any client keeps an idle connection, so the client closes first
_GRACE_S = 1
_START_TIMEOUT_S = 10.0
_POLL_S = 0.01


class _Server(uvicorn.Server):
    """A uvicorn server that calls ``announce`` when it listens."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], object]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


class CompareService:
    """The service in a separate thread with a separate event loop.

    ``start`` after ``stop`` listens on the same port again; the models stay loaded.
    """

    def __init__(self, config: ServiceConfig, *, faults: tuple[InjectedFault, ...] = ()) -> None:
        """Raises ``ConfigError`` of ``settings.check``."""
        check(config)
        self._config = config
        self._faults = faults
        self._stats = Stats()
        self._recognisers: tuple[Recogniser, ...] = ()
        self._api: CompareApi | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._port = config.port

    @property
    def url(self) -> str:
        """The url of the endpoint. With ``port = 0`` valid after the first start."""
        scheme = "https" if self._config.cert_file else "http"
        return f"{scheme}://{_in_url(self._config.host)}:{self._port}{PATH}"

    @property
    def calls(self) -> int:
        """Comparisons answered since construction, with any code."""
        return self._stats.calls

    async def start(self) -> None:
        """Load and warm the models, then listen. Raises ``ModelError``, ``ConfigError``."""
        if not self._recognisers:
            self._recognisers = await asyncio.to_thread(load_recognisers, self._config)
        listener = bind(self._config.host, self._port)
        self._port = listener.getsockname()[1]
        self._api = CompareApi(self._config, self._recognisers, self._stats)
        listening = threading.Event()
        server = _Server(_uvicorn(self._config, self._api, self._faults), listening.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="compare-service", daemon=True)
        thread.start()
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not listening.is_set():
                if not thread.is_alive():
                    raise AgentError("the compare service did not start", code="service_failed")
                await asyncio.sleep(_POLL_S)
        self._server, self._thread = server, thread

    async def stop(self) -> None:
        """Close the listener and every connection. Safe to call twice."""
        if self._server is None or self._thread is None or self._api is None:
            return
        self._server.should_exit = True
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._api.pool.close)
        self._server = self._thread = self._api = None


def serve(
    config: ServiceConfig,
    *,
    faults: tuple[InjectedFault, ...] = (),
    json_lines: bool = False,
) -> None:
    """Run until SIGTERM or SIGINT. Prints one line to stderr when the service is ready.

    Raises:
        ConfigError, ModelError: before anything listens.
    """
    check(config)
    log.setup(json_lines=json_lines)
    listener = bind(config.host, config.port)
    line = ready_line(config, listener.getsockname()[1])

    def ready() -> None:
        print(line, file=sys.stderr, flush=True)
        notify("READY=1", f"STATUS={line}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)  # uvicorn shuts down, then raises the signal again
    api = CompareApi(config, load_recognisers(config), Stats())
    try:
        _Server(_uvicorn(config, api, faults), ready).run([listener])
    finally:
        api.pool.close()


def load_recognisers(config: ServiceConfig) -> tuple[Recogniser, ...]:
    """One recogniser per worker with separate models (not thread-safe). Raises ``ModelError``."""
    recognisers = tuple(
        Recogniser(min_face_px=config.min_face_px, threads=config.threads) for _ in range(config.workers)
    )
    for recogniser in recognisers:
        recogniser.warm()
    return recognisers


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: no client can connect before the models are loaded.

    Raises ``ConfigError`` when the address is in use or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol must be explicit: asyncio sets TCP_NODELAY on such sockets only. Without TCP_NODELAY every
    # answer (headers, then body) waits 40 ms for the delayed acknowledgement of the client.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            code="address_unusable",
            fix=Text("fix.address_unusable"),
        ) from error
    return listener


def ready_line(config: ServiceConfig, port: int) -> str:
    scheme = "https" if config.cert_file else "http"
    return f"compare service ready on {scheme}://{_in_url(config.host)}:{port}{PATH}"


def _uvicorn(config: ServiceConfig, api: CompareApi, faults: tuple[InjectedFault, ...]) -> uvicorn.Config:
    app = application(api)
    return uvicorn.Config(
        Faulty(app, faults) if faults else app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEPALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=config.cert_file,
        ssl_keyfile=config.key_file,
    )


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _in_url(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
