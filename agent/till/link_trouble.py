"""What is wrong with a link, told once when it begins and once when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

ALONE_AFTER_S = 60.0  # two clients with one id kick each other off every few seconds


class Trouble(StrEnum):
    """The values are codes of ``health.conditions``."""

    UNREACHABLE = "mqtt_unreachable"
    REFUSED = "mqtt_refused"
    DEAF = "mqtt_subscription_refused"
    TAKEN_OVER = "mqtt_client_id_taken"


Tell = Callable[[Trouble, bool], None]
"""``tell(trouble, there)``: called on the asyncio loop."""


class Troubles:
    """Belongs to one link. A taken client id is believed taken until the link was alone for a while."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._alone: asyncio.TimerHandle | None = None

    def unreachable(self) -> None:
        self._tell(Trouble.UNREACHABLE, True)

    def refused(self) -> None:
        self._tell(Trouble.REFUSED, True)

    def connected(self) -> None:
        self._tell(Trouble.UNREACHABLE, False)
        self._tell(Trouble.REFUSED, False)

    def subscribed(self, *, whole: bool) -> None:
        self._tell(Trouble.DEAF, not whole)

    def taken_over(self) -> None:
        self.close()
        self._tell(Trouble.TAKEN_OVER, True)
        self._alone = asyncio.get_running_loop().call_later(
            ALONE_AFTER_S, self._tell, Trouble.TAKEN_OVER, False
        )

    def close(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
