"""What is wrong with a link, told once when it begins and once when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

ALONE_AFTER_S = 60.0  # two clients with one id kick each other off every few seconds
STEADY_AFTER_S = 15.0  # a connection lost before that was lost soon: reconnecting slows down
LOST_SOON_MAX = 3


class Trouble(StrEnum):
    """The values are codes of ``health.conditions``."""

    UNREACHABLE = "mqtt_unreachable"
    REFUSED = "mqtt_refused"
    DEAF = "mqtt_subscription_refused"
    TAKEN_OVER = "mqtt_client_id_taken"
    CLONED = "terminal_cloned"  # told by whoever reads what arrives; cleared here


_ONE_OF = (Trouble.UNREACHABLE, Trouble.REFUSED, Trouble.DEAF)  # how far the newest attempt came

Tell = Callable[[Trouble, bool], None]
"""``tell(trouble, there)``: called on the asyncio loop."""


class Troubles:
    """Belongs to one link.

    A broker should name a take-over when it closes the older connection (MQTT 5 reason 142), but mosquitto
    2.0.11 just closes it. So connections that are lost soon, several in a row, count as one too. It is
    believed until a connection was left alone for a while.

    Unreachable, refused, deaf: what the newest attempt showed is the truth, and takes back what an older one
    did. The new word comes first, so that in between nobody hears that all is well.

    Attributes:
        steady: the last connection lasted; else the next attempt should wait longer than the one before.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._alone: asyncio.TimerHandle | None = None
        self._up_since_s = 0.0
        self._lost_soon = 0
        self.steady = False

    def unreachable(self) -> None:
        self.steady, self._lost_soon = False, 0  # a broker that is away is no rival
        self._only(Trouble.UNREACHABLE)

    def refused(self) -> None:
        self.steady = False
        self._only(Trouble.REFUSED)

    def connected(self) -> None:
        loop = asyncio.get_running_loop()
        self.close()
        self._up_since_s = loop.time()
        self._alone = loop.call_later(ALONE_AFTER_S, self._was_alone)
        self._tell(Trouble.UNREACHABLE, False)
        self._tell(Trouble.REFUSED, False)

    def subscribed(self, *, whole: bool) -> None:
        self._tell(Trouble.DEAF, not whole)

    def lost(self, *, taken_over: bool) -> None:
        lasted_s = asyncio.get_running_loop().time() - self._up_since_s
        self.steady = lasted_s >= STEADY_AFTER_S
        self._lost_soon = 0 if self.steady else self._lost_soon + 1
        self.close()
        if taken_over or self._lost_soon >= LOST_SOON_MAX:
            self._tell(Trouble.TAKEN_OVER, True)

    def _only(self, trouble: Trouble) -> None:
        self._tell(trouble, True)
        for other in _ONE_OF:
            if other is not trouble:
                self._tell(other, False)

    def _was_alone(self) -> None:
        self._tell(Trouble.TAKEN_OVER, False)
        self._tell(Trouble.CLONED, False)

    def close(self) -> None:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
