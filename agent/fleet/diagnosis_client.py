"""The client of a remote diagnosis: requests a report from one terminal, accepts only a signed report."""

import asyncio
import hashlib
import secrets
import time
import uuid
from typing import Any

from agent.boot_clock import boot_s
from agent.config import MqttConfig
from agent.core.strict_json import json_object
from agent.errors import TillError
from agent.fleet.time_limits import REPORT_TIMEOUT_S
from agent.messages.diagnosis import KIND
from agent.messages.encode import envelope
from agent.messages.rotation import PinnedKeys
from agent.messages.signing import PublicKey, Signer
from agent.messages.topics import REPORT, REQUEST, Topics, checked_id
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reachability import TERMINAL_UNSIGNED, Reachability, silent_terminal
from agent.texts import Text

STATE_TIMEOUT_S = 10.0


class DiagnosisClient:
    """Requests reports of one terminal. ``pinned``: the terminal's key, received out of band."""

    def __init__(
        self, config: MqttConfig, topics: Topics, operator: str, signer: Signer, pinned: PublicKey
    ) -> None:
        self._topics = topics
        self._operator = checked_id(operator)
        self._signer = signer
        self._pinned = PinnedKeys(pinned)
        self._state: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox = topics.diag(operator, REPORT)
        client_id = f"facepay-operator-{operator}-{secrets.token_hex(4)}"
        filters = [(topics.state, 1), (self._inbox, 1)]
        reachability = self._reachability = Reachability(config)
        options = ClientOptions(
            client_id, filters, self._received, reachability.note_ready, on_problem=reachability.note_problem
        )
        self._link = Connection(config, options)

    async def request_report(
        self, only: tuple[str, ...] = (), *, timeout_s: float = REPORT_TIMEOUT_S
    ) -> dict[str, Any]:
        """Send one request; return the report after its signature and nonce were verified.

        ``only``: ids of checks or groups; empty: all remote checks. ``timeout_s``: maximum wait.

        Raises:
            TillError: the broker's problem, e.g. ``mqtt_refused``; ``terminal_offline``,
                ``terminal_key_wrong``, ``diag_unanswered``,
                ``diag_declined`` (the terminal's reason).
        """
        await self._link.start()
        try:
            state = await self._wait_until_online()
            tree = request_tree(self._topics, self._operator, str(state["epoch"]), only)
            payload = envelope(KIND, tree, self._signer)
            message = Message(self._topics.diag(self._operator, REQUEST), payload, expires_in_s=30)
            await self._link.publish(message)
            async with self._reachability.limit(timeout_s):
                return await self._await_report(tree, payload)
        except TimeoutError:
            unanswered = TillError(Text("detail.diag_unanswered"), code="diag_unanswered")
            raise self._reachability.error(unanswered) from None
        finally:
            await self._link.stop()

    async def _wait_until_online(self) -> dict[str, Any]:
        identity = {"site": self._topics.site, "terminal": self._topics.terminal}
        cause = Text("detail.terminal_silent")
        try:
            async with self._reachability.limit(STATE_TIMEOUT_S):
                while True:
                    self._pinned, state = self._pinned.verified_state(await self._state.get(), boot_s())
                    if state is None or not identity.items() <= state.items():
                        cause = TERMINAL_UNSIGNED
                    elif state.get("status") in ("online", "degraded"):
                        return state
                    else:
                        cause = Text("detail.terminal_state", status=state.get("status"))
        except TimeoutError:
            raise self._reachability.error(silent_terminal(self._topics, cause)) from None

    async def _await_report(self, request: dict[str, Any], payload: bytes) -> dict[str, Any]:
        expected = {name: request[name] for name in ("request_id", "nonce", "site", "terminal")}
        expected["request_sha256"] = hashlib.sha256(payload).hexdigest()
        while True:
            report = opened_report(await self._reports.get(), self._pinned.key)
            if report is None or any(report.get(name) != value for name, value in expected.items()):
                continue  # for another request, old, or forged
            if report.get("declined"):
                why, fix = Text("detail.diag_declined", reason=report["declined"]), Text("fix.diag_refused")
                raise TillError(why, code="diag_declined", fix=fix)
            return report

    def _received(self, message: Message) -> None:
        tree = json_object(message.payload)
        if tree is not None:
            queue = self._state if message.topic == self._topics.state else self._reports
            queue.put_nowait(tree)


def request_tree(topics: Topics, operator: str, epoch: str, only: tuple[str, ...]) -> dict[str, Any]:
    """A request to the terminal of ``topics``, issued now."""
    return {
        "schema": "facepay.diag/1",
        "request_id": str(uuid.uuid4()),
        "site": topics.site,
        "terminal": topics.terminal,
        "operator": operator,
        "nonce": secrets.token_hex(16),
        "epoch": epoch,
        "issued_unix_ms": time.time_ns() // 1_000_000,
        "only": list(only),
    }


def opened_report(outer: dict[str, Any], pinned: PublicKey) -> dict[str, Any] | None:
    """The report inside its envelope; None: not signed by the pinned key."""
    text, jws = outer.get(REPORT), outer.get("jws")
    if not isinstance(text, str) or not isinstance(jws, str) or not pinned.verify(text, jws, REPORT):
        return None
    return json_object(text)
