"""The latency of one till during a flood: ``python -m tests.chaos.flooded`` prints a table.

Setup: a real mosquitto, the till side of the terminal with a hold of 180 ms, API answers of 200 ms, a flood.
The till has one earlier result. Without a trusted key, a new till shares the rate limit of all new tills
during a flood of invented ids. Prints figures, asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from agent.kits.till.client import TillClient
from tests.brokers import Mosquitto
from tests.messages.payloads import PHOTO
from tests.till import test_both_sides as sides

HOLD_MS, API_S = 180, 0.2


async def measure_latencies(till: TillClient, requests: int) -> list[float]:
    """The latencies in ms of the requests that ended with a match."""
    latencies_ms = []
    for _ in range(requests):
        start_s = time.monotonic()
        verdict = await till.ask(PHOTO, ttl_ms=8_000)
        if verdict.decision == "match":
            latencies_ms.append((time.monotonic() - start_s) * 1e3)
    return latencies_ms


async def measure(folder: Path, rate: int, requests: int) -> None:
    sides.LIMITS = replace(sides.LIMITS, hold_ms=HOLD_MS)
    broker = Mosquitto(folder).start()
    try:
        print(f"{'flood':<22} {'sent/s':>7} {'served':>9} {'median ms':>10} {'longest ms':>11}")
        for name, tills in (("none", ""), ("one till", "1"), ("20 tills", "20"), ("a new id each", "0")):
            async with (
                sides.terminal(broker.port, folder / f"state-{tills}") as side,
                sides.till_client(broker.port, side) as till,
            ):
                side.compare.delay_s = API_S
                await measure_latencies(till, 1)
                command = [sys.executable, "-m", "tests.chaos.flood", str(broker.port), sides.TOPICS.base]
                numbers = [str(rate), str(rate * requests), "--tills", tills]
                flood = None
                if tills:
                    pipe = asyncio.subprocess.PIPE
                    flood = await asyncio.create_subprocess_exec(*command, *numbers, stdout=pipe)
                    await asyncio.sleep(1.0)
                latencies_ms = await measure_latencies(till, requests)
                sent = (await flood.communicate())[0].decode().strip() if flood else "0"
            served = f"{len(latencies_ms)}/{requests}"
            median_ms, longest_ms = statistics.median(latencies_ms), max(latencies_ms)
            print(f"{name:<22} {sent:>7} {served:>9} {median_ms:>10.0f} {longest_ms:>11.0f}")
    finally:
        broker.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--requests", type=int, default=15)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="facepay-flood-") as folder:
        asyncio.run(measure(Path(folder), options.rate, options.requests))


if __name__ == "__main__":
    main()
