"""Tills that send requests through a load balancer to a cluster, while its nodes or its network fail."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.core.attempt_limits import AttemptLimits
from tests.broker_matrix.rabbitmq import Balancer, Node
from tests.chaos.tills import PatientTill
from tests.till.test_both_sides import TOPICS, RunningTerminal, terminal

TILLS = 3
CALL_S = 0.2  # so that a fault often comes during an API call
DRAIN_S = 90.0
NO_LIMITS = AttemptLimits(failures=0, calls_per_minute=0, calls_per_day=0)  # each request makes a call


class Faults(Protocol):
    """``run`` makes one fault after the other; ``over``: all of them were made and mended."""

    over: bool

    async def run(self) -> None: ...


@dataclass(frozen=True)
class Load:
    """What the tills and the terminal counted. ``missing``: the stored results that no till received."""

    answered: Counter[str]
    calls: Counter[str]  # of the compare API, by request
    calls_made: int
    missing: list[str]
    bad_signatures: int


async def loaded(
    nodes: Sequence[Node], folder: Path, requests: int, faults_of: Callable[[Counter[str]], Faults]
) -> Load:
    """Send at least ``requests`` requests, and more until the faults are over, at most ten times as many.

    ``faults_of``: makes the faults from the counter of ended requests.
    """
    balancer = Balancer(nodes)
    await balancer.start()
    answered = Counter[str]()
    faults = faults_of(answered)
    async with terminal(balancer.port, folder, guard=NO_LIMITS) as running:
        running.compare.delay_s = CALL_S
        names = [f"till-{number}" for number in range(TILLS)]
        tills = [PatientTill(balancer.port, TOPICS, name, running.signer.public) for name in names]
        for till in tills:
            await till.connection.start()
        making = asyncio.create_task(faults.run())
        try:
            await asyncio.gather(*(_ask(till, answered, requests, faults) for till in tills))
            await making
            async with asyncio.timeout(DRAIN_S):
                while running.till.result_sender.open_count:  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(0.1)
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            for till in tills:
                await till.connection.stop()
        calls = Counter(request_id for request_id, _ in running.compare.answered)
        bad_signatures = sum(till.bad_signatures for till in tills)
        missing = _missing(running, tills)
        load = Load(answered, calls, len(running.compare.calls), missing, bad_signatures)
    await balancer.stop()
    return load


def check_nothing_lost(load: Load, requests: int) -> None:
    print(f"{load.answered.total()} requests, {dict(load.answered)}, {load.calls.total()} calls")
    assert load.answered["lost"] == 0
    assert load.missing == []
    assert max(load.calls.values()) == 1 and load.calls_made == load.calls.total(), "no second call"
    assert load.calls.total() > requests / 2
    assert load.bad_signatures == 0


async def _ask(till: PatientTill, answered: Counter[str], requests: int, faults: Faults) -> None:
    while answered.total() < requests or (not faults.over and answered.total() < 10 * requests):
        answered[await till.request_until_ended()] += 1


def _missing(running: RunningTerminal, tills: list[PatientTill]) -> list[str]:
    """The ids of stored results that no till received, after the last repeats."""
    received = {
        str(json.loads(json.loads(payload)["result"])["request_id"])
        for till in tills
        for request in till.requests.values()
        for payload in request.results
    }
    ended = {
        each.request_id: each.ended.result()
        for till in tills
        for each in till.requests.values()
        if each.ended.done()
    }
    calls = {request_id for request_id, _ in running.compare.answered}
    assert calls <= set(ended)
    return sorted(calls - received - {name for name, end in ended.items() if end == "expired"})
