"""The codes of a refused config bundle or enrolment: a closed set; each code has a text ``fix.<code>``."""

from pathlib import Path
from typing import Literal

from agent.errors import FleetError

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


def refusal(code: FleetCode, message: str) -> FleetError:
    """The error for one code."""
    return FleetError(message, code=code)


def read_bounded(path: Path, limit_bytes: int, code: FleetCode) -> bytes:
    """The content, at most ``limit_bytes``. Raises ``FleetError`` with ``code``: unreadable or too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise refusal(code, f"{path}: {error.strerror}") from error
    if len(raw) > limit_bytes:
        raise refusal(code, f"{path}: more than {limit_bytes} bytes")
    return raw
