"""Detects a fault behind several verifications in a row that no other condition explains. Pure: no clock."""

from collections import Counter

from agent.core.model import Result
from agent.core.reasons import Reason
from agent.health.condition import Condition
from agent.health.conditions_board import VERIFICATIONS_FAILING
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
    Reason.INTERNAL_ERROR: VERIFICATIONS_FAILING,
    Reason.TIMED_OUT: VERIFICATIONS_FAILING,
}
RESULT_CONDITIONS = (COMPARE_FAILING, PHOTOS_FAILING, VERIFICATIONS_FAILING)


class ResultMeter:
    """Counts the results in a row with a reason of ``_FAULTS``, separately for each condition.

    The small check of the API can succeed while each call with two pictures fails, and it then clears the
    condition of the call. Some reasons have no condition at all. A single failure can end by itself, so a
    fault needs ``VERIFICATIONS_MIN`` results. Only a comparison proves the contrary.
    """

    def __init__(self) -> None:
        self._in_a_row = Counter[Condition]()
        self._details = dict[Condition, str]()

    def add(self, result: Result, *, explained: bool = False) -> dict[Condition, str]:
        """Add one result. Returns the present faults, each with the reason and API code of its newest result.

        ``explained``: a condition of the API was active when the result ended; the result does not count. A
        result with another reason, e.g. without a face, changes nothing.
        """
        condition = _FAULTS.get(result.reason)
        if result.comparison is not None:
            self._in_a_row.clear()
        elif condition is not None and not explained:
            self._in_a_row[condition] += 1
            code = "" if result.api_code is None else f", API code {result.api_code}"
            self._details[condition] = f"{result.reason}{code}"
        present = (each for each, count in self._in_a_row.items() if count >= VERIFICATIONS_MIN)
        return {each: self._details[each] for each in present}
