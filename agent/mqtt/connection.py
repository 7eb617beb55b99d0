"""One permanent connection to the broker. Role-neutral: the terminal and the till kit use it.

Properties of paho 2 that determine the design (each measured, or read in the source of paho):

- An exception in a callback ends paho's network thread while ``is_connected()`` stays true. So every callback
  only passes its arguments to the event loop.
- An unacknowledged publish stays in the client and is sent again after a reconnect, however late. So each
  connection gets a new client, which is discarded with the connection: no old message can leave later. A new
  client also reads the certificates again.
- ``publish`` while offline returns NO_CONN but delivers later. So paho gets no message while offline.
- ``is_published()`` is true even when the broker refused. So only the reason code of ``on_publish`` counts.
- ``connect`` blocks in the resolver beyond its time limit: tens of seconds while no name server answers. So
  it runs in a thread that may be abandoned; one thread at a time, so that retries leave no further threads.
- A clean start discards subscriptions, and a subscription is active only after its SUBACK. So each CONNACK
  starts the subscription, and ``on_ready`` is called after the SUBACK.
"""

import asyncio
import logging
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.config import MqttConfig
from agent.errors import ConfigError, TillError, reason_of
from agent.log import facts
from agent.mqtt.connect_failure import NO_ANSWER, ConnectFailure, failure_without_connack
from agent.mqtt.loop_queue import LoopQueue
from agent.mqtt.paho_client import (
    BrokerLimits,
    ClientOptions,
    Message,
    close_abruptly,
    connect,
    make_client,
    subscribe,
)
from agent.mqtt.publisher import Publisher
from agent.mqtt.reason_codes import describe, problem_of_connack, problem_of_disconnect
from agent.mqtt.status import BrokerStatus
from agent.tasks import end_tasks, in_thread
from agent.texts import Text

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
CONNACK_TIMEOUT_S = 5.0  # a broker that accepts the TCP connection and sends no CONNACK counts as unreachable
_T = TypeVar("_T")
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # pauses between attempts; the last one repeats


class Connection:
    """Keeps one connection to the broker until ``stop``. All methods belong to the asyncio loop."""

    def __init__(self, config: MqttConfig, options: ClientOptions) -> None:
        self._config = config
        self._options = options
        self._client: Client | None = None  # the connected client
        self._candidate: Client | None = None  # the newest client before its CONNACK; no other one counts
        self._lost = asyncio.Event()
        self._status = BrokerStatus(options.on_problem)
        self._publisher = Publisher(self._status)
        self._connecting: Future[ConnectFailure | None] | None = None
        self._loop_queue: LoopQueue | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    @property
    def dropped_messages(self) -> int:
        """Received messages that were dropped because the queue to the loop was full."""
        return 0 if self._loop_queue is None else self._loop_queue.dropped

    async def start(self) -> None:
        """Connect in the background and repeat until the broker answers.

        Raises ``ConfigError``: a certificate, key or password file that cannot be read.
        """
        make_client(self._config, self._options)  # unusable files fail here, not in the background
        loop, options = asyncio.get_running_loop(), self._options
        self._loop_queue = LoopQueue(loop, options.admits, self._deliver, options.waiting_max)
        self._task = asyncio.create_task(self._keep_connected(self._loop_queue), name="mqtt-connection")

    async def stop(self) -> None:
        """Disconnect cleanly, so that the broker discards the will. At most 2 s. Safe to call twice."""
        await end_tasks(self._task)
        self._task = None
        self._status.close()
        client, self._client, self._candidate = self._client, None, None
        self._publisher.fail_unanswered()
        if client is not None:
            client.disconnect()
            await _result_in_time(in_thread("mqtt-stop", client.loop_stop), 2.0, None)

    async def publish(self, message: Message, qos: int = 1) -> bool:
        """Send, and with QoS 1 wait for the PUBACK. True when the broker reports a subscriber.

        Raises ``TillError``: ``link_down`` (offline, not sent), ``publish_cut`` (the connection ended before
        the PUBACK: the message may have been sent), ``publish_refused`` with the broker's reason, or
        ``packet_too_large`` (not sent: the broker announced a smaller limit).
        """
        if self._client is None:
            raise TillError(Text("detail.not_connected"), code="link_down")
        return await self._publisher.publish(self._client, message, qos)

    async def wait_until_free(self) -> None:
        """Wait until ``publish`` sends at once. Raises ``TillError`` (``publish_cut``)."""
        if self._client is not None:
            await self._publisher.wait_until_free(self._client)

    async def _keep_connected(self, loop_queue: LoopQueue) -> None:
        attempt = 0
        while True:
            try:
                await self._run_one_connection(loop_queue)
            except Exception as error:  # without this task the terminal is offline and reports no fault
                self._status.note_connect_failure(_logged(error))
            attempt = 0 if self._status.was_steady else attempt
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1
            if self._client is not None:  # an abandoned attempt got its CONNACK during the pause
                await self._lost.wait()

    async def _run_one_connection(self, loop_queue: LoopQueue) -> None:
        client = self._candidate = make_client(self._config, self._options)
        _set_callbacks(client, self, loop_queue)
        self._lost.clear()
        if failure := await self._connect(client):
            self._status.note_connect_failure(failure)
            return
        loop = asyncio.get_running_loop()
        connack_timer = loop.call_later(CONNACK_TIMEOUT_S, self._cut_without_connack, client)
        try:
            await self._lost.wait()
        finally:
            connack_timer.cancel()
            if client is not self._client:  # otherwise ``stop`` disconnects cleanly
                in_thread("mqtt-stop", client.loop_stop)
        if client is self._candidate:
            is_late = connack_timer.when() <= loop.time()
            self._status.note_connect_failure(await _probe_failure(self._config, is_late=is_late))

    async def _connect(self, client: Client) -> ConnectFailure | None:
        """The failure; at once, without a call, while an abandoned call still blocks."""
        if self._connecting is not None and not self._connecting.done():
            return NO_ANSWER
        self._connecting = _start_to_connect(client, self._config)
        return await _result_in_time(self._connecting, CONNECT_TIMEOUT_S, NO_ANSWER)

    def _cut_without_connack(self, client: Client) -> None:
        if client is self._candidate:
            close_abruptly(client)  # paho then reports the connection as lost

    def on_connack(self, client: Client, reason: ReasonCode, properties: Properties | None) -> None:
        if client is not self._candidate:
            client.disconnect()  # the answer to an abandoned attempt
            return
        self._candidate = None
        if reason.is_failure:
            why = describe(reason, properties)
            log.warning("mqtt_connect_refused", extra=facts(host=self._config.host, reason=why))
            self._status.note_refusal(problem_of_connack(reason), why)
            self._lost.set()
            return
        self._client = client
        limits = self._publisher.limits = BrokerLimits.of(properties)
        log.info("mqtt_connected", extra=facts(host=self._config.host, port=self._config.port))
        self._status.note_connected(self._options.missing_features(limits))
        if filters := self._options.allowed_subscriptions(limits):
            subscribe(client, filters)
        else:
            self._options.on_ready()

    def on_disconnect(
        self, client: Client, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if client is self._client:
            self._client = None
            why = describe(reason, properties)
            log.warning("mqtt_connection_lost", extra=facts(host=self._config.host, reason=why))
            problem = problem_of_disconnect(reason, is_from_broker=flags.is_disconnect_packet_from_server)
            self._status.note_lost(problem, why, self._publisher.fail_unanswered())
        elif client is not self._candidate:
            return  # a client of an abandoned attempt
        self._lost.set()

    def on_suback(self, client: Client, reasons: list[ReasonCode]) -> None:
        if client is self._client:
            self._status.note_subscribed(self._options.refused_filters(self._publisher.limits, reasons))
            self._options.on_ready()

    def on_puback(self, client: Client, mid: int, reason: ReasonCode, properties: Properties | None) -> None:
        if client is self._client:
            self._publisher.handle_puback(mid, reason, properties)

    def _deliver(self, client: Client, message: MQTTMessage) -> None:
        if client is self._client:
            self._options.on_message(Message.of(message))


def _set_callbacks(client: Client, owner: Connection, queue: LoopQueue) -> None:
    """No callback holds the client: in a reference cycle its socket pair would be collected unclosed."""
    client.on_connect = lambda source, _u, _flags, *answer: queue.call(owner.on_connack, source, *answer)
    client.on_disconnect = lambda source, _u, *end: queue.call(owner.on_disconnect, source, *end)
    client.on_publish = lambda source, _u, *answer: queue.call(owner.on_puback, source, *answer)
    client.on_subscribe = lambda source, _u, _mid, reasons, _p: queue.call(owner.on_suback, source, reasons)
    client.on_message = lambda source, _u, message: queue.put(source, message)


def _logged(error: Exception) -> ConnectFailure:
    is_bug = not isinstance(error, ConfigError)  # a file is being replaced, or was removed
    log.error("mqtt_bug" if is_bug else "mqtt_files_unusable", exc_info=is_bug, extra=facts(why=error))
    return ConnectFailure(reason_of(error))


def _start_to_connect(client: Client, config: MqttConfig) -> Future[ConnectFailure | None]:
    started = in_thread("mqtt-connect", partial(connect, client, config))
    if started.done() and isinstance(error := started.exception(), OSError):  # no thread was started
        started = Future()
        started.set_result(ConnectFailure(reason_of(error)))
    return started


async def _probe_failure(config: MqttConfig, *, is_late: bool) -> ConnectFailure:
    """Why a connection ended without a CONNACK. TLS 1.3 reports a bad certificate this late."""
    probing = in_thread(
        "mqtt-probe", partial(failure_without_connack, config, CONNACK_TIMEOUT_S if is_late else None)
    )
    failure = await _result_in_time(probing, CONNECT_TIMEOUT_S, NO_ANSWER)
    log.info("mqtt_connect_failed", extra=facts(host=config.host, why=failure.why))
    return failure


async def _result_in_time(call: Future[Any], timeout_s: float, otherwise: _T) -> _T:
    """The result of a call of ``in_thread``; ``otherwise`` after the time limit or an exception (logged)."""
    try:
        async with asyncio.timeout(timeout_s):
            result: _T = await asyncio.wrap_future(call)
            return result
    except TimeoutError:
        return otherwise
    except Exception:
        log.exception("bug_in_connection")
        return otherwise
