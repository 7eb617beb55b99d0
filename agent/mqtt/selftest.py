"""Connect as a terminal once, say something to oneself, hear it, die once, leave: what the broker allows."""

from __future__ import annotations

import asyncio
import secrets

from agent.config import MqttConfig
from agent.errors import TillError
from agent.health.probe_results import BrokerProbe
from agent.messages.topics import ACK, CANCEL, EVENT, REQUEST, RESULT, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import Message, Wiring, cut
from agent.mqtt.reason_codes import REFUSING, BrokerProblem

UP_TIMEOUT_S = 5.0
ECHO_TIMEOUT_S = 3.0
WILL_TIMEOUT_S = 2.0
PROBED = "facepay-doctor"  # no till: empty messages under this id test the rights to answer tills


_WILL = b"-will"


class _Doomed(Connection):
    """A link that ends as a pulled cable ends it: no goodbye, so the broker sends the will."""

    def drop(self) -> None:
        if self._client is not None:
            cut(self._client)


class BrokerSelfTest:
    """One use. The client id is not the agent's, so that nobody is thrown off by its id."""

    def __init__(self, config: MqttConfig, topics: Topics) -> None:
        self._topic, self._topics = topics.doctor, topics
        self._word = secrets.token_hex(8).encode()
        self._troubles: dict[BrokerProblem, str] = {}
        self._news = asyncio.Event()  # up, or refused
        self._heard, self._will_heard = asyncio.Event(), asyncio.Event()
        self._config = config
        filters = [(topics.from_every_till(kind), 1) for kind in (REQUEST, CANCEL, ACK)]
        client_id = f"facepay-doctor-{secrets.token_hex(4)}"
        wiring = Wiring(
            client_id,
            [*filters, (self._topic, 1)],
            self._arrived,
            self._news.set,
            on_trouble=self._trouble,
        )
        self._link = Connection(config, wiring)

    async def look(self) -> BrokerProbe:
        """At most 17 s. Raises ``ConfigError`` for unusable certificate files."""
        await self._link.start()
        try:
            async with asyncio.timeout(UP_TIMEOUT_S):
                await self._news.wait()
            if not self._link.connected:
                return self._refusal()
            return await self._talk()
        except TimeoutError:
            return BrokerProbe(connected=True) if self._link.connected else self._refusal()
        finally:
            await self._link.stop()

    async def _talk(self) -> BrokerProbe:
        deaf = BrokerProblem.DEAF in self._troubles
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        messages = [Message(self._topic, self._word)]
        messages += [Message(self._topics.verify(PROBED, kind), b"") for kind in (RESULT, EVENT)]
        for message in messages:
            try:
                await self._link.publish(message)
            except TillError as error:
                kind = message.topic.rpartition("/")[2]
                return BrokerProbe(connected=True, deaf=deaf, publish_error=f"{kind}: {error}")
        try:
            async with asyncio.timeout(ECHO_TIMEOUT_S):
                await self._heard.wait()
        except TimeoutError:
            return BrokerProbe(connected=True, deaf=deaf)
        echo_ms = round((loop.time() - began_s) * 1e3)
        return BrokerProbe(connected=True, deaf=deaf, echo_ms=echo_ms, will_heard=await self._will())

    async def _will(self) -> bool:
        """Whether the broker sends the last will of a second connection that is cut."""
        up = asyncio.Event()
        will = Message(self._topic, self._word + _WILL)
        client_id = f"facepay-doctor-{secrets.token_hex(4)}"
        doomed = _Doomed(self._config, Wiring(client_id, [], lambda _message: None, up.set, will))
        await doomed.start()
        try:
            async with asyncio.timeout(WILL_TIMEOUT_S):
                await up.wait()
                doomed.drop()
                await self._will_heard.wait()
        except TimeoutError:
            return False
        finally:
            await doomed.stop()
        return True

    def _arrived(self, message: Message) -> None:
        if message.topic == self._topic and message.payload == self._word:
            self._heard.set()
        if message.topic == self._topic and message.payload == self._word + _WILL:
            self._will_heard.set()

    def _refusal(self) -> BrokerProbe:
        for trouble, detail in self._troubles.items():
            if trouble in REFUSING:
                return BrokerProbe(connected=False, refused=trouble, reason=detail)
        return BrokerProbe(connected=False)

    def _trouble(self, trouble: BrokerProblem, there: bool, detail: str) -> None:
        if there:
            self._troubles[trouble] = detail
        if there and trouble in REFUSING:
            self._news.set()
