"""A till as a library: sends requests to a terminal, applies the acceptance rules, acknowledges results."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.boot_clock import boot_s
from agent.config import MqttConfig
from agent.core.reasons import Refusal
from agent.core.strict_json import json_object
from agent.errors import TillError
from agent.kits.till.acceptance import Acceptance, AckOnly, OpenRequest, judge_result
from agent.kits.till.request import check_size, new_request, reference_of
from agent.kits.till.terminal_state import GetState, TerminalState
from agent.log import facts
from agent.messages.encode import envelope
from agent.messages.signing import PublicKey, Signer
from agent.messages.topics import ACK, CANCEL, EVENT, GET_STATE, REQUEST, RESULT, STATE_COPY, Topics
from agent.mqtt.connection import Connection
from agent.mqtt.paho_client import ClientOptions, Message
from agent.mqtt.reachability import Reachability, silent_terminal
from agent.tasks import Background
from agent.texts import Text, has_text

log = logging.getLogger(__name__)

ACK_TIMEOUT_S = 1.0
# Refusals with more than one cause: the sentence alone does not name the cause.
_WITH_DETAIL = {
    Refusal.REQUEST_MALFORMED,
    Refusal.REQUEST_TOO_LARGE,
    Refusal.REQUEST_STALE,
    Refusal.SCHEMA_UNSUPPORTED,
    Refusal.NOT_READY,
    Refusal.STORAGE_UNAVAILABLE,
}
GRACE_S = 0.25  # wait after ttl_ms, to report a late result; the till never pays on a late result


class _Sender:
    """Sends cancels, and acknowledgements in the background. Signs when the till has a key."""

    def __init__(self, link: Connection, topics: Topics, till: str, signer: Signer | None) -> None:
        self._link, self._topics, self._till, self._signer = link, topics, till, signer
        self._background = Background()

    async def send(self, kind: str, tree: dict[str, Any]) -> None:
        """Raises ``TillError``: the link failed."""
        place = {"site": self._topics.site, "terminal": self._topics.terminal}
        payload = envelope(kind, {"schema": f"facepay.{kind}/1"} | tree | place, self._signer)
        await self._link.publish(Message(self._topics.verify(self._till, kind), payload))

    def ack_later(self, result_id: str) -> None:
        """Acknowledge in the background: a failed acknowledgement must not lose the verdict."""
        self._background.add(self._try_ack(result_id))

    async def finish(self) -> None:
        """Wait for the pending acknowledgements, at most ``ACK_TIMEOUT_S``."""
        await self._background.finish(ACK_TIMEOUT_S)

    async def get_state(self) -> None:
        """Request ``state`` once, best effort."""
        try:
            await self._link.publish(Message(self._topics.verify(self._till, GET_STATE), b"{}"))
        except TillError as error:  # e.g. older rights of the broker; the retained state remains
            log.info("get_state_not_sent", extra=facts(code=error.code))

    async def _try_ack(self, result_id: str) -> None:
        try:
            await self.send(ACK, {"result_id": result_id})
        except TillError as error:
            # The terminal repeats the result; the till then acknowledges again.
            log.info("ack_not_sent", extra=facts(result_id=result_id, code=error.code))


@dataclass(slots=True)
class _Open:
    request: OpenRequest
    answer: asyncio.Future[Acceptance]
    accepted: bool = False  # the event arrived


def refused(refusal: str, detail: str) -> TillError:
    """The error for a refusal of the terminal. ``detail``: of the terminal, English, for developers."""
    if not has_text(f"refusal.{refusal}"):  # of a newer terminal
        why = Text("detail.at", place=refusal, reason=detail)
        return TillError(why, code=refusal, fix=Text("fix.request_refused_by_terminal"))
    why, fix = Text(f"refusal.{refusal}"), Text(f"refusal_fix.{refusal}")
    if refusal in _WITH_DETAIL:
        why = Text("detail.refused_with", sentence=why, detail=detail)
    return TillError(why, code=refusal, fix=fix)


class TillClient:
    """One till of one terminal. ``on_message`` receives every message before the acceptance rules run."""

    def __init__(
        self,
        config: MqttConfig,
        topics: Topics,
        till: str,
        *,
        pinned: PublicKey | None = None,
        signer: Signer | None = None,
        on_message: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        """``pinned``: the terminal's key, obtained out of band. None: signatures are not checked."""
        self._topics, self._till, self._state = topics, till, TerminalState(topics, pinned)
        self._signer, self._on_message = signer, on_message
        self._open: _Open | None = None
        self._address = {"site": topics.site, "terminal": topics.terminal, "till": till}
        self.violations: list[str] = []  # the rules that received messages broke, newest last
        own = [topics.verify(till, kind) for kind in (EVENT, RESULT, STATE_COPY)]
        self.reachability = Reachability(config)
        options = ClientOptions(
            f"facepay-till-{till}-{secrets.token_hex(4)}",
            [(each, 1) for each in (topics.state, *own)],
            self._received,
            self._up,
            on_problem=self.reachability.note_problem,
            optional_filters=frozenset({topics.verify(till, STATE_COPY)}),
        )
        self._link = Connection(config, options)
        self._sender = _Sender(self._link, topics, till, signer)
        self._get_state = GetState(self._state, self._sender.get_state)

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        await self._sender.finish()
        await self._link.stop()
        await self._get_state.stop()  # last: a message of the open link can begin it again

    async def online(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """The terminal's state, once the terminal serves. Raises ``TillError`` (see ``Reachability``)."""
        try:
            async with self.reachability.limit(timeout_s):
                await self._state.online.wait()
        except TimeoutError:
            raise self.absence() from None
        return self._state.fields

    def absence(self) -> TillError:
        """Why no terminal serves this till: the broker's problem, else that of the terminal."""
        return self.reachability.error(silent_terminal(self._topics, self._state.cause))

    async def ask(
        self,
        photo: bytes | str,
        *,
        sha256: str | None = None,
        ttl_ms: int = 8_000,
        more: dict[str, Any] | None = None,
    ) -> Acceptance:
        """Send one request; the verdict, or ``undecided`` when the till's timer ends first.

        Args:
            photo: the enrolled photo's JPEG bytes, or its url (``sha256`` of its bytes is then required).
            more: further request fields, e.g. ``transaction_id``, ``locale``, ``consent_ref``.
        Raises:
            TillError: no terminal; the terminal refused (``code`` is the refusal); the link failed; or the
                request is larger than the terminal's limit (``request_too_large``, not sent).
        """
        if self._open is not None:
            raise TillError(Text("detail.till_busy"), code="busy")
        state = await self.online()
        tree = new_request(self._address, state["epoch"], ttl_ms, reference_of(photo, sha256)) | (more or {})
        payload = envelope("request", tree, self._signer)
        check_size(len(payload), state)
        request = OpenRequest.of(tree, payload, self._address, now_s=boot_s())
        opened = _Open(request, asyncio.get_running_loop().create_future())
        self._open = opened  # the timer starts before the request is sent
        try:
            topic = self._topics.verify(self._till, REQUEST)
            await self._link.publish(Message(topic, payload, expires_in_s=-(-ttl_ms // 1_000)))
            async with asyncio.timeout(ttl_ms / 1e3 + GRACE_S):
                verdict = await opened.answer
        except TimeoutError:
            return Acceptance("undecided", "timed_out", tree["request_id"], accepted=opened.accepted)
        finally:
            self._open = None
        # Trap: the cancel and the match can arrive in the same iteration of the event loop.
        is_cancelled_match = request.cancelled and verdict.decision == "match"
        return Acceptance("undecided", "cancelled", tree["request_id"]) if is_cancelled_match else verdict

    async def cancel(self) -> None:
        """Cancel the open request. From now on this till never pays on a match for the request."""
        if self._open is not None:
            self._open.request.cancelled = True
            await self._sender.send(CANCEL, {"request_id": self._open.request.expected["request_id"]})

    async def ack(self, result_id: str) -> None:
        """Acknowledge a result of this till, so that the terminal stops sending the result."""
        await self._sender.send(ACK, {"result_id": result_id})

    def _up(self) -> None:
        self.reachability.note_ready()
        self._get_state.begin()

    def _received(self, message: Message) -> None:
        tree = json_object(message.payload)
        if tree is None:
            self.violations.append("a message that is no JSON object")
            return
        if self._on_message is not None:
            self._on_message(message.topic, tree)
        if message.topic in (self._topics.state, self._topics.verify(self._till, STATE_COPY)):
            self._state.note_state(tree)
        elif message.topic == self._topics.verify(self._till, RESULT):
            self._judge(tree, message.retained)
        elif tree.get("event") == "refused":
            self._note_refusal(tree)
        elif tree.get("event") == "accepted" and self._open is not None:
            self._open.accepted |= tree.get("request_id") == self._open.request.expected["request_id"]

    def _note_refusal(self, tree: dict[str, Any]) -> None:
        """Fail the open request. A refusal without request_id counts: the till has one open request."""
        opened, request_id, result_id = self._open, tree.get("request_id"), tree.get("result_id")
        refusal = str(tree.get("refusal"))
        if isinstance(result_id, str) and refusal == "result_expired":  # repeated until acknowledged
            self._sender.ack_later(result_id)
        if opened is None or opened.answer.done():
            return
        if request_id is None or request_id == opened.request.expected["request_id"]:
            if refusal == Refusal.REQUEST_STALE:  # perhaps the newest state was lost
                self._get_state.begin()
            opened.answer.set_exception(refused(refusal, str(tree.get("detail"))))

    def _judge(self, tree: dict[str, Any], retained: bool) -> None:
        opened, pinned = self._open, self._state.pinned
        request = opened.request if opened else None
        match judge_result(tree, request, pinned, address=self._address, retained=retained, now_s=boot_s()):
            case str(verdict):
                self.violations.append(verdict)
            case AckOnly(result_id=result_id, broken=broken):
                if broken:
                    self.violations.append(broken)
                self._sender.ack_later(result_id)
            case Acceptance() as verdict:
                self._sender.ack_later(verdict.result["result_id"])
                if opened is not None and not opened.answer.done():
                    opened.answer.set_result(verdict)
