"""The newest ``state`` of a terminal, as far as a till may use it."""

import asyncio
import time
from typing import Any

from agent.messages.rotation import Pinned
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.texts import Text


class TerminalState:
    """For the event loop only.

    Attributes:
        pinned: the keys that the till trusts; None: signatures are not checked.
        fields: of the newest usable ``state``; empty: none arrived.
        online: set while the terminal accepts requests.
    """

    def __init__(self, topics: Topics, key: PublicKey | None) -> None:
        self._place = {"site": topics.site, "terminal": topics.terminal}
        self._unusable = False  # a ``state`` arrived that the till must not use
        self.pinned = None if key is None else Pinned(key)
        self.fields: dict[str, Any] = {}
        self.online = asyncio.Event()

    @property
    def cause(self) -> Text:
        """Why the terminal is not online."""
        if self.fields:
            return Text("detail.terminal_state", status=self.fields.get("status"))
        if self._unusable:
            return Text("detail.terminal_unsigned")
        return Text("detail.terminal_silent")

    def received(self, payload: dict[str, Any]) -> None:
        """Take the signed fields; a ``state`` of another key or another terminal changes nothing."""
        pinned = self.pinned
        fields: dict[str, Any] | None = payload
        if pinned is not None:
            pinned, fields = pinned.opened_state(payload, time.monotonic())
        if fields is None or not self._place.items() <= fields.items():
            self._unusable = True
            return
        self.pinned, self.fields = pinned, fields
        if fields.get("status") in ("online", "degraded"):
            self.online.set()
        else:
            self.online.clear()
