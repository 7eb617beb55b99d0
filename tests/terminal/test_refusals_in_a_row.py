"""Refusals in a row of one till, as a condition of the terminal."""

from __future__ import annotations

import pytest

from agent.core.reasons import Refusal
from agent.health import till_meter
from agent.health.conditions_board import VERIFICATIONS_FAILING
from agent.health.conditions_till import REQUESTS_REFUSED
from agent.terminal.results import BUGS, FAULTS_OF_TILL, PASSING_REFUSALS
from tests.contract.golden import request
from tests.terminal.test_call_budget import ask
from tests.terminal.test_terminal import TerminalSetup, serving


def test_each_refusal_is_of_one_kind() -> None:
    """A new refusal without an entry would leave ``status`` at ONLINE while each request is refused."""
    kinds = (FAULTS_OF_TILL, PASSING_REFUSALS, BUGS)
    assert set(Refusal) == frozenset().union(*kinds)
    assert len(Refusal) == sum(map(len, kinds))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(till_meter, "SPAN_MS", 0)


async def refuse(setup: TerminalSetup, refusal: Refusal) -> None:
    for _ in range(till_meter.COUNT_MIN):
        await setup.terminal.results.refuse(request().till, None, refusal, "")


async def test_till_with_refused_requests_only_is_a_condition_until_one_is_accepted() -> None:
    setup = TerminalSetup()
    async with serving(setup):
        await refuse(setup, Refusal.CONSENT_MISSING)
        assert setup.terminal.conditions.active == (REQUESTS_REFUSED,)
        assert await ask(setup, 1) == "match/same_person"
        assert not setup.terminal.conditions.active


@pytest.mark.parametrize("refusal", [Refusal.BUSY, Refusal.REQUEST_RETAINED])
async def test_refusal_without_a_lasting_fault_is_no_condition(refusal: Refusal) -> None:
    """A broker delivers one old retained request again at each connect."""
    setup = TerminalSetup()
    async with serving(setup):
        await refuse(setup, refusal)
        assert not setup.terminal.conditions.active


async def test_refusals_after_a_bug_are_a_fault_of_the_terminal_not_of_the_till() -> None:
    setup = TerminalSetup()
    async with serving(setup):
        await refuse(setup, Refusal.NOT_READY)
        (shown,) = setup.terminal.conditions.shown
        assert (shown.condition, shown.detail) == (VERIFICATIONS_FAILING, "not_ready")
        assert await ask(setup, 1) == "match/same_person"
        assert not setup.terminal.conditions.active


async def test_condition_of_a_till_that_was_removed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = TerminalSetup()
    async with serving(setup):
        await refuse(setup, Refusal.SIGNATURE_INVALID)
        assert setup.terminal.conditions.active == (REQUESTS_REFUSED,)
        monkeypatch.setattr(till_meter, "FORGET_MS", 0)
        setup.terminal.results.show_faults()
        assert not setup.terminal.conditions.active
