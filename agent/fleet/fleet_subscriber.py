"""A client that fills a ``Fleet`` from a broker, and the document of the fleet. It publishes nothing."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from agent.config import MqttConfig
from agent.fleet.fleet_model import Fleet, LeftOut, Need, TerminalRow
from agent.messages.topics import HEALTH, STATE, every_terminal
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.status import ReportProblem

# mosquitto drops QoS 1 messages beyond max_queued_messages (1 000) of a client: of 2 000 retained states,
# 1 064 arrived with QoS 1 and all with QoS 0, which it drops only while the socket of the client is full.
_QOS = 0
_WAITING_PER_TERMINAL = 4


class FleetSubscriber:
    """For the event loop only. ``on_ready`` is called after each SUBACK."""

    def __init__(
        self,
        config: MqttConfig,
        terminals_max: int,
        on_ready: Callable[[], None] = lambda: None,
        *,
        on_problem: ReportProblem,
    ) -> None:
        self.fleet = Fleet(time.monotonic(), terminals_max)
        self._on_ready = on_ready
        options = ClientOptions(
            f"facepay-fleet-{secrets.token_hex(4)}",
            [(every_terminal(kind), _QOS) for kind in (STATE, HEALTH)],
            self._received,
            self._ready,
            on_problem=on_problem,
            waiting_max=terminals_max * _WAITING_PER_TERMINAL,
        )
        self.connection = Connection(config, options)
        self.subscriptions = 0  # successful ones so far
        self.newest_s = time.monotonic()  # arrival of the newest message

    async def start(self) -> None:
        """Connect in the background. Raises ``ConfigError`` for unusable certificate files."""
        await self.connection.start()

    async def stop(self) -> None:
        await self.connection.stop()

    def rows(self) -> list[TerminalRow]:
        """The rows now, the most urgent first."""
        if not self.connection.is_connected:
            self.fleet.note_disconnected()
        return self.fleet.rows(time.monotonic())

    def _ready(self) -> None:
        self.subscriptions += 1
        self.fleet.note_subscribed(time.monotonic())
        self._on_ready()

    def _received(self, message: Message) -> None:
        self.newest_s = now_s = time.monotonic()
        self.fleet.note_message(message.topic, message.payload, retained=message.retained, now_s=now_s)


def row_facts(row: TerminalRow) -> dict[str, Any]:
    """One row as plain values without ages. A value that is not known is absent."""
    facts: dict[str, Any] = {
        "site": row.site,
        "terminal": row.terminal,
        "need": row.need.value,
        "problems": [problem.value for problem in row.problems],
    }
    if row.state is not None:
        facts |= {
            "status": row.state.status.value,
            "conditions": list(row.state.conditions),
            "conditions_left_out": row.state.conditions_left_out,
            "version": row.state.version,
            "profile": row.state.profile,
            "accepted_risks": row.state.accepted_risks,
        }
    return facts


def fleet_document(subscriber: FleetSubscriber, rows: Sequence[TerminalRow]) -> dict[str, Any]:
    """The document ``facepay.fleet/1`` for ``--json``: all rows with ages in seconds, and the totals."""
    now_s, needs = time.monotonic(), Counter(row.need for row in rows)
    return {
        "schema": "facepay.fleet/1",
        "connected": subscriber.connection.is_connected,
        "terminals_total": len(rows),
        "needs": {need.value: needs[need] for need in Need},
        "left_out": {reason.value: subscriber.fleet.left_out[reason] for reason in LeftOut},
        "left_out_example": subscriber.fleet.example,
        "dropped": subscriber.connection.dropped_messages,
        "terminals": [row_facts(row) | _ages(row, now_s) for row in rows],
    }


def _ages(row: TerminalRow, now_s: float) -> dict[str, Any]:
    ages: dict[str, Any] = {"need_for_s": round(now_s - row.since_s)}
    if row.health is not None and row.health_s is not None:
        ages["health_age_s"] = round(now_s - row.health_s)
        ages["health"] = {"_".join(path): number for path, number in row.health.numbers.items()}
    return ages
