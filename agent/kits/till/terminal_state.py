"""The newest ``state`` of a terminal, as far as a till may use it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from agent.boot_clock import boot_s
from agent.messages.rotation import PinnedKeys
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.mqtt.reachability import TERMINAL_UNSIGNED
from agent.tasks import Background
from agent.texts import Text

GET_STATE_S = 5.0  # between two requests for ``state``, until one arrives: a message can be lost


class TerminalState:
    """For the event loop only.

    Attributes:
        pinned: the keys that the till trusts; None: signatures are not checked.
        fields: of the newest usable ``state``; empty: none arrived.
        arrived: set when a usable ``state`` arrived; the till clears it after each subscription.
        online: set while the terminal accepts requests.
    """

    def __init__(self, topics: Topics, key: PublicKey | None) -> None:
        self._place = {"site": topics.site, "terminal": topics.terminal}
        self._unusable = False  # a ``state`` arrived that the till must not use
        self.pinned = None if key is None else PinnedKeys(key)
        self.fields: dict[str, Any] = {}
        self.arrived, self.online = asyncio.Event(), asyncio.Event()

    @property
    def cause(self) -> Text:
        """Why the terminal is not online."""
        if self.fields:
            return Text("detail.terminal_state", status=self.fields.get("status"))
        if self._unusable and self.pinned is not None:
            return TERMINAL_UNSIGNED
        return Text("detail.terminal_silent")

    def note_state(self, payload: dict[str, Any]) -> None:
        """Take the signed fields; a ``state`` of another key or another terminal changes nothing."""
        pinned = self.pinned
        fields: dict[str, Any] | None = payload
        if pinned is not None:
            pinned, fields = pinned.verified_state(payload, boot_s())
        if fields is None or not self._place.items() <= fields.items():
            self._unusable = True
            return
        self.pinned, self.fields = pinned, fields
        self.arrived.set()
        if fields.get("status") in ("online", "degraded"):
            self.online.set()
        else:
            self.online.clear()


class GetState:
    """Requests ``state`` every ``GET_STATE_S`` until a usable one arrives. For the event loop only."""

    def __init__(self, state: TerminalState, request: Callable[[], Awaitable[None]]) -> None:
        """``request``: publishes one ``get_state``."""
        self._arrived, self._request = state.arrived, request
        self._background = Background()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Request now: the till has subscribed, or its newest ``state`` is out of date."""
        self._arrived.clear()
        if self._task is not None:
            self._task.cancel()
        self._task = self._background.add(self._until_arrived())

    async def stop(self) -> None:
        await self._background.close()

    async def _until_arrived(self) -> None:
        while True:
            # at first also when a retained ``state`` has arrived meanwhile: it can be an earlier one
            await self._request()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GET_STATE_S):
                    await self._arrived.wait()
                return
