"""Detects a fault behind several verifications in a row that no other condition explains. Pure: no clock."""

from agent.core.model import Result
from agent.core.reasons import Reason
from agent.health.condition import Condition
from agent.health.conditions_compare import COMPARE_FAILING, PHOTOS_FAILING

VERIFICATIONS_MIN = 3
_FAULTS = {
    Reason.COMPARE_ACCOUNT: COMPARE_FAILING,
    Reason.COMPARE_CREDENTIALS: COMPARE_FAILING,
    Reason.COMPARE_CONFIG: COMPARE_FAILING,
    Reason.CLOCK: COMPARE_FAILING,
    Reason.COMPARE_UNREACHABLE: COMPARE_FAILING,
    Reason.COMPARE_BUSY: COMPARE_FAILING,
    Reason.COMPARE_FAILED: COMPARE_FAILING,
    Reason.COMPARE_MALFORMED: COMPARE_FAILING,
    Reason.COMPARE_UNKNOWN_CODE: COMPARE_FAILING,
    Reason.REFERENCE_UNREACHABLE: PHOTOS_FAILING,
    Reason.REFERENCE_REFUSED: PHOTOS_FAILING,
}


class ResultMeter:
    """Counts the results in a row with a reason of ``_FAULTS``, separately for the API and the photos.

    The small check of the API can succeed while each call with two pictures fails, and it then clears the
    condition of the call. Some reasons have no condition at all. A single failure can end by itself, so the
    fault needs ``VERIFICATIONS_MIN`` results. Only a comparison proves the contrary.

    Attributes:
        detail: reason and API code of the newest result that counted; empty before the first.
    """

    def __init__(self) -> None:
        self.detail = ""
        self._condition: Condition | None = None
        self._in_a_row = 0

    def add(self, result: Result, *, explained: bool = False) -> Condition | None:
        """Add one result. Returns the present fault; None: no known fault.

        ``explained``: a condition of the API was active when the result ended; the result does not count. A
        result with another reason, e.g. without a face, changes nothing.
        """
        condition = _FAULTS.get(result.reason)
        if result.comparison is not None:
            self._condition, self._in_a_row = None, 0
        elif condition is not None and not explained:
            self._in_a_row = self._in_a_row + 1 if condition is self._condition else 1
            self._condition = condition
            code = "" if result.api_code is None else f", API code {result.api_code}"
            self.detail = f"{result.reason}{code}"
        return self._condition if self._in_a_row >= VERIFICATIONS_MIN else None
