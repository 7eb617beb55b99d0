"""Checks each MQTT message of this process against the contract, in every test.

Contract: call ``watch()`` once, before the tests. Then ``broken`` holds one sentence for each message outside
the contract since the list was cleared.

``Connection`` is patched when its module is first imported, not here: a test of pure code loads neither paho
nor joserfc nor YAML.
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

CONNECTION = "agent.mqtt.connection"
FROM_TERMINALS = ("/result", "/event", "/state", "/state_copy", "/health", "/report")

broken: list[str] = []


def watch() -> None:
    """Check the messages of each ``Connection`` of this process."""
    if CONNECTION in sys.modules:
        _patch(sys.modules[CONNECTION].Connection)
    else:
        sys.meta_path.insert(0, _PatchAfterImport())


class _PatchAfterImport(MetaPathFinder):
    """Patches ``Connection`` after the usual finders have imported its module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != CONNECTION:
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


def _patch(connection: type[Connection]) -> None:
    publish, deliver = connection.publish, connection._deliver

    async def checked_publish(self: Connection, message: Message, qos: int = 1) -> bool:
        _check(message.topic, message.payload)
        return await publish(self, message, qos)

    def checked_deliver(self: Connection, client: Any, message: Any) -> None:
        _check(message.topic, bytes(message.payload))
        deliver(self, client, message)

    connection.publish = checked_publish  # type: ignore[method-assign]
    connection._deliver = checked_deliver  # type: ignore[method-assign]


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
