"""The error of a client: the broker's problem with it, else that of its terminal."""

from __future__ import annotations

import asyncio

import pytest

from agent.config import MqttConfig
from agent.errors import TillError
from agent.mqtt.reachability import Reachability, client_error
from agent.mqtt.reason_codes import BrokerProblem
from tests.texts import zh

OFFLINE = TillError("x", code="terminal_offline")
CONFIG = MqttConfig(host="broker.example", port=8883)


@pytest.mark.parametrize("problem", BrokerProblem)
def test_each_problem_has_a_sentence_with_the_broker_and_a_fix(problem: BrokerProblem) -> None:
    error = client_error(CONFIG, problem, "the reason")
    assert error.code == problem and "broker.example:8883" in str(error) and "the reason" in str(error)
    assert str(error.fix) and zh(error.fix)


async def test_a_refusal_ends_the_wait_at_once_and_two_refusals_are_one_end() -> None:
    reachability = Reachability(CONFIG)
    with pytest.raises(TimeoutError):
        async with reachability.limit(3_600):
            reachability.note_problem(BrokerProblem.REFUSED, True, "x")
            reachability.note_problem(BrokerProblem.TLS, True, "y")
            await asyncio.Event().wait()
    assert reachability.error(OFFLINE).code == BrokerProblem.REFUSED
    with pytest.raises(TimeoutError):  # the problem is known before the next wait
        async with reachability.limit(3_600):
            await asyncio.Event().wait()


async def test_a_refusal_ends_each_wait_that_runs() -> None:
    reachability = Reachability(CONFIG)

    async def wait() -> None:
        async with reachability.limit(3_600):
            await asyncio.Event().wait()

    waits = [asyncio.create_task(wait()) for _ in range(2)]
    await asyncio.sleep(0)
    reachability.note_problem(BrokerProblem.REFUSED, True, "x")
    for each in await asyncio.gather(*waits, return_exceptions=True):
        assert isinstance(each, TimeoutError)


@pytest.mark.parametrize(
    "passing",
    [BrokerProblem.UNREACHABLE, BrokerProblem.BUSY, BrokerProblem.PUBLISH_REFUSED, BrokerProblem.LIMITS],
)
async def test_a_problem_that_may_pass_does_not_end_the_wait(passing: BrokerProblem) -> None:
    reachability = Reachability(CONFIG)
    async with reachability.limit(3_600):
        reachability.note_problem(passing, True, "x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reachability.note_problem(passing, False)
    reachability.note_ready()
    assert reachability.error(OFFLINE) is OFFLINE


def test_a_refused_message_is_no_reason_for_a_missing_terminal() -> None:
    """Older rights of tills do not contain ``get_state``; ``publish`` raises the other refusals itself."""
    reachability = Reachability(CONFIG)
    reachability.note_ready()
    reachability.note_problem(BrokerProblem.PUBLISH_REFUSED, True, "get_state")
    assert reachability.error(OFFLINE) is OFFLINE
    problem = reachability.problem()
    assert problem is not None and problem.code == BrokerProblem.PUBLISH_REFUSED


def test_a_broker_without_any_answer_is_unreachable() -> None:
    assert Reachability(CONFIG).error(OFFLINE).code == BrokerProblem.UNREACHABLE
