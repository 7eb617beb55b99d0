"""Nodes of a RabbitMQ cluster are killed while tills send requests: nothing lost, no second API call."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from agent.core.attempt_limits import GuardLimits
from tests.broker_matrix.rabbitmq import Balancer, Node, needs_rabbitmq, rabbitmq
from tests.chaos.tills import PatientTill
from tests.till.test_both_sides import TOPICS, RunningTerminal, terminal

pytestmark = [
    pytest.mark.long,  # three Erlang nodes, each killed and started again
    pytest.mark.forged,  # the broker delivers a will of a killed connection late
]

REQUESTS = int(os.environ.get("FACEPAY_CLUSTER_REQUESTS", "120"))  # at least, of all tills together
REQUESTS_MAX = 10 * REQUESTS
TILLS, KILLS = 3, max(6, REQUESTS // 50)
CALL_S = 0.2  # so that a node is often killed during an API call
DRAIN_S = 90.0
NO_LIMITS = GuardLimits(failures=0, calls_per_minute=0, calls_per_day=0)  # each request makes a call


class Kills:
    """Kills one node after the other, each after some more answers, and starts it again."""

    def __init__(self, nodes: list[Node], answered: Counter[str]) -> None:
        self._nodes, self._answered = nodes, answered
        self.done = 0

    async def run(self) -> None:
        while self.done < KILLS:
            until = self._answered.total() + 5
            while self._answered.total() < until:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
            node = self._nodes[self.done % len(self._nodes)]
            await asyncio.to_thread(node.kill)
            await asyncio.sleep(2.0)  # the cluster works with two nodes
            await asyncio.to_thread(node.start)
            self.done += 1


async def ask(till: PatientTill, answered: Counter[str], kills: Kills) -> None:
    while answered.total() < REQUESTS or (kills.done < KILLS and answered.total() < REQUESTS_MAX):
        answered[await till.request_until_ended()] += 1


async def results_arrived(running: RunningTerminal, tills: list[PatientTill]) -> list[str]:
    """The ids of stored results that no till received, after the last repeats."""
    received = {
        str(json.loads(json.loads(payload)["result"])["request_id"])
        for till in tills
        for request in till.requests.values()
        for payload in request.results
    }
    calls = {request_id for request_id, _ in running.compare.answered}
    ended = {each.request_id for till in tills for each in till.requests.values() if each.ended.done()}
    assert calls <= ended
    expired = {
        each.request_id
        for till in tills
        for each in till.requests.values()
        if each.ended.done() and each.ended.result() == "expired"
    }
    return sorted(calls - received - expired)


async def test_cluster_with_node_kills_loses_no_result_and_makes_no_second_call(tmp_path: Path) -> None:
    needs_rabbitmq()
    with rabbitmq(3) as nodes:
        balancer = Balancer([node.port for node in nodes])
        await balancer.start()
        answered = Counter[str]()
        kills = Kills(nodes, answered)
        async with terminal(balancer.port, tmp_path, guard=NO_LIMITS) as running:
            running.compare.delay_s = CALL_S
            names = [f"till-{number}" for number in range(TILLS)]
            key = running.signer.public
            tills = [PatientTill(balancer.port, TOPICS, name, key) for name in names]
            for till in tills:
                await till.link.start()
            killing = asyncio.create_task(kills.run())
            try:
                await asyncio.gather(*(ask(till, answered, kills) for till in tills))
                await killing
                async with asyncio.timeout(DRAIN_S):
                    while running.till.result_sender.depth:  # noqa: ASYNC110 - no event for it
                        await asyncio.sleep(0.1)
            finally:
                killing.cancel()
                await asyncio.gather(killing, return_exceptions=True)
                for till in tills:
                    await till.link.stop()
            calls = Counter(request_id for request_id, _ in running.compare.answered)
            print(f"{answered.total()} requests, {kills.done} kills, {dict(answered)}, {calls.total()} calls")
            assert kills.done == KILLS, "each node was killed at least twice"
            assert answered["lost"] == 0
            assert await results_arrived(running, tills) == []
            assert max(calls.values()) == 1 and len(running.compare.asked) == calls.total(), "no second call"
            assert calls.total() > REQUESTS / 2
            assert sum(till.bad_signatures for till in tills) == 0
        await balancer.stop()
