"""Composition root of the compare service: a program, or a thread of another program (demo, tests)."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from agent import event_loop
from agent import log as logs
from agent.compare import compareface_contract
from agent.compare.contract import PATH
from agent.core.hosts import in_url
from agent.errors import AgentError
from agent.health.notify import notify
from agent.log import facts
from agent.service import sockets
from agent.service.application import application
from agent.service.auth import Authenticator
from agent.service.compareface_api import CompareFaceApi
from agent.service.endpoint import CompareApi
from agent.service.face2018_api import Face2018Api
from agent.service.faults import FaultInjector, InjectedFault
from agent.service.freed_memory import return_and_overwrite
from agent.service.memory_budget import DecodeBudget, SharedPool
from agent.service.networks import load_networks
from agent.service.recogniser import Recogniser
from agent.service.served_api import ServedApi
from agent.service.service_listener import ServiceListener
from agent.service.service_reload import reload
from agent.service.settings import ServiceConfig, check, server_tls
from agent.service.stats import Stats
from agent.tasks import call_soon
from agent.texts import Text

log = logging.getLogger(__name__)

_THREAD_GRACE_S = 1.0  # of a service in a thread
_STOP_S = 12.0  # of a program, in total; below TimeoutStopSec of the unit
_START_TIMEOUT_S = 10.0
_POLL_S = 0.01
_APIS: dict[str, Callable[[Authenticator, int], ServedApi]] = {
    PATH: Face2018Api,
    compareface_contract.PATH: CompareFaceApi,
}


class ListeningService:
    """The listening service in the current event loop."""

    def __init__(
        self,
        config: ServiceConfig,
        recognisers: tuple[Recogniser, ...],
        faults: tuple[InjectedFault, ...],
        stats: Stats,
    ) -> None:
        self.api = CompareApi(config, recognisers, stats)
        limits = self.api.authenticator, config.body_max_bytes
        apis = {path: api_class(*limits) for path, api_class in _APIS.items()}
        app = application(self.api, apis)
        self.listener = ServiceListener(
            FaultInjector(app, faults, apis) if faults else app,
            stats,
            connections_max=config.connections_max,
            tls=server_tls(config),
        )
        stats.watch("connections", "Open connections.", lambda: len(self.listener.peers))

    async def close(self, *, drain_s: float, grace_s: float) -> None:
        """Stop without losing an answer.

        Args:
            drain_s: time in which new connections are still accepted, while ``/readyz`` is 503.
            grace_s: time for the open requests after that; later ones get code 15.
        """
        self.api.is_stopping = True
        self.listener.finish_connections()
        await asyncio.sleep(drain_s)
        await self.listener.stop_accepting()
        await self.listener.drain(grace_s)
        await self.listener.close()
        await self.api.pool.join()
        await self.api.limits.close()
        self.api.pool.close()


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
        self._stopping: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None
        self._port = config.port

    @property
    def url(self) -> str:
        """The url of the endpoint. With ``port = 0`` valid after the first start."""
        return _url(self._config, self._port)

    @property
    def calls(self) -> int:
        """Comparisons answered since construction, with any code."""
        return self._stats.calls

    async def start(self) -> None:
        """Load and warm the models, then listen. Raises ``ModelError``, ``ConfigError``."""
        if not self._recognisers:
            self._recognisers = await asyncio.to_thread(load_recognisers, self._config)
        listener = sockets.bind(self._config.host, self._port)
        self._port = listener.getsockname()[1]
        thread = threading.Thread(target=self._run, args=(listener,), name="compare-service", daemon=True)
        thread.start()
        async with asyncio.timeout(_START_TIMEOUT_S):
            while self._stopping is None:
                if not thread.is_alive():
                    raise AgentError(Text("detail.service_not_started"), code="service_failed")
                await asyncio.sleep(_POLL_S)
        self._thread = thread

    async def stop(self) -> None:
        """Close the listener and every connection. Safe to call twice."""
        if self._stopping is None or self._thread is None:
            return
        self._stopping()
        await asyncio.to_thread(self._thread.join)
        self._stopping = self._thread = None

    def _run(self, listener: socket.socket) -> None:
        event_loop.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        service = ListeningService(self._config, self._recognisers, self._faults, self._stats)
        service.listener.listen(listener)
        self._stopping = lambda: call_soon(loop, stopped.set)
        await stopped.wait()
        await service.close(drain_s=0, grace_s=_THREAD_GRACE_S)


def serve(
    config: ServiceConfig,
    *,
    faults: tuple[InjectedFault, ...] = (),
    json_lines: bool = False,
    reread: Callable[[], ServiceConfig] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. Prints one line to stderr when the service is ready.

    Args:
        reread: reads the config again; called at SIGHUP for the accounts and the certificate.
    Raises:
        ConfigError, ModelError: before anything listens.
    """
    check(config)
    logs.setup(json_lines=json_lines)
    return_and_overwrite()
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")  # resolv.conf(5); default: 5 s each
    inherited_socket = sockets.inherited(config.host, config.port)
    listener = inherited_socket or sockets.bind(config.host, config.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until the event loop runs
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # a reload waits until the event loop runs
    recognisers = load_recognisers(config)
    event_loop.run(_serve(config, recognisers, faults, listener, reread))


async def _serve(
    config: ServiceConfig,
    recognisers: tuple[Recogniser, ...],
    faults: tuple[InjectedFault, ...],
    listener: socket.socket,
    reread: Callable[[], ServiceConfig] | None,
) -> None:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    service = ListeningService(config, recognisers, faults, Stats())
    service.listener.listen(listener)
    is_stored = sockets.store_in_supervisor(listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGHUP, reload, config, service.api, service.listener, reread)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    line = f"compare service ready on {_url(config, listener.getsockname()[1])}"
    print(line, file=sys.stderr, flush=True)
    notify("READY=1", f"STATUS={line}")
    log.info("networks", extra=facts(library=recognisers[0].library))
    await stopped.wait()
    notify("STOPPING=1")
    # With a kept socket the next process accepts what arrives from now on.
    drain_s = 0 if is_stored else config.drain_ms / 1e3
    await service.close(drain_s=drain_s, grace_s=_STOP_S - drain_s)


def load_recognisers(config: ServiceConfig) -> tuple[Recogniser, ...]:
    """One recogniser per worker, with its own networks (not thread-safe). Raises ``ModelError``."""
    parts = config.memory_plan()
    memory = DecodeBudget(parts.decode_bytes, SharedPool(parts.shared_bytes))
    recognisers = tuple(
        Recogniser(networks, min_face_px=config.min_face_px, memory=memory)
        for networks in load_networks(threads=config.threads, workers=config.workers)
    )
    for recogniser in recognisers:
        recogniser.warm()
    return recognisers


def _url(config: ServiceConfig, port: int) -> str:
    return f"{'https' if config.cert_file else 'http'}://{in_url(config.host)}:{port}{PATH}"
