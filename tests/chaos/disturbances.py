"""The disturbances of a chaos run, beside the kills at named points: one enum member and one method each."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from tests.chaos.run import Chaos

FLOOD_PER_S = 5_000
PAUSE_S = (0.1, 2.0)
SMALL_PACKET_BYTES = 1_450  # requests and `state` fit in, results do not
SMALL_PACKETS_S = 4.0


class Disturbance(StrEnum):
    BROKER = "broker killed"
    CUT = "connections cut"
    FLOOD = "floods of 5 000 messages/s"
    PAUSE = "agent paused (SIGSTOP), 0.1-2 s"
    SMALL = "broker with too small a maximum packet"


class Disturbances:
    """Plays the disturbances of a plan in random order, spread over the run."""

    def __init__(self, chaos: Chaos, random_source: random.Random) -> None:
        self._chaos, self._random = chaos, random_source
        self._floods: list[asyncio.subprocess.Process] = []

    async def run(self, done: asyncio.Event) -> None:
        disturbances = [
            disturbance for disturbance, count in self._chaos.plan.disturbances.items() for _ in range(count)
        ]
        self._random.shuffle(disturbances)
        try:
            while disturbances and not done.is_set():
                await asyncio.sleep(self._random.uniform(0.5, 2.5))
                disturbance = disturbances.pop()
                await self._play(disturbance)
                self._chaos.run_log.disturbances[disturbance] += 1
        finally:
            await self._end_floods()

    async def _play(self, disturbance: Disturbance) -> None:
        match disturbance:
            case Disturbance.BROKER:
                await asyncio.to_thread(self._chaos.broker.kill)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(self._chaos.broker.start)
            case Disturbance.CUT:
                self._chaos.proxy.cut()
            case Disturbance.FLOOD:
                await self._flood()
            case Disturbance.PAUSE:
                await self._pause()
            case Disturbance.SMALL:
                await self._small_packets()
            case _:
                assert_never(disturbance)

    async def _flood(self) -> None:
        """Start a flood, which runs beside other disturbances. A killed broker ends the flood early."""
        command = [sys.executable, "-m", "tests.chaos.flood", str(self._chaos.broker.port)]
        numbers = [str(FLOOD_PER_S), str(FLOOD_PER_S * self._chaos.plan.flood_s)]
        tills = self._random.choice(("0", "1", "20"))
        flood = await asyncio.create_subprocess_exec(
            *command,
            self._chaos.prefix,
            *numbers,
            "--tills",
            tills,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._floods.append(flood)

    async def _end_floods(self) -> None:
        for flood in self._floods:
            out, _ = await flood.communicate()
            self._chaos.run_log.hostile += FLOOD_PER_S * self._chaos.plan.flood_s if out else 0

    async def _pause(self) -> None:
        agent = self._chaos.agent
        if agent is None or agent.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            agent.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(self._random.uniform(*PAUSE_S))
            finally:
                agent.send_signal(signal.SIGCONT)

    async def _small_packets(self) -> None:
        """Limit the broker's packet size for a while: requests fit, results do not."""
        broker = self._chaos.broker
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.allow, f"max_packet_size {SMALL_PACKET_BYTES}")
        try:
            await asyncio.sleep(SMALL_PACKETS_S)
        finally:
            await asyncio.to_thread(broker.stop)
            await asyncio.to_thread(broker.allow)
