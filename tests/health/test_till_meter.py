"""Which faults in a row of one till are reported."""

from agent.health.condition import FORGET_MS
from agent.health.till_meter import COUNT_MIN, SPAN_MS, TILLS_MAX, TillMeter

STEP_MS = SPAN_MS


def meter_with(*tills: str, count: int = COUNT_MIN) -> TillMeter:
    meter = TillMeter()
    for till in tills:
        for number in range(count):
            meter.add(till, "consent_missing", number * STEP_MS)
    return meter


LAST_MS = (COUNT_MIN - 1) * STEP_MS


def test_faults_in_a_row_of_one_till_are_reported_with_the_till_and_the_code() -> None:
    assert not meter_with("till-1", count=COUNT_MIN - 1).faults(LAST_MS)
    assert meter_with("till-1").faults(LAST_MS) == "till-1: 3 x consent_missing"


def test_faults_at_one_time_are_no_fault_of_the_till() -> None:
    """A till sends all its waiting requests after an outage: they are stale, and the next one is not."""
    meter = TillMeter()
    for _ in range(COUNT_MIN + 5):
        meter.add("till-1", "request_stale", 5)
    assert not meter.faults(5)


def test_clear_ends_the_fault_of_this_till_only() -> None:
    meter = meter_with("till-1", "till-2")
    meter.clear("till-2")
    assert meter.faults(LAST_MS) == "till-1: 3 x consent_missing"
    meter.clear("till-1")
    assert not meter.faults(LAST_MS)


def test_fault_of_a_silent_till_ends_and_its_count_starts_again() -> None:
    meter = meter_with("till-1")
    assert meter.faults(LAST_MS + FORGET_MS - 1)
    assert not meter.faults(LAST_MS + FORGET_MS)
    meter.add("till-1", "consent_missing", LAST_MS + FORGET_MS)
    assert not meter.faults(LAST_MS + FORGET_MS)


def test_faults_of_many_tills_are_three_and_a_number() -> None:
    tills = [f"t{number}" for number in range(TILLS_MAX + 1)]
    shown = meter_with(*tills).faults(LAST_MS)
    assert shown.startswith(f"t{TILLS_MAX}: 3 x consent_missing, ") and f", +{TILLS_MAX - 3}, " in shown


def test_single_faults_of_many_other_names_do_not_hide_a_till() -> None:
    meter = meter_with("till-1")
    for number in range(2 * TILLS_MAX):
        meter.add(f"t{number}", "request_malformed", LAST_MS + number)
    assert meter.faults(LAST_MS + 2 * TILLS_MAX).startswith("till-1: 3 x consent_missing")


def test_till_is_reported_although_many_others_have_more_faults() -> None:
    meter = meter_with(*[f"t{number}" for number in range(TILLS_MAX)], count=2 * COUNT_MIN)
    for number in range(COUNT_MIN):
        meter.add("till-1", "consent_missing", (COUNT_MIN + number) * STEP_MS)
    assert meter.faults(2 * COUNT_MIN * STEP_MS).startswith("till-1: 3 x consent_missing, ")


def test_silent_till_is_forgotten_first() -> None:
    meter = meter_with("t0", count=2 * COUNT_MIN)
    now_ms = 2 * COUNT_MIN * STEP_MS + FORGET_MS
    for number in range(1, TILLS_MAX + 1):
        meter.add(f"t{number}", "request_malformed", now_ms)
    for number in range(1, COUNT_MIN):
        meter.add("t1", "request_malformed", now_ms + number * STEP_MS)
    assert meter.faults(now_ms + LAST_MS).startswith("t1: 3 x request_malformed")


def test_faults_of_more_tills_than_the_table_holds_are_reported() -> None:
    """Two faults of each of 64 names make the meter forget a till with one fault before its second one."""
    others = [f"t{number}" for number in range(TILLS_MAX)]
    meter = meter_with(*others, count=COUNT_MIN - 1)
    assert meter.faults(LAST_MS) == f"{TILLS_MAX} tills or more with a fault"
    assert not meter.faults(LAST_MS + FORGET_MS)
    meter.clear(others[0])
    assert not meter.faults(LAST_MS)


def test_newest_has_each_till_whose_last_message_had_a_fault() -> None:
    meter = meter_with("till-1", "till-2", count=1)
    meter.add("till-1", "signature_missing", 1)
    assert meter.newest(1) == {"till-2": "consent_missing", "till-1": "signature_missing"}
    meter.clear("till-2")
    assert meter.newest(1) == {"till-1": "signature_missing"}
    assert not meter.newest(1 + FORGET_MS)
