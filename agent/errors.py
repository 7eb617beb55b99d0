"""One tree of errors. Each class carries what its catcher needs: a code, words, a fix, and retry advice.

::

    AgentError
    ├── ConfigError        file, key, line; exit 78
    ├── CameraError        camera_unavailable, camera_stalled, camera_busy, camera_absent, camera_denied
    │   ├── CameraHung     ends the process, for a new one; exit 74
    │   └── CameraReserved camera_in_use_by_verification
    ├── ModelError         model_missing, model_checksum, model_unusable
    ├── ImageError         image_undecodable, image_too_large …
    ├── LivenessError      liveness_failed
    ├── CompareError       compare_unreachable, compare_busy, compare_failed, compare_malformed …
    │   └── CompareUnreachable
    │       └── CompareSlow    the condition compare_slow
    ├── TillError          link_down, publish_cut, publish_refused, packet_too_large, request refusals
    ├── StorageError       storage_unavailable
    ├── FleetError         bundle_*, enrolment_* (the codes: fleet/refusals.py)
    └── StatusError        agent_hung, status_denied, status_malformed, page_off, page_unavailable; exit 4
        └── AgentAway      status_socket_missing, agent_not_running; exit 3

A class exists only where some caller acts differently; a new *code* needs no new class.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from agent.texts import Text, has


class Retry(StrEnum):
    """What the caller may do next. The words are those of the API's code table."""

    NEVER = "never"
    SAME = "same_image"  # ask again with the same shot
    NEW_SHOT = "new_image"  # ask again, but only with another shot
    BACKOFF = "backoff"  # ask again with the same shot, after a growing pause
    RESIGN = "resign"  # sign again with a corrected clock, once


class AgentError(Exception):
    """Base of everything this package raises on purpose.

    Attributes:
        code: stable identifier, ``[a-z_]+``; the same in logs, MQTT and the command line.
        fix: what the operator can do; by default the text ``fix.<code>``, or that of the class's code.
        retry: advice for the caller.
    """

    code: str = "internal_error"
    retry: Retry = Retry.NEVER
    exit_code: ClassVar[int] = 1
    fix_code: ClassVar[str] = ""  # for a class that shares its code and not its fix

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fix: Text | None = None,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self._fix = fix
        if retry is not None:
            self.retry = retry

    @property
    def fix(self) -> Text:
        if self._fix is not None:
            return self._fix
        code = self.fix_code or self.code
        return Text(f"fix.{code if has(f'fix.{code}') else type(self).code}")


class ConfigError(AgentError):
    """A config file that cannot be used. The message names file, key and line."""

    code = "config_invalid"
    exit_code = 78  # EX_CONFIG, so that systemd and scripts can tell


class CameraError(AgentError):
    """No (fresh) frames."""

    code = "camera_unavailable"
    bounded_until_ms: int = 0  # boot clock: a recovery is under way that has come to an end by then


class CameraHung(CameraError):
    """Only a new process can mend it: this one ends, for systemd to start another."""

    code = "camera_stalled"
    exit_code = 74  # EX_IOERR


class CameraReserved(CameraError):
    """A technician asked for a picture while one belongs to a payer: nobody looks over his shoulder."""

    code = "camera_in_use_by_verification"
    retry = Retry.BACKOFF


class ModelError(AgentError):
    """A model file that is missing, changed, or does not run."""

    code = "model_unusable"


class ImageError(AgentError):
    """Bytes that are no usable picture."""

    code = "image_undecodable"


class LivenessError(AgentError):
    """A shot that must not be sent: nothing was asked, nothing is paid."""

    code = "liveness_failed"


class CompareError(AgentError):
    """The compare API did not give a usable answer. ``api_code`` is its own code when it sent one."""

    code = "compare_failed"

    def __init__(
        self,
        message: str,
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
    """No answer at all: refused, reset, name not found, or silent beyond the time-out."""

    code = "compare_unreachable"
    retry = Retry.SAME


class CompareSlow(CompareUnreachable):
    """The request was sent and no whole answer came in time. The call may have been paid for."""

    fix_code = "compare_slow"


class TillError(AgentError):
    """The MQTT side: broker away, publish refused, payload that cannot be used."""

    code = "link_down"


class StorageError(AgentError):
    """The outbox cannot be written. No durable claim, no paid call."""

    code = "storage_unavailable"


class FleetError(AgentError):
    """A bundle or an enrolment that is not taken. Made by ``fleet.refusals.refusal``, which has the words."""

    code = "bundle_refused"


class StatusError(AgentError):
    """The running agent could not be asked how it is."""

    code = "agent_hung"
    exit_code = 4  # as of an init script: its state is not known


class AgentAway(StatusError):
    """No agent runs here: whoever wants the camera or the broker connection may have them."""

    code = "status_socket_missing"
    exit_code = 3  # as of an init script: not running
