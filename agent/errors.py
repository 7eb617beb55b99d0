"""The tree of errors. Each error has a message, a code, a fix and retry advice.

::

    AgentError
    ├── ConfigError        file, key, line; exit 78
    ├── CameraError        camera_unavailable, camera_stalled, camera_busy, camera_absent, camera_denied
    │   ├── CameraHung     ends the process, systemd starts a new one; exit 74
    │   └── CameraReserved camera_in_use_by_verification
    ├── ModelError         model_missing, model_checksum, model_unusable
    ├── ImageError         image_undecodable, image_too_large …; LivenessError: liveness_failed
    ├── CompareError       compare_unreachable, compare_busy, compare_failed, compare_malformed …
    │   └── CompareUnreachable
    │       └── CompareSlow    the condition compare_slow
    ├── TillError          link_down, publish_cut, publish_refused, packet_too_large, terminal_key_wrong …
    ├── StorageError       storage_unavailable; OutboxDamaged (outbox/database.py) ends the process: exit 74
    ├── AgentRunsAlready   agent_runs_already; exit 75 (control/agent_lock.py)
    ├── FleetError         bundle_*, enrolment_* (the codes: fleet/fleet_errors.py)
    ├── CheckUnknown       check_unknown; exit 2, as for an unknown option
    └── StatusError        agent_hung, agent_starting, status_denied, status_malformed …; exit 4
        └── AgentNotRunning   status_socket_missing, agent_not_running; exit 3

A class exists only where a caller handles it differently; a new *code* needs no new class.
"""

import errno
from enum import StrEnum
from typing import ClassVar

from agent.texts import Text, has


class Retry(StrEnum):
    """The next step that is allowed. The values are those of the API's code table."""

    NEVER = "never"
    SAME = "same_image"  # call again with the same shot
    NEW_SHOT = "new_image"  # call again, but only with another shot
    BACKOFF = "backoff"  # call again with the same shot, after a growing pause
    RESIGN = "resign"  # sign again with a corrected clock, once


class AgentError(Exception):
    """Base of the errors that this package raises intentionally.

    Attributes:
        detail: what failed, where and why, in every language; a ``str`` only from another program.
        code: stable identifier, ``[a-z_]+``; the same in logs, MQTT and the command line.
        fix: the instruction for the operator; by default that of the code, else that of the class.
        retry: advice for the caller.
    """

    code: str = "internal_error"
    retry: Retry = Retry.NEVER
    exit_code: ClassVar[int] = 1
    fix_code: ClassVar[str] = ""  # for a class that shares its code and not its fix

    def __init__(
        self,
        message: str | Text,
        *,
        code: str | None = None,
        fix: Text | None = None,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(message)
        self.detail = message
        if code is not None:
            self.code = code
        self._fix = fix
        if retry is not None:
            self.retry = retry

    @property
    def sentence(self) -> Text:
        """``code: detail``, the first line of a report to an operator."""
        return Text("detail.at", place=self.code, reason=self.detail)

    @property
    def fix(self) -> Text:
        if self._fix is not None:
            return self._fix
        code = self.fix_code or self.code
        keys = (f"fix.{code}", f"condition.{code}.fix", f"fix.{type(self).code}")
        return Text(next(filter(has, keys), keys[-1]))


class WrongValueError(ValueError):
    """A value that cannot be used, e.g. in a config. ``text``: why, in every language."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        self.text = text


def reason_of(error: Exception) -> str | Text:
    """Why an exception was raised, in every language where the message files have it.

    That is: the errors of this module, and the usual errors of the kernel, of the resolver, of SQLite and of
    OpenSSL. Other libraries' messages are quoted; without a message, the name of the class.
    """
    match error:
        case AgentError():
            return error.detail
        case WrongValueError():
            return error.text
        case OSError(__cause__=WrongValueError() as cause):  # of ``safe_open``
            return cause.text
    key = next(filter(has, _keys_of(error)), "")
    if key:
        return Text(key)
    quoted = (str(getattr(error, name, None) or "") for name in ("verify_message", "reason", "strerror"))
    return next(filter(None, quoted), str(error)) or type(error).__name__


def failure_at(place: object, error: Exception) -> Text:
    """``place: reason``, e.g. for the path of a file."""
    return Text("detail.at", place=place, reason=reason_of(error))


def _keys_of(error: Exception) -> tuple[str, ...]:
    """The keys of a library's error, by its own number or name; each may be missing in the message files."""
    number = getattr(error, "errno", None)
    if type(error).__module__ == "ssl" or not isinstance(number, int):  # OpenSSL has other numbers
        number = 0
    name = errno.errorcode.get(number, "")
    return (
        f"x509.{getattr(error, 'verify_code', '')}",
        f"openssl.{getattr(error, 'reason', '')}",
        f"sqlite.{getattr(error, 'sqlite_errorname', '')}",
        f"{'resolver' if type(error).__name__ == 'gaierror' else 'errno'}.{name or number}",
    )


class ConfigError(AgentError):
    """A config file that cannot be used. The message names file, key and line."""

    code = "config_invalid"
    exit_code = 78  # EX_CONFIG of sysexits.h, for systemd and scripts


class CameraError(AgentError):
    """No frames, or no fresh frames."""

    code = "camera_unavailable"
    bounded_until_ms: int = 0  # boot clock: the running recovery has ended by then; 0: none is running


class CameraHung(CameraError):
    """The camera recovers only in a new process: this process ends and systemd starts another."""

    code = "camera_stalled"
    exit_code = 74  # EX_IOERR


class CameraReserved(CameraError):
    """A technician's request for a picture during a verification. The frames of a payer are never shown."""

    code = "camera_in_use_by_verification"
    retry = Retry.BACKOFF


class ModelError(AgentError):
    """A model file that is missing, changed or unusable."""

    code = "model_unusable"


class ImageError(AgentError):
    """Bytes that are not a usable picture."""

    code = "image_undecodable"


class LivenessError(AgentError):
    """A shot that must not be sent: there was no API call, so nothing is paid."""

    code = "liveness_failed"


class CompareError(AgentError):
    """The compare API gave no usable answer. ``api_code``: the code in the answer; None without one."""

    code = "compare_failed"

    def __init__(
        self,
        message: str | Text,
        *,
        code: str | None = None,
        fix: Text | None = None,
        retry: Retry | None = None,
        api_code: int | None = None,
        session_id: str = "",
    ) -> None:
        super().__init__(message, code=code, fix=fix, retry=retry)
        self.api_code = api_code
        self.session_id = session_id


class CompareUnreachable(CompareError):
    """No answer: connection refused, reset, name not found, or time-out."""

    code = "compare_unreachable"
    retry = Retry.SAME


class CompareSlow(CompareUnreachable):
    """A sent request got no complete answer in time and may be paid; or a call was withheld after that."""

    fix_code = "compare_slow"


class TillError(AgentError):
    """MQTT errors: no broker, publish refused, unusable payload."""

    code = "link_down"


class StorageError(AgentError):
    """The outbox cannot be written. No durable claim, no paid call."""

    code = "storage_unavailable"


class FleetError(AgentError):
    """A config bundle or an enrolment that is refused. ``fleet_errors.refusal`` makes it with its text."""

    code = "bundle_refused"


class CheckUnknown(AgentError):
    """A check of the doctor that does not exist. Exit code 1 would be a warning of the doctor."""

    code = "check_unknown"
    exit_code = 2


class StatusError(AgentError):
    """The status of the running agent is not available."""

    code = "agent_hung"
    exit_code = 4  # LSB init scripts: status unknown


class AgentNotRunning(StatusError):
    """No agent is running: camera and broker connection are free for other programs."""

    code = "status_socket_missing"
    exit_code = 3  # LSB init scripts: not running
