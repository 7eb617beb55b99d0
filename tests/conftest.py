"""Fixtures that several rooms' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent.till.link import Link
from agent.till.link_client import Message
from tests.brokers import Mosquitto
from tests.contract.validator import assert_valid

FROM_TERMINALS = ("/result", "/event", "/state", "/health")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running mosquitto, one per test module."""
    made = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def every_message_of_a_terminal_is_in_the_contract(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """In every test: what a terminal publishes here, or is heard saying by another process, is valid.

    What tills send is left to the tests, which send junk on purpose; so is a message marked ``forged``.
    """
    broken: list[str] = []
    publish, arrived = Link.publish, Link.arrived

    def check(topic: str, payload: bytes) -> None:
        if topic.startswith("facepay/") and topic.endswith(FROM_TERMINALS) and payload:
            try:
                assert_valid(topic, payload)
            except (AssertionError, ValueError) as error:
                broken.append(str(error))

    async def checked_publish(self: Link, message: Message, qos: int = 1) -> bool:
        check(message.topic, message.payload)
        return await publish(self, message, qos)

    def checked_arrived(self: Link, client: Any, message: Any) -> None:
        check(message.topic, bytes(message.payload))
        arrived(self, client, message)

    monkeypatch.setattr(Link, "publish", checked_publish)
    monkeypatch.setattr(Link, "arrived", checked_arrived)
    yield
    if request.node.get_closest_marker("forged") is None:
        assert not broken, broken
