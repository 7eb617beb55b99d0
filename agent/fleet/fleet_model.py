"""The state of many terminals: messages in, rows out, the rows that need a person first. Pure.

The caller passes the topic, the bytes and the monotonic time. The senders are hostile, so every amount has a
limit: the terminals, the new ids in a day, the messages of one terminal that are decoded, and the content of
a message (``terminal_reports``). A message beyond a limit changes a counter and no row.

Of one terminal the newest ``state`` and the newest ``health`` count. A terminal above its message rate keeps
its newest messages undecoded until the next ``rows``, so that a flood ends with the true state.
"""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.rate import TokenBucket
from agent.fleet.terminal_reports import (
    MESSAGE_MAX_BYTES,
    HealthReport,
    MessageProblem,
    StateReport,
    TerminalStatus,
    UnusableMessageError,
    read_health,
    read_state,
)
from agent.health.condition import Severity
from agent.health.conditions import CONDITIONS
from agent.messages.topics import STATE, terminal_of

SILENT_S = 200.0  # three health messages of one minute, and a late one
SETTLE_S = 10.0  # after a subscription: the retained states have arrived
FLOOD_PER_S, FLOOD_BURST = 1.0, 30  # messages of one terminal
FLOODING_S = 60.0  # a terminal counts as flooding for this time after a message above its rate
_DAY_S = 86_400.0
_EXAMPLE_MAX_CHARS = 64


class Need(StrEnum):
    """Why a terminal needs a person, the most urgent first. ``NOTHING``: the terminal serves."""

    OFFLINE = "offline"
    FAULT = "fault"  # degraded with an error condition, or with a code that this version does not have
    SILENT = "silent"  # its state is online or degraded, and no health arrives
    STATE_MISSING = "state_missing"  # the broker has no retained state of it
    MESSAGE_DAMAGED = "message_damaged"  # its newest state or health cannot be used
    FLOODING = "flooding"  # more than 60 messages in a minute
    WARNING = "warning"
    STOPPING = "stopping"
    NOTHING = "nothing"


URGENCY = {need: rank for rank, need in enumerate(Need)}
# the terminal may serve no customer
URGENT = frozenset({Need.OFFLINE, Need.FAULT, Need.SILENT, Need.STATE_MISSING, Need.MESSAGE_DAMAGED})


class LeftOut(StrEnum):
    """Why a message belongs to no row."""

    TOPIC_INVALID = "topic_invalid"  # a site or a terminal that is no id
    TOO_MANY_TERMINALS = "too_many_terminals"


@dataclass(frozen=True, slots=True)
class TerminalRow:
    """One terminal. Equal rows show the same, except for ages.

    Attributes:
        since_s: monotonic time since which ``need`` holds, as far as this process observed it.
        state: of the newest ``state``; None: there is none, or it cannot be used.
        health: the newest usable one; None: none arrived yet. ``health_s``: monotonic time of its arrival.
        problems: of the newest ``state`` and ``health``, sorted.
    """

    site: str
    terminal: str
    need: Need
    since_s: float
    state: StateReport | None = None
    health: HealthReport | None = None
    health_s: float | None = None
    problems: tuple[MessageProblem, ...] = ()


@dataclass(slots=True)
class _Member:
    row: TerminalRow
    bucket: TokenBucket
    # by kind: payload, retain flag, time of arrival
    waiting: dict[str, tuple[bytes, bool, float]] = field(default_factory=dict)
    problems: dict[str, MessageProblem] = field(default_factory=dict)  # by kind
    state: StateReport | None = None
    state_s: float | None = None  # arrival of the newest state, usable or not
    health: HealthReport | None = None
    health_s: float | None = None
    flooded_s: float | None = None


class Fleet:
    """The rows of all terminals of one broker.

    Attributes:
        left_out: messages that belong to no row, by reason.
        example: the newest topic of these, printable, at most 64 characters.
        messages: all messages.
    """

    def __init__(self, now_s: float, terminals_max: int) -> None:
        self.left_out: Counter[LeftOut] = Counter()
        self.example = ""
        self.messages = 0
        self._terminals_max = terminals_max
        self._members: dict[tuple[str, str], _Member] = {}
        # ids that are added and removed again would give new time series without end
        self._new_ids = TokenBucket(terminals_max / _DAY_S, terminals_max, now_s)
        # a terminal that clears its state and returns keeps its rate, and is no new id
        self._rates = dict[tuple[str, str], TokenBucket]()
        self._listening_since_s: float | None = None

    def __len__(self) -> int:
        return len(self._members)

    def note_subscribed(self, now_s: float) -> None:
        """The SUBACK arrived. A broker may deliver the retained states shortly before it."""
        self._listening_since_s = now_s

    def note_disconnected(self) -> None:
        """Nothing arrives: no terminal counts as silent, or as without a state."""
        self._listening_since_s = None

    def note_message(self, topic: str, payload: bytes, *, retained: bool, now_s: float) -> None:
        """One message. ``retained``: the flag of the message."""
        self.messages += 1
        address = terminal_of(topic)
        if address is None:
            self._leave_out(LeftOut.TOPIC_INVALID, topic)
            return
        site, terminal, kind = address
        if kind == STATE and not payload:  # an operator cleared the retained state of a removed terminal
            member = self._members.pop((site, terminal), None)
            if member is not None:
                member.bucket.take(now_s)
            return
        member = self._members.get((site, terminal)) or self._admit(site, terminal, now_s)
        if member is None:
            self._leave_out(LeftOut.TOO_MANY_TERMINALS, topic)
            return
        if len(payload) > MESSAGE_MAX_BYTES:  # judged by its size: the content need not be stored
            payload = payload[: MESSAGE_MAX_BYTES + 1]
        member.waiting[kind] = (payload, retained, now_s)
        if member.bucket.take(now_s):
            self._decode(member)
        else:
            member.flooded_s = now_s

    def rows(self, now_s: float) -> list[TerminalRow]:
        """All rows: by need, then the longest-lasting first, then by site and terminal."""
        rows = [self._row(member, now_s) for member in self._members.values()]
        return sorted(rows, key=lambda row: (URGENCY[row.need], row.since_s, row.site, row.terminal))

    def _admit(self, site: str, terminal: str, now_s: float) -> _Member | None:
        key = site, terminal
        if len(self._members) >= self._terminals_max:
            return None
        if key not in self._rates:
            if not self._new_ids.take(now_s):
                return None
            self._rates[key] = TokenBucket(FLOOD_PER_S, FLOOD_BURST, now_s)
            if len(self._rates) > 2 * self._terminals_max:  # forget the oldest id without a row
                del self._rates[next(sender for sender in self._rates if sender not in self._members)]
        row = TerminalRow(site, terminal, Need.NOTHING, now_s)
        member = self._members[key] = _Member(row, self._rates[key])
        return member

    def _leave_out(self, reason: LeftOut, topic: str) -> None:
        self.left_out[reason] += 1
        start = topic[:_EXAMPLE_MAX_CHARS]
        self.example = "".join(char if char.isprintable() else "?" for char in start)

    def _decode(self, member: _Member) -> None:
        key = member.row.site, member.row.terminal
        for kind, (payload, retained, now_s) in member.waiting.items():
            member.problems.pop(kind, None)
            try:
                if kind == STATE:
                    member.state, member.state_s = None, now_s
                    member.state = read_state(payload, *key)
                elif retained:
                    raise UnusableMessageError(MessageProblem.HEALTH_RETAINED)
                else:
                    member.health, member.health_s = read_health(payload, *key), now_s
            except UnusableMessageError as error:
                member.problems[kind] = error.problem
        member.waiting.clear()

    def _row(self, member: _Member, now_s: float) -> TerminalRow:
        self._decode(member)
        need, old = self._need(member, now_s), member.row
        row = TerminalRow(
            old.site,
            old.terminal,
            need,
            old.since_s if need == old.need else now_s,
            member.state,
            member.health,
            member.health_s,
            tuple(sorted(set(member.problems.values()))),
        )
        if row != old:  # an unchanged row stays the same object: a reader compares by identity
            member.row = row
        return member.row

    def _need(self, member: _Member, now_s: float) -> Need:
        state, listening_s = member.state, self._listening_since_s
        status = None if state is None else state.status
        if status is TerminalStatus.OFFLINE:
            return Need.OFFLINE
        if state is not None and _has_fault(state):
            return Need.FAULT
        if listening_s is not None:
            arrivals = [arrival for arrival in (member.state_s, member.health_s) if arrival is not None]
            if now_s - max([listening_s, *arrivals]) > SILENT_S and status is not TerminalStatus.STOPPING:
                return Need.SILENT
            old_state = member.state_s is None or member.state_s < listening_s - SETTLE_S
            if old_state and now_s - listening_s > SETTLE_S:
                return Need.STATE_MISSING
        if member.problems:
            return Need.MESSAGE_DAMAGED
        if member.flooded_s is not None and now_s - member.flooded_s < FLOODING_S:
            return Need.FLOODING
        if state is not None and (state.conditions or status is TerminalStatus.DEGRADED):
            return Need.WARNING
        return Need.STOPPING if status is TerminalStatus.STOPPING else Need.NOTHING


def _has_fault(state: StateReport) -> bool:
    severities = {CONDITIONS[code].severity for code in state.conditions}
    if Severity.ERROR in severities:
        return True
    # a newer version may have conditions whose severity is not known here
    return state.status is TerminalStatus.DEGRADED and (not severities or state.conditions_left_out > 0)
