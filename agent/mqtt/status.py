"""The faults of one broker connection: each is reported once when it begins and once when it ends."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

from agent.mqtt.connect_failure import ConnectFailure
from agent.mqtt.reason_codes import BrokerProblem
from agent.texts import Text

SINGLE_CLIENT_AFTER_S = 60.0  # a longer connection: no second client has the id (two would end it in seconds)
STEADY_AFTER_S = 15.0  # a shorter connection counts as lost soon: the pause before a reconnect grows
LOST_SOON_MAX = 3
CUTS_MAX = 3  # connections that ended after the same message: the message counts as the cause
TOO_LARGE_CLEARS_AFTER_S = 120.0  # without another try; the longest pause between two tries is 60 s

ReportProblem = Callable[[BrokerProblem, bool, str | Text], None]
"""``report(problem, active, detail)``: called on the asyncio loop. ``detail``: the broker's reason, sizes."""


@dataclass(frozen=True, slots=True)
class SentPacket:
    """Topic and packet size of one publish. ``kind`` is the last level of the topic, e.g. ``result``."""

    topic: str
    size_bytes: int

    @property
    def kind(self) -> str:
        return self.topic.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.kind} of {self.size_bytes} bytes"


class BrokerStatus:
    """Belongs to one ``Connection``. Problems are kept by source: connect, disconnect, subscribe, limits, …

    Each source has at most one problem; a problem ends when no source has it. The last connection attempt
    clears the problems of earlier attempts.

    The problem follows from the reason code of the broker. Without a reason code two rules apply:

    1. The connection ended ``CUTS_MAX`` times after the same unanswered message: the broker does not accept
       the message.
    2. ``LOST_SOON_MAX`` connections in a row ended soon, with nothing unanswered: another client has the same
       id (mosquitto 2.0.11 closes the older connection without reason code 0x8E).

    A new problem is reported before the old problem of the same source ends, so that the terminal is never
    reported as healthy in between.

    Attributes:
        was_steady: the last connection lasted ``STEADY_AFTER_S``; otherwise the next retry pause is longer.
    """

    def __init__(self, report: ReportProblem) -> None:
        self._report = report
        self._problem_of_source: dict[str, BrokerProblem] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._up_since_s = 0.0
        self._lost_soon = 0
        self._cuts_by_packet: dict[SentPacket, int] = {}
        self._too_large_bytes = 0
        self.was_steady = False

    def note_connect_failure(self, failure: ConnectFailure) -> None:
        """A connection attempt ended before the CONNACK."""
        self._lost_soon = 0  # a broker without an answer is no evidence for a second client
        self.note_refusal(failure.problem, failure.why)

    def note_refusal(self, problem: BrokerProblem, detail: str | Text) -> None:
        """A connection attempt failed. Replaces the problems of the connection before."""
        self.was_steady = False
        self._set_problem("connect", problem, detail)
        for source in ("disconnect", "subscribe", "limits"):
            self._set_problem(source)

    def note_connected(self, missing: str) -> None:
        """A CONNACK arrived. ``missing``: features that the terminal needs and this broker lacks."""
        self._up_since_s = asyncio.get_running_loop().time()
        self._start_timer(SINGLE_CLIENT_AFTER_S, "client id", lambda: self._set_problem("client id"))
        self._start_timer(STEADY_AFTER_S, "steady", lambda: self._set_problem("disconnect"))
        self._set_problem(
            "limits", BrokerProblem.LIMITS if missing else None, Text("detail.broker_lacks", missing=missing)
        )
        self._set_problem("connect")

    def note_subscribed(self, refused: Sequence[Text]) -> None:
        """A SUBACK arrived. ``refused``: the needed filters that it refuses, each with the reason."""
        detail = reduce(_joined, refused) if refused else ""
        self._set_problem("subscribe", BrokerProblem.SUBSCRIPTION_REFUSED if refused else None, detail)

    def note_puback(self, sent: SentPacket, problem: BrokerProblem | None, detail: str | Text) -> None:
        """The PUBACK of one publish. ``problem`` None: accepted."""
        self._cuts_by_packet.pop(sent, None)
        if problem is None and sent.size_bytes >= self._too_large_bytes:
            self._set_problem("size")
        self._set_problem(f"publish {sent.kind}", problem, Text("detail.at", place=sent.kind, reason=detail))

    def note_too_large(self, sent: Iterable[SentPacket], detail: str | Text) -> None:
        """The broker does not accept messages of the largest size in ``sent``."""
        self._too_large_bytes = max((packet.size_bytes for packet in sent), default=0)
        self._set_problem("size", BrokerProblem.TOO_LARGE, detail)
        self._start_timer(TOO_LARGE_CLEARS_AFTER_S, "size", lambda: self._set_problem("size"))

    def note_lost(
        self, problem: BrokerProblem | None, detail: str | Text, unanswered: Iterable[SentPacket]
    ) -> None:
        """An established connection ended. ``problem``: by the broker's reason code; None: no code."""
        lasted_s = asyncio.get_running_loop().time() - self._up_since_s
        self.was_steady = lasted_s >= STEADY_AFTER_S
        self._stop_timers("client id", "steady")
        packets = set(unanswered)
        messages = ", ".join(str(packet) for packet in packets)
        detail_with_messages = Text("detail.after_message", detail=detail, message=messages)
        if problem is not None or packets:
            self._lost_soon = 0
        match problem:
            case None if packets:
                self._count_cuts(packets)
            case None:
                self._lost_soon = 0 if self.was_steady else self._lost_soon + 1
                if self._lost_soon >= LOST_SOON_MAX:
                    self._set_problem("client id", BrokerProblem.TAKEN_OVER, "")
            case BrokerProblem.TAKEN_OVER:
                self._set_problem("client id", problem, detail)
            case BrokerProblem.TOO_LARGE:
                self.note_too_large(
                    packets,
                    detail_with_messages if messages else Text("detail.after_no_message", detail=detail),
                )
            case _:
                self._set_problem("disconnect", problem, detail_with_messages if messages else detail)

    def close(self) -> None:
        self._stop_timers(*self._timers)

    def _count_cuts(self, packets: set[SentPacket]) -> None:
        """Count the cuts after each unanswered message. A PUBACK in between resets the count."""
        self._cuts_by_packet |= {packet: self._cuts_by_packet.get(packet, 0) + 1 for packet in packets}
        while len(self._cuts_by_packet) > 64:
            del self._cuts_by_packet[next(iter(self._cuts_by_packet))]
        worst = max(packets, key=lambda packet: self._cuts_by_packet.get(packet, 0))
        cuts = self._cuts_by_packet.get(worst, 0)
        if cuts >= CUTS_MAX:
            why = Text("detail.cut_after", message=worst, times=cuts)
            self.note_too_large((worst,), why)

    def _set_problem(
        self, source: str, problem: BrokerProblem | None = None, detail: str | Text = ""
    ) -> None:
        before = self._problem_of_source.pop(source, None)
        if problem is not None:
            self._problem_of_source[source] = problem
            self._report(problem, True, detail)
        if before is not None and before not in self._problem_of_source.values():
            self._report(before, False, "")

    def _start_timer(self, delay_s: float, name: str, then: Callable[[], None]) -> None:
        self._stop_timers(name)
        self._timers[name] = asyncio.get_running_loop().call_later(delay_s, then)

    def _stop_timers(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()


def _joined(first: Text, others: Text) -> Text:
    return Text("detail.listed", first=first, others=others)
