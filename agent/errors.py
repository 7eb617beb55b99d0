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

from agent.fixes import FIXES


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
        code: stable identifier, ``[a-z_]+``; the same word in logs, MQTT and the command line.
        fix: one sentence for the operator, what to do about it. May be empty.
        fix_zh: the same in Chinese; given wherever a particular ``fix`` is (a test reads every call).
        retry: advice for the caller.
    """

    code: str = "internal_error"
    fix: str = ""
    fix_zh: str = ""
    retry: Retry = Retry.NEVER
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fix: str | None = None,
        fix_zh: str = "",
        retry: Retry | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if fix is not None:
            self.fix, self.fix_zh = fix, fix_zh
        elif code in FIXES:
            self.fix, self.fix_zh = FIXES[code]
        if retry is not None:
            self.retry = retry


class ConfigError(AgentError):
    """A config file that cannot be used. The message names file, key and line."""

    code = "config_invalid"
    fix = "Correct the named key in the config file; config/agent.toml explains each key."
    fix_zh = "请修正配置文件中提示的键；config/agent.toml 说明了每个键。"
    exit_code = 78  # EX_CONFIG, so that systemd and scripts can tell


class CameraError(AgentError):
    """No (fresh) frames."""

    code = "camera_unavailable"
    fix = "Check the camera cable, and that no other program uses the camera."
    fix_zh = "请检查摄像头连线，并确认没有其他程序占用摄像头。"
    bounded_until_ms: int = 0  # boot clock: a recovery is under way that has come to an end by then


class CameraHung(CameraError):
    """Only a new process can mend it: this one ends, for systemd to start another."""

    code = "camera_stalled"
    fix = "It is started anew by systemd; if it comes back, power-cycle the terminal and check the cable."
    fix_zh = "systemd 会重新启动程序；如再次出现，请断电重启终端并检查摄像头连线。"
    exit_code = 74  # EX_IOERR


class CameraReserved(CameraError):
    """A technician asked for a picture while one belongs to a payer: nobody looks over his shoulder."""

    code = "camera_in_use_by_verification"
    fix = "Wait some seconds, until the customer is served, then ask again."
    fix_zh = "请等待几秒，待顾客完成验证后重试。"
    retry = Retry.BACKOFF


class ModelError(AgentError):
    """A model file that is missing, changed, or does not run."""

    code = "model_unusable"
    fix = "Reinstall the package, or correct the model path in the config."
    fix_zh = "请重新安装软件包，或修正配置中的模型路径。"


class ImageError(AgentError):
    """Bytes that are no usable picture."""

    code = "image_undecodable"
    fix = "Use a JPEG, PNG or BMP photo of one face, long side at most 4000 px."
    fix_zh = "请使用只有一张人脸的 JPEG、PNG 或 BMP 照片，长边不超过 4000 像素。"


class LivenessError(AgentError):
    """A shot that must not be sent: nothing was asked, nothing is paid."""

    code = "liveness_failed"
    fix = "Use another way to pay."
    fix_zh = "请改用其他方式付款。"


class CompareError(AgentError):
    """The compare API did not give a usable answer. ``api_code`` is its own code when it sent one."""

    code = "compare_failed"
    fix = "Face payment has a problem at the provider. Take card or cash."
    fix_zh = "服务商的刷脸支付出现问题，请使用刷卡或现金。"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fix: str | None = None,
        retry: Retry | None = None,
        api_code: int | None = None,
        session_id: str = "",
        fix_zh: str = "",
    ) -> None:
        super().__init__(message, code=code, fix=fix, fix_zh=fix_zh, retry=retry)
        self.api_code = api_code
        self.session_id = session_id


class CompareUnreachable(CompareError):
    """No answer at all: refused, reset, name not found, or silent beyond the time-out."""

    code = "compare_unreachable"
    fix = "Face payment is offline. Take card or cash; check the network cable."
    fix_zh = "刷脸支付离线，请使用刷卡或现金，并检查网线。"
    retry = Retry.SAME


class CompareSlow(CompareUnreachable):
    """The request was sent and no whole answer came in time. The call may have been paid for."""

    fix = "The compare API takes too long to answer. Take card or cash; ask the provider about its speed."
    fix_zh = "比对服务应答过慢，请使用刷卡或现金，并向服务商询问其响应速度。"


class TillError(AgentError):
    """The MQTT side: broker away, publish refused, payload that cannot be used."""

    code = "link_down"
    fix = "Check the broker's address under [mqtt] in the config, and the network."
    fix_zh = "请检查配置文件 [mqtt] 中的服务器地址和网络。"


class StorageError(AgentError):
    """The outbox cannot be written. No durable claim, no paid call."""

    code = "storage_unavailable"
    fix = "Check free space and permissions of the state directory."
    fix_zh = "请检查磁盘空间和状态目录的权限。"


class FleetError(AgentError):
    """A bundle or an enrolment that is not taken. Made by ``fleet.refusals.refusal``, which has the words."""

    code = "bundle_refused"
    fix = "Nothing was changed; ask the operator for a bundle or token that fits this terminal."
    fix_zh = "未作任何修改；请向运营方索取适用于本终端的配置包或令牌。"


class StatusError(AgentError):
    """The running agent could not be asked how it is."""

    code = "agent_hung"
    fix = "Restart it: systemctl restart facepay-agent. Keep `journalctl -u facepay-agent` for support."
    fix_zh = "请重启：systemctl restart facepay-agent，并保留 journalctl -u facepay-agent 的日志。"
    exit_code = 4  # as of an init script: its state is not known


class AgentAway(StatusError):
    """No agent runs here: whoever wants the camera or the broker connection may have them."""

    code = "status_socket_missing"
    fix = "Start it: systemctl start facepay-agent. If it runs, name its config with --config."
    fix_zh = "请启动：systemctl start facepay-agent。如已在运行，请用 --config 指定其配置文件。"
    exit_code = 3  # as of an init script: not running
