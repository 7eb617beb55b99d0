"""A till, as a library: asks a terminal, does the till's duty (``duty``), acknowledges."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.config import MqttConfig
from agent.core import strict_json
from agent.errors import TillError
from agent.log import facts
from agent.tasks import Background
from agent.texts import Text
from agent.till.link import Link
from agent.till.link_client import Message, Wiring
from agent.till.rotation import follow
from agent.till.signing import PublicKey, Signer
from agent.till.topics import ACK, CANCEL, EVENT, REQUEST, RESULT, Topics
from agent.till.writing import envelope
from agent.tillkit.duty import OpenRequest, Repeat, Verdict, judge
from agent.tillkit.reach import Reach

log = logging.getLogger(__name__)

ACK_TIMEOUT_S = 1.0
HAVE_MAX = 100  # results acted on, remembered to acknowledge a repeat

GRACE_S = 0.25  # how long after ttl_ms the till still listens, to name a late result; it never pays on one


@dataclass(slots=True)
class _Open:
    """The open request and who waits for its answer."""

    request: OpenRequest
    answer: asyncio.Future[Verdict]


class Till:
    """One till of one terminal. ``on_message`` sees every message that arrives, before it is judged."""

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
        """``pinned``: the terminal's key, learnt out of band. Without it signatures are not checked."""
        self._topics, self._till = topics, till
        self._pinned, self._signer = pinned, signer
        self._on_message = on_message
        self._open: _Open | None = None
        self._state: dict[str, Any] = {}
        self._online = asyncio.Event()
        self._background = Background()
        self._have: deque[str] = deque(maxlen=HAVE_MAX)
        self.violations: list[str] = []  # results that broke a rule, newest last
        filters = [(topics.state, 1), (topics.verify(till, EVENT), 0), (topics.verify(till, RESULT), 1)]
        client_id = f"facepay-till-{till}-{secrets.token_hex(4)}"
        self._reach = Reach(config)
        hear, reach = self._arrived, self._reach
        self._link = Link(config, Wiring(client_id, filters, hear, reach.up, on_trouble=reach.note))

    async def start(self) -> None:
        await self._link.start()

    async def stop(self) -> None:
        await self._background.finish(ACK_TIMEOUT_S)
        await self._link.stop()

    async def online(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """The terminal's state, once it serves. Raises ``TillError``: why nothing is heard (``Reach``)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._online.wait()
        except TimeoutError:
            why = f"its state is {self._state.get('status')!r}" if self._state else "not heard on this broker"
            raise self._reach.silence(f"terminal {self._topics.base}: {why}") from None
        return self._state

    async def ask(
        self,
        photo: bytes | str,
        *,
        sha256: str | None = None,
        ttl_ms: int = 8_000,
        more: dict[str, Any] | None = None,
    ) -> Verdict:
        """Ask once; the answer, or ``undecided`` by our own timer.

        Args:
            photo: the enrolled photo's JPEG bytes, or its url (then ``sha256`` of its bytes is needed).
            more: further request fields, e.g. ``transaction_id``, ``locale``, ``consent_ref``.
        Raises:
            TillError: no terminal, it refused (``code`` is the refusal), or the link failed.
        """
        if self._open is not None:
            raise TillError("one question at a time", code="busy")
        state = await self.online()
        tree = _request(self._till, state["epoch"], ttl_ms, _reference(photo, sha256)) | (more or {})
        payload = envelope("request", tree, self._signer)
        agree = {"site": self._topics.site, "terminal": self._topics.terminal}
        request = OpenRequest.of(tree, payload, agree, now_s=time.monotonic())
        opened = _Open(request, asyncio.get_running_loop().create_future())
        self._open = opened  # the timer runs before the request leaves
        try:
            topic = self._topics.verify(self._till, REQUEST)
            await self._link.publish(Message(topic, payload, expires_in_s=max(1, ttl_ms // 1000)))
            async with asyncio.timeout(ttl_ms / 1e3 + GRACE_S):
                verdict = await opened.answer
        except TimeoutError:
            return Verdict("undecided", "timed_out", tree["request_id"])
        finally:
            self._open = None
        self._acknowledge(verdict.result["result_id"])
        # A cancel in the same turn of the loop as the match: never pay on it.
        withdrawn = request.cancelled and verdict.decision == "match"
        return Verdict("undecided", "cancelled", tree["request_id"]) if withdrawn else verdict

    async def cancel(self) -> None:
        """Cancel the open request. From now on this till never pays on it."""
        if self._open is not None:
            self._open.request.cancelled = True
            tree = {"schema": "facepay.cancel/1", "request_id": self._open.request.expected["request_id"]}
            await self._send(CANCEL, "cancel", tree)

    async def ack(self, result_id: str) -> None:
        """Tell the terminal that this till has the result, so that it is not sent again."""
        await self._send(ACK, "ack", {"schema": "facepay.ack/1", "result_id": result_id})

    def _acknowledge(self, result_id: str) -> None:
        """In the background: a verdict must not be lost because its ack could not be sent."""
        self._have.append(result_id)
        self._background.add(self._try_ack(result_id))

    async def _try_ack(self, result_id: str) -> None:
        try:
            await self.ack(result_id)
        except TillError as error:
            log.info("ack_not_sent", extra=facts(result_id=result_id, code=error.code))  # it will be re-sent

    async def _send(self, topic: str, kind: str, tree: dict[str, Any]) -> None:
        payload = envelope(kind, tree, self._signer)
        await self._link.publish(Message(self._topics.verify(self._till, topic), payload))

    # --- what arrives -----------------------------------------------------------------------------

    def _arrived(self, message: Message) -> None:
        tree = _object(message.payload)
        if tree is None:
            self.violations.append("a message that is no JSON object")
            return
        if self._on_message is not None:
            self._on_message(message.topic, tree)
        if message.topic == self._topics.state:
            self._state = tree
            if self._pinned is not None:
                self._pinned = follow(self._pinned, tree)
            _set(self._online, tree.get("status") in ("online", "degraded"))
        elif message.topic == self._topics.verify(self._till, RESULT):
            self._judge(tree, message.retained)
        elif tree.get("event") == "refused":
            self._note_refusal(tree)

    def _note_refusal(self, tree: dict[str, Any]) -> None:
        opened = self._open
        if opened is None or opened.answer.done():
            return
        if tree.get("request_id") == opened.request.expected["request_id"]:
            words = f"{tree.get('refusal')}: {tree.get('detail')}"
            opened.answer.set_exception(_refused(words, str(tree.get("refusal"))))

    def _judge(self, tree: dict[str, Any], retained: bool) -> None:
        opened = self._open
        said = judge(
            tree, opened.request if opened else None, self._pinned, retained=retained, now_s=time.monotonic()
        )
        if isinstance(said, str):
            self.violations.append(said)
        elif isinstance(said, Repeat):
            if said.result_id in self._have:  # our ack was lost: say it again
                self._acknowledge(said.result_id)
        elif opened is not None and not opened.answer.done():
            opened.answer.set_result(said)


def _set(event: asyncio.Event, holds: bool) -> None:
    if holds:
        event.set()
    else:
        event.clear()


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        tree = strict_json.loads(raw)
    except ValueError:
        return None
    return tree if isinstance(tree, dict) else None


def _reference(photo: bytes | str, sha256: str | None) -> dict[str, str]:
    if isinstance(photo, str):
        if sha256 is None:
            raise TillError("a photo by url needs the sha256 of its bytes", code="request_malformed")
        return {"url": photo, "sha256": sha256}
    return {"image_b64": base64.b64encode(photo).decode(), "sha256": hashlib.sha256(photo).hexdigest()}


def _request(till: str, epoch: str, ttl_ms: int, reference: dict[str, str]) -> dict[str, Any]:
    """A request's fields with a fresh id and nonce."""
    request_id = str(uuid.uuid4())
    return {
        "schema": "facepay.request/1",
        "request_id": request_id,
        "till": till,
        "transaction_id": f"sale-{request_id[:8]}",
        "nonce": secrets.token_hex(16),
        "epoch": epoch,
        "ttl_ms": ttl_ms,
        "reference": reference,
    }


def _refused(words: str, code: str) -> TillError:
    return TillError(
        words,
        code=code,
        fix=Text("fix.change_what_asked"),
    )
