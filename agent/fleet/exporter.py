"""The fleet of one broker as Prometheus text over HTTP: ``GET /metrics``, plain, on loopback by default.

History, dashboards and alerts belong to Prometheus, Grafana and Alertmanager (config/). This process stores
nothing and publishes nothing.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agent.config import MqttConfig
from agent.core.hosts import in_url
from agent.errors import AgentError, failure_at
from agent.fleet.fleet_exposition import FleetExposition, FleetTotals
from agent.fleet.fleet_subscriber import FleetSubscriber
from agent.health.exposition import MEDIA_TYPE
from agent.health.notify import notify
from agent.health.process import process_facts
from agent.http_listener import HttpListener, ListenerLimits, bind
from agent.log import facts
from agent.mqtt.reachability import client_error
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text

log = logging.getLogger(__name__)

PATH = "/metrics"
FRESH_S = 1.0  # the same text answers all requests within this time
CONNECTIONS_MAX = 16
_LIMITS = ListenerLimits(handshake_s=5.0, header_s=10.0, keepalive_s=120.0, accepts_per_s=20, backlog=32)
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_Message = MutableMapping[str, Any]


class _Listener(HttpListener):
    def refusal_for(self, peer: str) -> bytes | None:  # noqa: ARG002 - of the interface
        return _BUSY if len(self.peers) >= CONNECTIONS_MAX else None


class FleetExporter:
    """Serves the metrics between ``start`` and ``stop``.

    Args:
        host, port: address to listen on; port 0: a free one.
    Attributes:
        url: of the metrics, after ``start``.
    """

    def __init__(self, broker: MqttConfig, host: str, port: int, terminals_max: int) -> None:
        self.subscriber = FleetSubscriber(broker, terminals_max, on_problem=self._note_problem)
        self._broker = broker
        self.url = ""
        self._address = host, port
        self._terminals_max = terminals_max
        self._exposition = FleetExposition()
        self._text, self._text_s = b"", float("-inf")
        self._listener = _Listener(self, _LIMITS, log_prefix="fleet_")

    async def start(self) -> None:
        """Listen, and connect to the broker in the background.

        Raises:
            ConfigError: a certificate, key or password file that cannot be read.
            AgentError: ``listen_failed``, the address cannot be used.
        """
        host, port = self._address
        try:
            listener = bind(host, port)
        except OSError as error:
            why, fix = failure_at(f"{in_url(host)}:{port}", error), Text("fix.fleet_listen")
            raise AgentError(why, code="listen_failed", fix=fix) from error
        host, port = listener.getsockname()[:2]
        self.url = f"http://{in_url(host)}:{port}{PATH}"
        try:
            await self.subscriber.start()
        except BaseException:
            listener.close()
            raise
        self._listener.listen(listener)

    async def stop(self) -> None:
        await self._listener.close()
        await self.subscriber.stop()

    def text(self) -> bytes:
        """The metrics now, at most ``FRESH_S`` old."""
        now_s = time.monotonic()
        if now_s - self._text_s >= FRESH_S:
            rows = self.subscriber.rows()
            self._text = self._exposition.render(rows, self._totals(len(rows)), now_s)
            self._text_s = now_s
        return self._text

    def _note_problem(self, problem: BrokerProblem, active: bool, detail: str | Text) -> None:
        """Log the broker's problem: the metrics show only that there is no connection."""
        if active:
            error = client_error(self._broker, problem, detail)
            log.warning("fleet_broker_problem", extra=facts(code=error.code, why=error, fix=error.fix))
        else:
            log.info("fleet_broker_problem_ended", extra=facts(code=problem))

    def _totals(self, terminals: int) -> FleetTotals:
        link, fleet = self.subscriber.connection, self.subscriber.fleet
        return FleetTotals(
            link.is_connected,
            terminals,
            self._terminals_max,
            fleet.messages,
            fleet.left_out,
            link.dropped_messages,
            self.subscriber.subscriptions,
            process_facts(),
        )

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        _receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """The ASGI application."""
        status, body = (200, self.text()) if scope["path"] == PATH else (404, b"see /metrics\n")
        if scope["method"] not in ("GET", "HEAD"):
            status, body = 405, b""
        kind = MEDIA_TYPE if status == 200 else "text/plain"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def serve(exporter: FleetExporter, report: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. ``report`` gets one line with the url. Raises as ``start``."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await exporter.start()
    try:
        line = f"fleet exporter ready on {exporter.url}"
        report(line)
        log.info("fleet_exporter_ready", extra=facts(url=exporter.url))
        notify("READY=1", f"STATUS={line}")
        await stop.wait()
        notify("STOPPING=1")
    finally:
        await exporter.stop()
