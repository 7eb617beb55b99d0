"""The model of the fleet monitor: each need, its order, and the limits for hostile terminals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.fleet.fleet_model import (
    FLOOD_BURST,
    FLOODING_S,
    SETTLE_S,
    SILENT_S,
    URGENCY,
    Fleet,
    LeftOut,
    Need,
    TerminalRow,
)
from agent.fleet.terminal_reports import (
    CONDITIONS_MAX,
    MESSAGE_MAX_BYTES,
    MessageProblem,
    StateReport,
    TerminalStatus,
    read_health,
    read_state,
    version_number,
)
from agent.health.conditions import CONDITIONS
from tests.fleet.fleet_messages import GOLDEN, health_of, state_of

ERRORS = [code for code, each in CONDITIONS.items() if each.severity == "error"]
WARNINGS = [code for code, each in CONDITIONS.items() if each.severity == "warning"]


class Monitored:
    """A subscribed fleet with a clock of its own."""

    def __init__(self, terminals_max: int = 100) -> None:
        self.now_s = 1_000.0
        self.fleet = Fleet(self.now_s, terminals_max)
        self.fleet.note_subscribed(self.now_s)

    def get(self, message: tuple[str, bytes], *, retained: bool = False) -> None:
        self.fleet.note_message(*message, retained=retained, now_s=self.now_s)

    def rows(self) -> list[TerminalRow]:
        return self.fleet.rows(self.now_s)

    def row(self) -> TerminalRow:
        (row,) = self.rows()
        return row

    def live(self, seconds: float, *terminals: str) -> None:
        """Time passes; these terminals send a health every minute."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            for terminal in terminals:
                self.get(health_of(terminal))
            self.now_s += 60


@pytest.mark.parametrize(
    ("status", "conditions", "need"),
    [
        ("online", [], Need.NOTHING),
        ("degraded", [ERRORS[0]], Need.FAULT),
        ("degraded", [WARNINGS[0]], Need.WARNING),
        ("degraded", [WARNINGS[0], ERRORS[0]], Need.FAULT),
        ("degraded", ["a_code_of_a_newer_version"], Need.FAULT),
        ("degraded", [], Need.FAULT),
        ("online", [ERRORS[0]], Need.FAULT),
        ("stopping", [], Need.STOPPING),
        ("offline", [], Need.OFFLINE),
    ],
)
def test_state_gives_its_need(status: str, conditions: list[str], need: Need) -> None:
    monitored = Monitored()
    monitored.get(state_of("a", status, conditions=conditions), retained=True)
    assert monitored.row().need is need


def test_reports_of_the_contract_examples_are_complete() -> None:
    state = read_state((GOLDEN / "state-degraded.json").read_bytes(), "shop-12", "terminal-3")
    assert (state.status, state.conditions) == (TerminalStatus.DEGRADED, ("compare_unreachable",))
    assert (state.version, state.profile, state.accepted_risks) == ("0.2.0", "shop", 1)
    for name in ("online", "offline", "rotated"):
        read_state((GOLDEN / f"state-{name}.json").read_bytes(), "shop-12", "terminal-3")
    health = read_health((GOLDEN / "health.json").read_bytes(), "shop-12", "terminal-3")
    assert health.numbers[("uptime_s",)] == 3_600 and health.numbers[("till", "withheld")] == 0
    assert health.results == {"match/same_person": 4, "undecided/no_face": 1}
    assert (health.refusals, health.left_out) == (1, 0)


def test_terminal_without_health_is_silent_after_three_minutes() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.get(state_of("b"), retained=True)
    monitored.live(SILENT_S + 61, "a")
    assert [(row.terminal, row.need) for row in monitored.rows()] == [("b", Need.SILENT), ("a", Need.NOTHING)]


def test_terminal_that_returns_after_an_hour_is_not_silent() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.live(120, "a")
    monitored.get(state_of("a", "offline"))
    monitored.now_s += 3_600
    monitored.get(state_of("a"))
    assert monitored.row().need is Need.NOTHING


def test_lost_connection_makes_no_terminal_silent_and_a_new_one_starts_the_wait_again() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.fleet.note_disconnected()
    monitored.now_s += 3_600
    assert monitored.row().need is Need.NOTHING
    monitored.get(state_of("a"), retained=True)  # mosquitto delivers it before the SUBACK
    monitored.fleet.note_subscribed(monitored.now_s)
    monitored.now_s += SILENT_S
    assert monitored.row().need is Need.NOTHING
    monitored.now_s += 1
    assert monitored.row().need is Need.SILENT


def test_broker_that_lost_the_retained_state_is_named() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.get(health_of("new"))
    assert {row.need for row in monitored.rows()} == {Need.NOTHING}
    monitored.fleet.note_disconnected()
    monitored.now_s += 60
    monitored.fleet.note_subscribed(monitored.now_s)
    monitored.now_s += SETTLE_S + 1
    assert {row.need for row in monitored.rows()} == {Need.STATE_MISSING}


def test_rows_are_ordered_by_need_then_by_duration_then_by_name() -> None:
    monitored = Monitored()
    for terminal, status in (("z", "offline"), ("b", "online"), ("a", "online")):
        monitored.get(state_of(terminal, status), retained=True)
    assert [row.terminal for row in monitored.rows()] == ["z", "a", "b"]
    monitored.now_s += 5
    monitored.get(state_of("a", "offline"))
    assert [row.terminal for row in monitored.rows()] == ["z", "a", "b"]
    monitored.get(state_of("b", "degraded", conditions=[ERRORS[0]]))
    assert [(row.terminal, row.since_s) for row in monitored.rows()] == [
        ("z", 1_000),
        ("a", 1_005),
        ("b", 1_005),
    ]


def test_unchanged_row_stays_the_same_object() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    row = monitored.row()
    monitored.now_s += 1
    monitored.get(state_of("a"))
    assert monitored.row() is row


def test_cleared_state_removes_the_terminal() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.get((state_of("a")[0], b""))
    assert monitored.rows() == []


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"x", MessageProblem.NOT_JSON),
        (b"[" * 20_000, MessageProblem.NOT_JSON),
        (b'{"schema":"facepay.state/1","status":"online","status":"offline"}', MessageProblem.NOT_JSON),
        (b"null", MessageProblem.NOT_JSON),
        (b"\xff\xfe", MessageProblem.NOT_JSON),
        (b"{}", MessageProblem.SCHEMA_UNKNOWN),
        (b" " * (MESSAGE_MAX_BYTES + 1), MessageProblem.TOO_LARGE),
        (state_of("b")[1], MessageProblem.OTHER_TERMINAL),
        (state_of("a", "asleep")[1], MessageProblem.STATUS_UNKNOWN),
    ],
    ids=["text", "nested", "double key", "null", "no UTF-8", "other object", "large", "other", "status"],
)
def test_unusable_state_is_named_and_a_good_one_ends_it(payload: bytes, problem: MessageProblem) -> None:
    monitored = Monitored()
    monitored.get((state_of("a")[0], payload), retained=True)
    row = monitored.row()
    assert (row.need, row.problems, row.state) == (Need.MESSAGE_DAMAGED, (problem,), None)
    monitored.get(state_of("a"))
    assert (monitored.row().need, monitored.row().problems) == (Need.NOTHING, ())


def test_retained_health_is_refused() -> None:
    monitored = Monitored()
    monitored.get(state_of("a"), retained=True)
    monitored.get(health_of("a"), retained=True)
    row = monitored.row()
    assert (row.need, row.problems, row.health) == (
        Need.MESSAGE_DAMAGED,
        (MessageProblem.HEALTH_RETAINED,),
        None,
    )


def test_thousand_conditions_are_counted_and_few_are_kept() -> None:
    monitored = Monitored()
    codes = [*CONDITIONS, *(f"code_{number}" for number in range(1_000)), *CONDITIONS, 7, None]
    monitored.get(state_of("a", "degraded", conditions=codes))
    state = monitored.row().state
    assert state is not None and state.conditions == tuple(CONDITIONS)[:CONDITIONS_MAX]
    assert state.conditions_left_out == len(codes) - CONDITIONS_MAX


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The terminals whose states the model has read, one entry for each message."""
    from agent.fleet import fleet_model

    terminals = list[str]()

    def read(payload: bytes, site: str, terminal: str) -> StateReport:
        terminals.append(terminal)
        return read_state(payload, site, terminal)

    monkeypatch.setattr(fleet_model, "read_state", read)
    return terminals


def test_flood_is_named_decodes_few_messages_and_ends_with_the_true_state(
    decoded: list[str],
) -> None:
    monitored = Monitored()
    for _ in range(600):  # 10 messages a second
        monitored.get(state_of("a"))
        monitored.now_s += 0.1
    monitored.get(state_of("a", "offline"))
    assert monitored.row().need is Need.OFFLINE, "the newest message counts, although it is above the rate"
    assert len(decoded) <= FLOOD_BURST + 60 + 2
    monitored.get(state_of("a"))
    assert monitored.row().need is Need.FLOODING
    monitored.now_s += FLOODING_S + 1
    assert monitored.row().need is Need.NOTHING


def test_ids_beyond_the_limit_are_counted_and_a_known_terminal_stays() -> None:
    monitored = Monitored(terminals_max=5)
    monitored.get(state_of("known"), retained=True)
    for number in range(1_000):
        monitored.get(state_of(f"t-{number}"))
    assert len(monitored.rows()) == 5 and monitored.fleet.left_out[LeftOut.TOO_MANY_TERMINALS] == 996
    monitored.get(state_of("known", "offline"))
    assert monitored.rows()[0].terminal == "known"


def test_ids_that_are_added_and_removed_are_limited_for_a_day() -> None:
    monitored = Monitored(terminals_max=5)
    ids = set()
    for number in range(1_000):
        topic, payload = state_of(f"t-{number}")
        monitored.get((topic, payload))
        ids |= {row.terminal for row in monitored.rows()}
        monitored.get((topic, b""))
    assert len(ids) == 5


def test_terminal_that_clears_its_state_again_and_again_takes_no_place_of_another(
    decoded: list[str],
) -> None:
    monitored = Monitored(terminals_max=5)
    topic, payload = state_of("hostile")
    for _ in range(1_000):
        monitored.get((topic, payload))
        monitored.get((topic, b""))
    assert len(decoded) <= FLOOD_BURST, "its rate holds across the removals"
    monitored.get((topic, payload))
    for number in range(4):
        monitored.get(state_of(f"new-{number}"))
    assert len(monitored.rows()) == 5 and monitored.fleet.left_out == {}
    assert {row.need for row in monitored.rows() if row.terminal == "hostile"} == {Need.FLOODING}


def test_forgotten_ids_are_bounded() -> None:
    monitored = Monitored(terminals_max=5)
    for number in range(200):
        topic, payload = state_of(f"t-{number}")
        monitored.get((topic, payload))
        monitored.get((topic, b""))
        monitored.now_s += 86_400
    assert len(monitored.fleet._rates) == 10


@pytest.mark.parametrize(
    "topic",
    [
        "facepay/v1/shop-1/" + "x" * 60_000 + "/state",
        "facepay/v1/shop 1/a/state",
        "facepay/v1/shop-1/a\x1b[2J/state",
        "facepay/v1//a/state",
        "facepay/v1/shop-1/a/b/state",
        "facepay/v1/shop-1/a/verify",
        "facepay/v2/shop-1/a/state",
        "",
    ],
)
def test_topic_that_is_no_terminal_is_counted_with_a_short_example(topic: str) -> None:
    monitored = Monitored()
    monitored.get((topic, b"{}"))
    assert monitored.rows() == [] and monitored.fleet.left_out == {LeftOut.TOPIC_INVALID: 1}
    assert len(monitored.fleet.example) <= 64 and "\x1b" not in monitored.fleet.example


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("٣.٣.٣", None),
        ("0.2.0", 2_000),
        ("1.12.3+deb12", 1_012_003),
        ("1.2", None),
        ("1.2.3.4", None),
        ("", None),
    ],
)
def test_version_is_a_number_that_grows(version: str, number: int | None) -> None:
    assert version_number(version) == number
    assert read_state(state_of("a", version=version)[1], "shop-1", "a").version == (version if number else "")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "status",
        "conditions",
        "version",
        "profile",
        "accepted_risks",
        "uptime_s",
        "results",
        "refusals",
        "till",
    ]
)


@st.composite
def hostile_messages(draw: st.DrawFn) -> tuple[str, bytes, bool, float]:
    """(topic, payload, retained, seconds until the next one)."""
    terminal = draw(st.sampled_from(["a", "b", "c", "d", "x" * 64, "x" * 65, "+", "#", "\x00"]))
    kind = draw(st.sampled_from(["state", "health", "result", ""]))
    tree: Any = {"schema": f"facepay.{kind}/1", "site": "s", "terminal": terminal, "status": "online"}
    tree |= draw(st.dictionaries(FIELDS, JSON, max_size=4))
    payload = draw(st.sampled_from([json.dumps(tree).encode(), b"", b"{" * 40_000]) | st.binary(max_size=64))
    return (
        f"facepay/v1/s/{terminal}/{kind}",
        payload,
        draw(st.booleans()),
        draw(st.sampled_from([0, 0.1, 70])),
    )


@settings(max_examples=50)
@given(st.lists(hostile_messages(), max_size=60))
def test_any_messages_give_bounded_rows_in_order(messages: list[tuple[str, bytes, bool, float]]) -> None:
    now_s = 0.0
    fleet = Fleet(now_s, terminals_max=4)
    fleet.note_subscribed(now_s)
    for topic, payload, retained, pause_s in messages:
        fleet.note_message(topic, payload, retained=retained, now_s=now_s)
        now_s += pause_s
        rows = fleet.rows(now_s)
        assert len(rows) <= 4 and [URGENCY[row.need] for row in rows] == sorted(
            URGENCY[row.need] for row in rows
        )
        for row in rows:
            assert len(row.site + row.terminal) <= 128 and len(row.problems) <= 2
            if row.state is not None:
                assert len(row.state.conditions) <= CONDITIONS_MAX and set(row.state.conditions) <= set(
                    CONDITIONS
                )
                assert len(row.state.version) <= 40 and row.state.profile in ("", "demo", "shop")
            if row.health is not None:
                assert all(0 <= number <= 2**53 for number in row.health.numbers.values())
    assert fleet.messages == len(messages)
