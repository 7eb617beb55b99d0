"""Notification of systemd (sd_notify(3)): one datagram, or nothing outside systemd."""

import os
import socket
from collections.abc import Sequence

_USEC_INFINITY = 2**64 - 1
_SEND_S = 1.0  # a supervisor that does not read must not block the event loop


def notify(*lines: str, ancillary: Sequence[tuple[int, int, bytes]] = ()) -> bool:
    """Send e.g. ``READY=1`` or ``STATUS=…``. False without a supervisor that receives.

    Args:
        ancillary: as for ``socket.sendmsg``, for a file descriptor.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # abstract namespace
    try:  # a failure: no free file descriptor, or the supervisor restarts; the next call sends again
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagram:
            datagram.settimeout(_SEND_S)
            datagram.connect(address)
            datagram.sendmsg(["\n".join(lines).encode()], ancillary)
    except OSError:
        return False
    return True


def is_supervised() -> bool:
    """Whether a supervisor started this process and will restart it."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def watchdog_period_s() -> float | None:
    """Half of WatchdogSec, the recommended period; None without a watchdog for this process.

    As sd_watchdog_enabled(3): text, 0 and the largest number mean no watchdog.
    """
    period_us = _number(os.environ.get("WATCHDOG_USEC", ""))
    owner = os.environ.get("WATCHDOG_PID")
    if not 0 < period_us < _USEC_INFINITY or (owner and _number(owner) != os.getpid()):
        return None
    return period_us / 2e6


def _number(text: str) -> int:
    """The number, or 0 for other text."""
    return int(text) if text.isascii() and text.isdigit() else 0
