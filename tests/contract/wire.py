"""Compares each message on the MQTT link of this process with the contract, in every test.

Contract: ``watch()`` once, before the tests; then ``broken`` holds one sentence for each message outside the
contract since it was cleared last.

The link is patched when it is first imported, not here: a test of pure code loads neither paho nor joserfc
nor YAML.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.mqtt.connection import Connection
    from agent.mqtt.paho_client import Message

LINK = "agent.mqtt.connection"
FROM_TERMINALS = ("/result", "/event", "/state", "/health", "/report")

broken: list[str] = []


def watch() -> None:
    """Check the messages of every link of this process, from the import of the link on."""
    if LINK in sys.modules:
        _patch(sys.modules[LINK].Connection)
    else:
        sys.meta_path.insert(0, _PatchAfterImport())


class _PatchAfterImport(MetaPathFinder):
    """Lets the usual finders import the link, and patches it then."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != LINK:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _patch(module.Connection)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _patch(link: type[Connection]) -> None:
    publish, arrived = link.publish, link.arrived

    async def checked_publish(self: Connection, message: Message, qos: int = 1) -> bool:
        _check(message.topic, message.payload)
        return await publish(self, message, qos)

    def checked_arrived(self: Connection, client: Any, message: Any) -> None:
        _check(message.topic, bytes(message.payload))
        arrived(self, client, message)

    link.publish = checked_publish  # type: ignore[method-assign]
    link.arrived = checked_arrived  # type: ignore[method-assign]


def _check(topic: str, payload: bytes) -> None:
    from tests.contract.validator import assert_valid

    from_terminal = topic.startswith("facepay/") and topic.endswith(FROM_TERMINALS) and payload
    if not from_terminal and not _accepted(topic, payload):
        return
    try:
        assert_valid(topic, payload, exact=bool(from_terminal))
    except (AssertionError, ValueError) as error:
        broken.append(str(error))


def _accepted(topic: str, payload: bytes) -> bool:
    """Whether a terminal accepts this message of a till."""
    from agent.messages.decode import DecodeRules, read_ack, read_cancel, read_request
    from agent.messages.fields import Rejected

    *_, till, kind = ("", "", *topic.split("/"))
    rules = DecodeRules(98_304, 60_000)
    try:
        match kind:
            case "request":
                read_request(payload, till, rules, received_ms=0)
            case "cancel":
                read_cancel(payload, till, rules)
            case "ack":
                read_ack(payload, till, rules)
            case _:
                return False
    except Rejected:
        return False
    return topic.startswith("facepay/")
