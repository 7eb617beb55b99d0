"""Remote diagnosis in the running agent: requests of operators and a doctor thread. Part of the root.

The thread also loads the doctor's modules: on a Pi the import is too long for the event loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agent.control.status import document
from agent.messages.keyring import OPERATORS, Keyring
from agent.root.handle import AgentHandle
from agent.root.reload import Source
from agent.root.wiring import BootClock
from agent.tasks import Background, in_thread
from agent.till.remote_diagnosis import RemoteDiagnosis


def start_remote_diagnosis(
    handle: AgentHandle, clock: BootClock, source: Source, background: Background
) -> None:
    """Start the job that answers the operators' messages, which the till adapter queues."""
    directory = handle.reload.config.storage.directory
    doctor = RemoteDoctor(handle, clock, source.path)
    diagnosis = RemoteDiagnosis(
        handle.till,
        Keyring(directory, OPERATORS),
        clock,
        doctor.diagnose,
        lambda: handle.terminal.slot.is_taken,
        background,
    )
    background.add(diagnosis.run())


class RemoteDoctor:
    """The doctor of this process. The caller runs one diagnosis at a time."""

    def __init__(self, handle: AgentHandle, clock: BootClock, path: Path | None) -> None:
        self._handle = handle
        self._clock = clock
        self._path = path

    async def diagnose(self, only: tuple[str, ...]) -> dict[str, Any]:
        """The document of ``remote_doctor.diagnose``. Raises ``AgentError`` (``check_unknown``)."""
        config = self._handle.reload.config
        status = document(config, self._handle.now(self._clock))  # on the loop that owns the numbers

        def work() -> dict[str, Any]:
            from agent.root.remote_doctor import diagnose

            return diagnose(only, config, self._path, status)

        return await asyncio.wrap_future(in_thread("remote-doctor", work))
