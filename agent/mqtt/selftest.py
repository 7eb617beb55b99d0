"""Broker self-test of the doctor: which rights the broker grants to this terminal.

Steps: connect with the terminal's certificate, subscribe, publish on the own ``doctor`` topic and on the
topics of answers, wait for the own message; then cut a second connection and read its last will.

Contract: no agent of this terminal is connected, and the self-test opens one connection at a time. The client
id is random, but a broker that takes the client id from the certificate or user name ignores that id and
disconnects the other client (mosquitto: ``use_username_as_clientid``, set in ``config/mosquitto``). With two
connections at the same time each replaced the other on such a broker, and the will was never received.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from agent.config import MqttConfig
from agent.errors import TillError, failure_at
from agent.health.probe_results import BrokerProbe
from agent.messages.topics import ACK, CANCEL, EVENT, PROBE_TILL, REQUEST, RESULT, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message, close_abruptly
from agent.mqtt.reason_codes import REFUSING, BrokerProblem
from agent.texts import Text

READY_TIMEOUT_S = 5.0
ROUNDTRIP_TIMEOUT_S = 3.0
WILL_TIMEOUT_S = 3.0


class _CuttableConnection(Connection):
    """A connection that can end without DISCONNECT, so that the broker publishes the will."""

    def close_abruptly(self) -> None:
        if self._client is not None:
            close_abruptly(self._client)


class BrokerSelfTest:
    """One self-test; use an instance once.

    Args:
        agent_runs: whether an agent of this terminal runs now. Called once, before the first connection.
    """

    def __init__(self, config: MqttConfig, topics: Topics, agent_runs: Callable[[], bool]) -> None:
        self._config, self._topics, self._agent_runs = config, topics, agent_runs
        self._payload = secrets.token_hex(8).encode()
        self._will = Message(topics.doctor, self._payload + b"-will", retained=True)
        self._problems: dict[BrokerProblem, str | Text] = {}
        self._decided = asyncio.Event()  # connected and subscribed, or refused
        self._received, self._will_received = asyncio.Event(), asyncio.Event()
        kinds = (REQUEST, CANCEL, ACK)
        filters = [*((topics.till_filter(kind), 1) for kind in kinds), (topics.doctor, 1)]
        options = ClientOptions(
            _client_id(), filters, self._on_message, self._decided.set, on_problem=self._on_problem
        )
        self._connection = Connection(config, options)

    async def run(self) -> BrokerProbe:
        """Run the test. Limits: 5 s to connect, 5 s per publish, 3 s for the own message, 3 s for the will.

        Raises:
            TillError: ``link_down``, an agent runs; nothing was connected.
            ConfigError: unusable certificate files.
        """
        if self._agent_runs():
            message = Text("detail.agent_runs")
            raise TillError(message, code="link_down", fix=Text("fix.check_timed_out"))
        await self._connection.start()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._decided.wait()
            if not self._connection.is_connected:
                return self._refusal()
            return await self._roundtrip()
        except TimeoutError:
            return BrokerProbe(connected=True) if self._connection.is_connected else self._refusal()
        finally:
            await self._connection.stop()

    async def _roundtrip(self) -> BrokerProbe:
        is_refused = BrokerProblem.SUBSCRIPTION_REFUSED in self._problems
        probe = BrokerProbe(connected=True, subscription_refused=is_refused)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        messages = [Message(self._topics.doctor, self._payload)]
        messages += [Message(self._topics.verify(PROBE_TILL, kind), b"") for kind in (RESULT, EVENT)]
        for message in messages:
            try:
                await self._connection.publish(message)
            except TillError as error:
                return replace(probe, publish_error=failure_at(message.topic.rpartition("/")[2], error))
        try:
            async with asyncio.timeout(ROUNDTRIP_TIMEOUT_S):
                await self._received.wait()
        except TimeoutError:
            return probe
        roundtrip_ms = round((loop.time() - began_s) * 1e3)
        return replace(probe, roundtrip_ms=roundtrip_ms, will_received=await self._test_will())

    async def _test_will(self) -> bool:
        """Whether the broker publishes the last will of a connection that is cut.

        The will is retained, so that a later connection receives it, and is cleared at the end.
        """
        await self._connection.stop()
        try:
            async with asyncio.timeout(WILL_TIMEOUT_S):
                async with self._connected([], self._will) as second:
                    second.close_abruptly()
                async with self._connected([(self._topics.doctor, 1)]) as third:
                    await self._will_received.wait()
                    with contextlib.suppress(TillError):
                        await third.publish(Message(self._topics.doctor, b"", retained=True))
        except TimeoutError:
            return False
        return True

    @contextlib.asynccontextmanager
    async def _connected(
        self, filters: list[tuple[str, int]], will: Message | None = None
    ) -> AsyncIterator[_CuttableConnection]:
        ready = asyncio.Event()
        options = ClientOptions(_client_id(), filters, self._on_message, ready.set, will)
        connection = _CuttableConnection(self._config, options)
        await connection.start()
        try:
            await ready.wait()
            yield connection
        finally:
            await connection.stop()

    def _on_message(self, message: Message) -> None:
        match message.topic, message.payload:
            case (self._topics.doctor, self._payload):
                self._received.set()
            case (self._topics.doctor, self._will.payload):
                self._will_received.set()

    def _refusal(self) -> BrokerProbe:
        for problem, detail in self._problems.items():
            if problem in REFUSING:
                return BrokerProbe(connected=False, refused=problem, reason=detail)
        return BrokerProbe(connected=False)

    def _on_problem(self, problem: BrokerProblem, is_active: bool, detail: str | Text) -> None:
        if is_active:
            self._problems[problem] = detail
        if is_active and problem in REFUSING:
            self._decided.set()


def _client_id() -> str:
    return f"facepay-doctor-{secrets.token_hex(4)}"
