"""The doctor as a background job of the page: on request, one at a time, with a pause between two runs."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent.tasks import in_thread

log = logging.getLogger(__name__)

FRESH_S = 10.0
Rows = Sequence[Mapping[str, Any]]  # the most urgent first: the page keeps the order


class DoctorJob:
    """Runs the doctor and keeps the last report.

    ``run_doctor`` blocks for seconds, in a daemon thread: the agent's shutdown does not wait for the thread.
    """

    def __init__(self, run_doctor: Callable[[], Rows]) -> None:
        self._run_doctor = run_doctor
        self._running = False
        self._rows: Rows | None = None
        self._ended_s = 0.0

    def start(self) -> bool:
        """Start a run. False while a run is active or the last report is younger than ``FRESH_S``."""
        age_s = asyncio.get_running_loop().time() - self._ended_s
        if self._running or (self._rows is not None and age_s < FRESH_S):
            return False
        self._running = True
        asyncio.wrap_future(in_thread("doctor", self._run_doctor)).add_done_callback(self._ended)
        return True

    def document(self) -> dict[str, Any]:
        """The JSON document: ``rows`` (None before the first report) and ``age_s``, the age of ``rows``."""
        age_s = round(asyncio.get_running_loop().time() - self._ended_s)
        return {"running": self._running, "rows": self._rows, "age_s": None if self._rows is None else age_s}

    def _ended(self, done: asyncio.Future[Rows]) -> None:
        self._running = False
        self._ended_s = asyncio.get_running_loop().time()
        self._rows = None
        try:
            self._rows = done.result()
        except Exception:
            log.exception("doctor_internal_error")
