"""A remote diagnosis in the running agent: a desk for operators, a thread for the doctor. Part of the root.

The doctor's modules are loaded in that thread, too: on a Pi they take longer than payers should wait.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.control.status import document
from agent.messages.keyring import OPERATORS, Keyring
from agent.root.reload import Source
from agent.root.wiring import BootClock
from agent.till.remote_diagnosis import RemoteDiagnosis

if TYPE_CHECKING:
    from agent.root.handle import AgentHandle
    from agent.tasks import Background


def make_diag(running: AgentHandle, clock: BootClock, source: Source, background: Background) -> None:
    """Open the desk that answers operators; it receives from the till what arrives on their topics."""
    directory = running.reload.config.storage.directory
    doctor = RemoteDoctor(running, clock, source.path)
    desk = RemoteDiagnosis(
        running.till,
        Keyring(directory, OPERATORS),
        clock,
        doctor.examine,
        lambda: running.terminal.slot.is_taken,
        background,
    )
    background.add(desk.run())


class RemoteDoctor:
    """Examines the terminal it runs on. One examination at a time, which its caller sees to."""

    def __init__(self, running: AgentHandle, clock: BootClock, path: Path | None) -> None:
        self._running = running
        self._clock = clock
        self._path = path

    async def examine(self, only: tuple[str, ...]) -> dict[str, Any]:
        """What ``remote_doctor.examined`` says. Raises ``AgentError`` (``check_unknown``)."""
        config = self._running.reload.config
        status = document(config, self._running.now(self._clock))  # here, on the loop that owns the numbers
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Any]] = loop.create_future()

        def work() -> None:
            try:
                from agent.root.remote_doctor import examined

                said, error = examined(only, config, self._path, status), None
            except Exception as caught:  # whatever it is: whoever asked must not wait for ever
                said, error = {}, caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(_give, answer, said, error)

        threading.Thread(target=work, name="remote-doctor", daemon=True).start()
        return await answer


def _give(answer: asyncio.Future[dict[str, Any]], said: dict[str, Any], error: Exception | None) -> None:
    if answer.done():  # nobody waits any more
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(said)
