"""The codes of a refused config bundle or enrolment: a closed set; each code has a text ``fix.<code>``."""

from pathlib import Path
from typing import Literal

from agent.errors import FleetError, failure_at
from agent.texts import Text

BundleFault = Literal["bundle_unreadable", "bundle_malformed", "bundle_untrusted"]
BundleUnfit = Literal["bundle_old", "bundle_other_ring", "bundle_not_for_us", "bundle_unfit"]
RollbackCode = Literal["bundle_rolled_back", "rollback_failed", "rollback_impossible"]
RolloutCode = Literal["rollout_busy", "rollout_record_damaged", "rollout_unwritable"]
EnrolmentFault = Literal["enrolment_unreachable", "enrolment_refused", "enrolment_failed", "enrolment_unfit"]
EnrolmentCode = Literal["enrolment_insecure", "enrolment_incomplete", "enrolment_key_unusable"]
FileCode = Literal[
    "enrolment_unwritable", "operator_key_unsafe", "operator_keys_full", "operator_key_missing"
]
FleetCode = Literal[
    BundleFault, BundleUnfit, RollbackCode, RolloutCode, EnrolmentFault, EnrolmentCode, FileCode
]


def refusal(code: FleetCode, detail: str | Text) -> FleetError:
    """The error for one code. ``detail``: a ``Text``, or the detail of another error."""
    return FleetError(detail, code=code)


def too_long(limit_bytes: int) -> Text:
    return Text("detail.file_too_long", limit_bytes=limit_bytes)


def read_bounded(path: Path, limit_bytes: int, code: FleetCode) -> bytes:
    """The content, at most ``limit_bytes``. Raises ``FleetError`` with ``code``: unreadable or too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise refusal(code, failure_at(path, error)) from error
    if len(raw) > limit_bytes:
        raise refusal(code, Text("detail.at", place=path, reason=too_long(limit_bytes)))
    return raw
