"""What is wrong with a link: reported when it begins, and again when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from agent.mqtt.pubacks import Sent
from agent.mqtt.reason_codes import BrokerProblem

ALONE_AFTER_S = 60.0  # two clients with one id disconnect each other every few seconds
STEADY_AFTER_S = 15.0  # a connection lost before that was lost soon: reconnecting slows down
LOST_SOON_MAX = 3
CUTS_MAX = 3  # connections that ended after the same message: then the message is the reason
TOO_LARGE_FOR_S = 120.0  # without another try; the longest pause between two sendings is half of it

Tell = Callable[[BrokerProblem, bool, str], None]
"""``tell(trouble, there, detail)``: called on the asyncio loop. ``detail``: the broker's reason, sizes."""


class BrokerStatus:
    """Belongs to one link. Each source holds at most one trouble; a trouble ends when no source holds it.

    A reason code of the broker decides. Only without one are there two rules of thumb. Connections that end
    ``CUTS_MAX`` times after the same unanswered message: the broker does not take the message. Connections
    that end soon, ``LOST_SOON_MAX`` in a row, with nothing unanswered: another client has the same id
    (mosquitto 2.0.11 closes the older connection without reason code 0x8E).

    A new trouble is reported before the old one of the same source ends, so that the terminal is never
    reported as healthy in between.

    Attributes:
        steady: the last connection lasted; else the next attempt should wait longer than the one before.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._held: dict[str, BrokerProblem] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._up_since_s = 0.0
        self._lost_soon = 0
        self._suspects: dict[Sent, int] = {}
        self._too_large_bytes = 0
        self.steady = False

    def unreachable(self) -> None:
        self._lost_soon = 0  # a broker that is away is no rival
        self._not_connected(BrokerProblem.UNREACHABLE, "")

    def refused(self, trouble: BrokerProblem, detail: str) -> None:
        self._not_connected(trouble, detail)

    def connected(self, missing: str) -> None:
        """``missing``: what the terminal needs and this broker lacks, from its CONNACK."""
        self._up_since_s = asyncio.get_running_loop().time()
        self._after(ALONE_AFTER_S, "alone", self._was_alone)
        self._after(STEADY_AFTER_S, "steady", lambda: self._set("disconnect"))
        self._set("limits", BrokerProblem.LIMITS if missing else None, f"the broker lacks: {missing}")
        self._set("connect")

    def subscribed(self, refused: Iterable[str]) -> None:
        """``refused``: filters that the terminal needs, with the broker's reason."""
        detail = "; ".join(refused)
        self._set("subscribe", BrokerProblem.DEAF if detail else None, detail)

    def answered(self, sent: Sent, trouble: BrokerProblem | None, detail: str) -> None:
        """The broker's answer to one publish."""
        self._suspects.pop(sent, None)
        if trouble is None and sent.size_bytes >= self._too_large_bytes:
            self._set("size")
        self._set(f"publish {sent.kind}", trouble, f"{sent.kind}: {detail}")

    def too_large(self, sent: Iterable[Sent], detail: str) -> None:
        self._too_large_bytes = max((each.size_bytes for each in sent), default=0)
        self._set("size", BrokerProblem.TOO_LARGE, detail)
        self._after(TOO_LARGE_FOR_S, "size", lambda: self._set("size"))

    def lost(self, trouble: BrokerProblem | None, detail: str, unanswered: Iterable[Sent]) -> None:
        """A connection that was up ended. ``trouble``: from the broker's reason; None: it gave none."""
        lasted_s = asyncio.get_running_loop().time() - self._up_since_s
        self.steady = lasted_s >= STEADY_AFTER_S
        self._stop("alone", "steady")
        cut = set(unanswered)
        about = ", ".join(str(each) for each in cut)
        if trouble is not None or cut:
            self._lost_soon = 0
        match trouble:
            case None if cut:
                self._suspect(cut)
            case None:
                self._lost_soon = 0 if self.steady else self._lost_soon + 1
                if self._lost_soon >= LOST_SOON_MAX:
                    self._set("rival", BrokerProblem.TAKEN_OVER, "")
            case BrokerProblem.TAKEN_OVER:
                self._set("rival", trouble, detail)
            case BrokerProblem.TOO_LARGE:
                self.too_large(cut, f"{detail}, after {about or 'no message'}")
            case _:
                self._set("disconnect", trouble, f"{detail}, after {about}" if about else detail)

    def close(self) -> None:
        self._stop(*self._timers)

    def _suspect(self, cut: set[Sent]) -> None:
        """Count only what was unanswered each time; a message that got through meanwhile starts anew."""
        self._suspects = {**self._suspects, **{each: self._suspects.get(each, 0) + 1 for each in cut}}
        while len(self._suspects) > 64:
            del self._suspects[next(iter(self._suspects))]
        worst = max(cut, key=lambda each: self._suspects.get(each, 0))
        times = self._suspects.get(worst, 0)
        if times >= CUTS_MAX:
            why = f"{worst}: the connection ended {times} times before an answer, without a reason"
            self.too_large((worst,), why)

    def _not_connected(self, trouble: BrokerProblem, detail: str) -> None:
        self.steady = False
        self._set("connect", trouble, detail)
        for source in ("disconnect", "subscribe", "limits"):
            self._set(source)

    def _was_alone(self) -> None:
        self._set("rival")
        self._tell(BrokerProblem.CLONED, False, "")

    def _set(self, source: str, trouble: BrokerProblem | None = None, detail: str = "") -> None:
        before = self._held.pop(source, None)
        if trouble is not None:
            self._held[source] = trouble
            self._tell(trouble, True, detail)
        if before is not None and before not in self._held.values():
            self._tell(before, False, "")

    def _after(self, delay_s: float, name: str, then: Callable[[], None]) -> None:
        self._stop(name)
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, then)

    def _stop(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()
