"""What the kit does before a request: forged states, a broker without a retained ``state``, a restart."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import assert_never

from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.state_behaviour import (
    lose_copies,
    restart_unretained,
    restore_state,
    send_forged_states,
)
from agent.kits.simulator.terminal import SimulatedTerminal
from agent.kits.till.terminal_state import GET_STATE_S
from agent.kits.till_conformance.scenarios import Preparation

GET_STATE_WITHIN_S = 5.0  # from the connection of the till to its get_state


@dataclass(frozen=True, slots=True)
class WaitTimes:
    request_s: float = 60.0  # for the till's request; a person may have to press a button
    settle_s: float = 0.5  # for payments and acknowledgements after the last message


class PreparationPlayer:
    """Plays and undoes preparations. For the event loop only.

    ``state_sent``: set by the kit when the till gets a copy of ``state``.
    """

    def __init__(self, terminal: SimulatedTerminal, proxy: TcpProxy, till: str) -> None:
        self._terminal, self._proxy, self._till = terminal, proxy, till
        self.state_sent = asyncio.Event()

    async def play(self, action: Preparation, wait_times: WaitTimes) -> bool:
        """Play the preparation of a scenario. False: the till sent no get_state after its connection."""
        match action:
            case Preparation.FORGED_STATE:
                await send_forged_states(self._terminal, self._till)
            case Preparation.NO_RETAINED:
                return await self._without_retained(wait_times, GET_STATE_WITHIN_S)
            case Preparation.LOST_COPY:
                return await self._without_retained(
                    wait_times, GET_STATE_WITHIN_S + GET_STATE_S, copies_to_lose=1
                )
            case Preparation.RESTART:
                await self._terminal.restart()
                await self._terminal.wait_for_connection()
                await restore_state(self._terminal)  # before the command to send a request
            case Preparation.NOTHING:
                pass
            case _:
                assert_never(action)
        return True

    async def undo(self, action: Preparation) -> None:
        if action is not Preparation.NOTHING:
            await restore_state(self._terminal)

    async def _without_retained(
        self, wait_times: WaitTimes, within_s: float, copies_to_lose: int = 0
    ) -> bool:
        """Restart the terminal while the link of the till is cut; wait until its get_state is answered.

        True also for a till that does not connect again: no rule is broken, and no request arrives.
        """
        self._proxy.refuse_connections = True
        self._proxy.cut()
        await restart_unretained(self._terminal)
        lose_copies(self._terminal.till.state, copies_to_lose)
        before = self._proxy.connections
        self.state_sent.clear()
        self._proxy.refuse_connections = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_times.request_s):
                await self._proxy.wait_for_connection(before)
        if self._proxy.connections == before:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s + wait_times.settle_s):
                await self.state_sent.wait()
        return self.state_sent.is_set()
