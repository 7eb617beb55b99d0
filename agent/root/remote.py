"""Remote diagnosis in the running agent: requests of operators and a doctor thread. Part of the root.

The thread also loads the doctor's modules: on a Pi the import is too long for the event loop.
"""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

from agent.control.status import status_document
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
    operators = Keyring(handle.reload.config.storage.directory, OPERATORS)
    run_doctor = partial(diagnose, handle, clock, source.path)
    diagnosis = RemoteDiagnosis(
        handle.till,
        operators,
        clock,
        run_doctor,
        lambda: handle.terminal.open_verification.is_open,
        background,
    )
    background.keep(diagnosis.run)


async def diagnose(
    handle: AgentHandle, clock: BootClock, path: Path | None, only: tuple[str, ...]
) -> dict[str, Any]:
    """Run ``remote_doctor.diagnose``, one at a time. Raises ``AgentError`` (``check_unknown``)."""
    config = handle.reload.config
    status = status_document(config, handle.now(clock))  # on the loop that owns the numbers

    def work() -> dict[str, Any]:
        from agent.root import remote_doctor

        return remote_doctor.diagnose(only, config, path, status)

    return await asyncio.wrap_future(in_thread("remote-doctor", work))
