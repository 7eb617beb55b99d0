"""Nodes of a RabbitMQ cluster are killed while tills send requests: nothing lost, no second API call."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.broker_matrix.cluster_load import check_nothing_lost, loaded
from tests.broker_matrix.rabbitmq import Node, needs_rabbitmq, rabbitmq

pytestmark = [
    pytest.mark.long,  # three Erlang nodes, each killed and started again
    pytest.mark.forged,  # the broker delivers a will of a killed connection late
]

REQUESTS = int(os.environ.get("FACEPAY_CLUSTER_REQUESTS", "120"))  # at least, of all tills together
KILLS = max(6, REQUESTS // 50)


class Kills:
    """Kills one node after the other, each after some more answers, and starts it again."""

    def __init__(self, nodes: list[Node], answered: Counter[str]) -> None:
        self._nodes, self._answered = nodes, answered
        self.over = False

    async def run(self) -> None:
        for number in range(KILLS):
            until = self._answered.total() + 5
            while self._answered.total() < until:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
            node = self._nodes[number % len(self._nodes)]
            await asyncio.to_thread(node.kill)
            await asyncio.sleep(2.0)  # the cluster works with two nodes
            await asyncio.to_thread(node.start)
        self.over = True


async def test_cluster_with_node_kills_loses_no_result_and_makes_no_second_call(tmp_path: Path) -> None:
    needs_rabbitmq()
    with rabbitmq(3) as nodes:
        kills: list[Kills] = []

        def kills_of(answered: Counter[str]) -> Kills:
            kills.append(Kills(nodes, answered))
            return kills[0]

        load = await loaded(nodes, tmp_path, REQUESTS, kills_of)
    assert kills[0].over, "each node was killed at least twice"
    check_nothing_lost(load, REQUESTS)
