"""The network of a RabbitMQ cluster is cut while tills send requests: nothing lost, no second API call.

Each node has a network namespace. One node after the other is taken off the network of the nodes: all packets
between it and the others are dropped. Its clients still reach it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.broker_matrix.cluster_load import check_nothing_lost, loaded
from tests.broker_matrix.machines import Switch, network
from tests.broker_matrix.rabbitmq import NET_TICK_S, Node, needs_rabbitmq, rabbitmq

pytestmark = [
    pytest.mark.long,  # three Erlang nodes, each cut off for longer than their heartbeat
    pytest.mark.forged,  # the broker delivers a will of an ended connection late
]

REQUESTS = int(os.environ.get("FACEPAY_CLUSTER_REQUESTS", "60"))  # at least, of all tills together
PARTITIONS = max(3, REQUESTS // 100)
NOTICED_S = 180


class Partitions:
    """Cuts one node after the other off, each after some more answers, and ends the partition.

    ``pause_minority``: the node that was cut off pauses, and continues by itself. ``ignore``, the default of
    RabbitMQ: it serves its clients alone, and is restarted after the partition, as RabbitMQ's manual demands.
    """

    def __init__(self, nodes: list[Node], switch: Switch, handling: str, answered: Counter[str]) -> None:
        self._nodes, self._switch, self._handling, self._answered = nodes, switch, handling, answered
        self.over = False
        self.cut_s: list[float] = []

    async def run(self) -> None:
        for number in range(PARTITIONS):
            until = self._answered.total() + 5
            while self._answered.total() < until:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
            began = time.monotonic()
            await asyncio.to_thread(self._cut, self._nodes[number % len(self._nodes)])
            self.cut_s.append(time.monotonic() - began)
        self.over = True

    def _cut(self, node: Node) -> None:
        self._switch.isolate(node.name)
        if self._handling == "pause_minority":
            node.wait_until(listening=False)
            self._switch.join(node.name)
            node.wait_until(listening=True)
        else:
            time.sleep(2 * NET_TICK_S)  # both sides have given the other one up
            self._switch.join(node.name)
            _wait_until_noticed(self._nodes)
            node.kill()
            node.start()


def _wait_until_noticed(nodes: list[Node]) -> None:
    """Until a node reports the partition: this is the proof that there was one."""
    until = time.monotonic() + NOTICED_S
    while time.monotonic() < until:
        for node in nodes:
            if json.loads(node.control("cluster_status", "--formatter", "json"))["partitions"]:
                return
    raise AssertionError(f"no node reported a partition within {NOTICED_S} s")


@pytest.mark.parametrize("handling", ["pause_minority", "ignore"])
async def test_cluster_with_partitions_loses_no_result_and_makes_no_second_call(
    handling: str, tmp_path: Path
) -> None:
    needs_rabbitmq()
    with (
        network("r1", "r2", "r3") as switch,
        rabbitmq(3, switch=switch, partition_handling=handling) as nodes,
    ):
        made: list[Partitions] = []

        def partitions_of(answered: Counter[str]) -> Partitions:
            made.append(Partitions(nodes, switch, handling, answered))
            return made[0]

        load = await loaded(nodes, tmp_path, REQUESTS, partitions_of)
    print(f"{handling}: partitions ended after {[round(each) for each in made[0].cut_s]} s")
    assert made[0].over, "each node was cut off"
    check_nothing_lost(load, REQUESTS)
