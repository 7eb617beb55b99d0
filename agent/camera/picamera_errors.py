"""What picamera2 and libcamera raise, in our words: the only place that knows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

from agent.camera.troubles import trouble
from agent.errors import CameraError, Retry

log = logging.getLogger(__name__)

# libcamera's C++ errors arrive as RuntimeError; TimeoutError and PermissionError are OSErrors
FOREIGN: tuple[type[Exception], ...] = (
    RuntimeError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    BufferError,
    MemoryError,
    CancelledError,
)

_SPOKEN = (RuntimeError, OSError, MemoryError, CancelledError)  # how the library says that something is wrong

_FIXES = {  # English, Chinese
    "group": (
        "Let the agent's user into the group video (the package's unit does), then restart the agent.",
        "请将程序的运行用户加入 video 组（安装包自带的服务单元已设置），然后重启程序。",
    ),
    "cable": (
        "Seat the camera's ribbon cable; then `rpicam-hello --list-cameras` must name it.",
        "请重新插好摄像头排线；之后 rpicam-hello --list-cameras 应能列出该摄像头。",
    ),
    "busy": (
        "Another program holds the camera: end it (`sudo fuser -v /dev/media*` names it).",
        "其他程序占用了摄像头：请结束该程序（sudo fuser -v /dev/media* 可查看）。",
    ),
    "memory": (
        "The camera's memory is used up or missing: restart the terminal; /dev/dma_heap must be there.",
        "摄像头内存耗尽或缺失：请重启终端；系统中应有 /dev/dma_heap。",
    ),
    "stalled": (
        "It is started anew by itself; if it comes back, seat the cable or replace the camera.",
        "系统会自动重启摄像头；如再次出现，请重新插好排线或更换摄像头。",
    ),
    "hangs": (
        "Restart the agent; if it stays so, the terminal.",
        "请重启程序；如未恢复，请重启终端。",
    ),
    "picamera2": (
        "pip install 'facepay-agent[terminal]' on the aarch64 terminal; then restart the agent.",
        "请在 aarch64 终端上执行 pip install 'facepay-agent[terminal]'，然后重启程序。",
    ),
    "libcamera": (
        "sudo apt-get install python3-libcamera; a venv needs the system's Python, --system-site-packages.",
        "请执行 sudo apt-get install python3-libcamera；虚拟环境须用系统 Python 和 --system-site-packages。",
    ),
    "library": (
        "Install what picamera2 needs and this names, then restart the agent.",
        "请安装上述 picamera2 所需的库，然后重启程序。",
    ),
    "source": (
        "Set camera.source to one of them, or leave it empty for the first.",
        "请将 camera.source 设为其中之一，或留空使用第一个。",
    ),
}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises what happens inside as ``CameraError``; ours pass as they are, and so do bugs of other kinds."""
    try:
        yield
    except ImportError as error:
        raise not_installed(error) from error
    except FOREIGN as error:
        if not isinstance(error, _SPOKEN):
            log.warning("picamera2_failed", exc_info=error)  # theirs or ours: where, the traceback tells
        raise from_foreign(error, doing) from error


def from_foreign(error: Exception, doing: str) -> CameraError:
    """One sentence and one fix for what picamera2 raised. Each may heal, so each is worth another try."""
    words = _words(error)
    said, low = f"the camera, while {doing}: {words}", words.lower()
    if isinstance(error, TimeoutError):
        return stalled(said)
    if any(isinstance(one, PermissionError) for one in _chain(error)) or "permission denied" in low:
        return _trouble("camera_denied", said, "group")
    if "busy" in low or "in use" in low:
        return _trouble("camera_busy", said, "busy")
    if "no camera" in low or "camera(s) not found" in low:
        return absent(said)
    if "dmaheap" in low or "allocat" in low or isinstance(error, MemoryError):
        return _trouble("camera_unavailable", said, "memory")
    return _trouble("camera_unavailable", said, "cable")


def not_installed(error: ImportError) -> CameraError:
    """Nothing heals that but an installation, so nobody tries again."""
    name = (error.name or "").split(".")[0]
    fix = name if name in ("picamera2", "libcamera") else "library"
    return _trouble("camera_absent", f"camera.kind = 'picamera2': {error}", fix, Retry.NEVER)


def absent(said: str, fix: str = "cable", devices: Path = Path("/dev")) -> CameraError:
    """libcamera lists no camera; it lists none either when it may not open the devices."""
    nodes = sorted(devices.glob("media*"))
    if nodes and not any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        return _trouble("camera_denied", f"{said}; {nodes[0]} may not be opened by this user", "group")
    return _trouble("camera_absent", said, fix)


def stalled(said: str) -> CameraError:
    return _trouble("camera_stalled", said, "stalled")


def hangs() -> CameraError:
    return _trouble("camera_stalled", "the camera driver hangs", "hangs")


def _trouble(code: str, said: str, fix: str, retry: Retry = Retry.BACKOFF) -> CameraError:
    """``fix``: a key of the table above."""
    english, chinese = _FIXES[fix]
    error = trouble(code, said, fix=english, fix_zh=chinese)
    error.retry = retry
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from: picamera2 says "did not complete" and hides why one level below."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _words(error: Exception) -> str:
    return " < ".join(f"{type(one).__name__}: {one}"[:200] for one in _chain(error))
