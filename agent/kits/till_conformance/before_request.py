"""The actions of the kit before a request: forged states, and a broker that retains no ``state``."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import assert_never

from agent.kits.simulator.proxy import TcpProxy
from agent.kits.simulator.state_acts import lose_copies, restart_unretained, restore_state, send_forged_states
from agent.kits.simulator.terminal import SimulatedTerminal
from agent.kits.till.terminal_state import GET_STATE_S
from agent.kits.till_conformance.scenarios import Before

ASKED_S = 5.0  # from the connection of the till to its get_state


@dataclass(frozen=True, slots=True)
class WaitTimes:
    request_s: float = 60.0  # for the till's request; a person may have to press a button
    settle_s: float = 0.5  # for payments and acknowledgements after the last message


class BeforeRequest:
    """For the event loop only. ``state_sent``: set by the kit when the till gets a copy of ``state``."""

    def __init__(self, terminal: SimulatedTerminal, proxy: TcpProxy, till: str) -> None:
        self._terminal, self._proxy, self._till = terminal, proxy, till
        self.state_sent = asyncio.Event()

    async def play(self, action: Before, patience: WaitTimes) -> bool:
        """Play the action of a scenario. False: the till sent no ``get_state`` after its connection."""
        match action:
            case Before.FORGED_STATE:
                await send_forged_states(self._terminal, self._till)
            case Before.NO_RETAINED:
                return await self._without_retained(patience, ASKED_S)
            case Before.LOST_COPY:
                return await self._without_retained(patience, ASKED_S + GET_STATE_S, copies_to_lose=1)
            case Before.RESTART:
                await self._terminal.restart()
                await self._terminal.wait_for_connection()
                await restore_state(self._terminal)  # before the request of the till
            case Before.NOTHING:
                pass
            case _:
                assert_never(action)
        return True

    async def undo(self, action: Before) -> None:
        if action is not Before.NOTHING:
            await restore_state(self._terminal)

    async def _without_retained(self, patience: WaitTimes, asked_s: float, copies_to_lose: int = 0) -> bool:
        """Restart the terminal while the link of the till is cut; wait for its get_state that is answered.

        True also for a till that does not connect again: no rule is broken, and no request comes.
        """
        self._proxy.refuse_connections = True
        self._proxy.cut()
        await restart_unretained(self._terminal)
        lose_copies(self._terminal.till.state, copies_to_lose)
        before = self._proxy.connections
        self.state_sent.clear()
        self._proxy.refuse_connections = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience.request_s):
                await self._proxy.wait_for_connection(before)
        if self._proxy.connections == before:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(asked_s + patience.settle_s):
                await self.state_sent.wait()
        return self.state_sent.is_set()
