"""Detects a fault behind several verifications in a row that no other condition explains.

Pure: the time is an argument.
"""

from collections import Counter

from agent.core.model import Result
from agent.core.reasons import Reason
from agent.health.condition import FORGET_MS, Condition
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
    Reason.REFERENCE_UNUSABLE: PHOTOS_FAILING,  # of different photos only: one payer repeats the same photo
    Reason.INTERNAL_ERROR: VERIFICATIONS_FAILING,
    Reason.TIMED_OUT: VERIFICATIONS_FAILING,
    Reason.ASSURANCE_UNMET: VERIFICATIONS_FAILING,  # the camera is too slow for the liveness challenge
}
# A payer also cancels because the terminal is slow, and its frames can come too late for the camera's limit.
_NEUTRAL = frozenset({Reason.CANCELLED, Reason.INTERRUPTED, Reason.CAMERA_UNAVAILABLE, Reason.CAMERA_FROZEN})
RESULT_CONDITIONS = (COMPARE_FAILING, PHOTOS_FAILING, VERIFICATIONS_FAILING)


class ResultMeter:
    """Counts the faults in a row, separately for each condition.

    The small check of the API can succeed while each call with two pictures fails, and it then clears the
    condition of the call. Some reasons have no condition at all. A single failure can end by itself, so a
    fault needs ``VERIFICATIONS_MIN`` results. A comparison proves the contrary of each fault, except that a
    photo inside the request shows nothing about the hosts of photos for ``FORGET_MS``. A fault of the
    terminal itself (``VERIFICATIONS_FAILING``) also ends with a result that shows another reason, or after
    ``FORGET_MS``.
    """

    def __init__(self) -> None:
        self._in_a_row = Counter[Condition]()
        self._details = dict[Condition, str]()
        self._newest_ms = dict[Condition, int]()
        self._unusable_photos = set[str | None]()  # sha256
        self._has_failed_download = False

    def add(self, result: Result, now_ms: int, *, explained: bool = False, few_frames: str = "") -> None:
        """Add one result.

        Args:
            explained: its reason has another cause, so the result does not count.
            few_frames: their number and time, when the terminal was too slow to analyze more; else empty.
                A slow terminal ends verifications with changing reasons, so each of them is a fault.
        """
        condition = VERIFICATIONS_FAILING if few_frames else _FAULTS.get(result.reason)
        if result.comparison is not None:
            self._forget(PHOTOS_FAILING, now_ms)
            shows_photos = result.request.reference.url is not None or not self._has_failed_download
            kept = 0 if shows_photos else self._in_a_row[PHOTOS_FAILING]
            self._has_failed_download = self._has_failed_download and kept > 0
            self._in_a_row = Counter({PHOTOS_FAILING: kept})
            self._unusable_photos.clear()
            return
        if result.reason in _NEUTRAL:
            return
        if condition is not VERIFICATIONS_FAILING:
            self._in_a_row.pop(VERIFICATIONS_FAILING, None)
        if condition is PHOTOS_FAILING and not self._is_other_photo(result):
            return
        if condition is not None and not explained:
            code = "" if result.api_code is None else f"API code {result.api_code}"
            self._count(condition, ", ".join(filter(None, (result.reason, code, few_frames))), now_ms)

    def _is_other_photo(self, result: Result) -> bool:
        """Whether this fault of a photo counts: an unusable photo counts once."""
        reference = result.request.reference
        if result.reason is not Reason.REFERENCE_UNUSABLE:
            self._has_failed_download = True
            return True
        is_known = reference.sha256 in self._unusable_photos
        if len(self._unusable_photos) < VERIFICATIONS_MIN:
            self._unusable_photos.add(reference.sha256)
        return not is_known

    def add_bug(self, code: str, now_ms: int) -> None:
        """Add a request that a bug of the agent ended. ``code``: of the refusal."""
        self._count(VERIFICATIONS_FAILING, code, now_ms)

    def faults(self, now_ms: int) -> dict[Condition, str]:
        """The present faults, each with the reason and API code of its newest result."""
        self._forget(VERIFICATIONS_FAILING, now_ms)
        present = (condition for condition, count in self._in_a_row.items() if count >= VERIFICATIONS_MIN)
        return {condition: self._details[condition] for condition in present}

    def _count(self, condition: Condition, detail: str, now_ms: int) -> None:
        if condition is VERIFICATIONS_FAILING:
            self._forget(condition, now_ms)
        self._newest_ms[condition] = now_ms
        self._in_a_row[condition] += 1
        self._details[condition] = detail

    def _forget(self, condition: Condition, now_ms: int) -> None:
        if now_ms - self._newest_ms.get(condition, now_ms) >= FORGET_MS:
            self._in_a_row.pop(condition, None)
