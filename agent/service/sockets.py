"""The listening socket: bound here, or inherited from systemd, so that a restart refuses no connection.

systemd keeps a copy of the socket while the service restarts (``FileDescriptorStoreMax=1``). Connections wait
in its backlog, and the next process accepts them. A socket unit is served in the same way.
"""

import array
import os
import socket

from agent import http_listener
from agent.errors import ConfigError, reason_of
from agent.health.notify import notify
from agent.texts import Text

_FIRST_FD = 3  # sd_listen_fds(3)
_FDS_MAX = 16
_NAME = "compare"


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: no client can connect before the models are loaded.

    Raises ``ConfigError`` when the address is in use or not an address of this machine.
    """
    try:
        return http_listener.bind(host, port)
    except OSError as error:
        why = Text("detail.not_listening", host=host, port=port, reason=reason_of(error))
        raise ConfigError(why, code="address_unusable") from error


def inherited(host: str, port: int) -> socket.socket | None:
    """The listening socket that systemd passes for this address; None without one.

    Sockets of another address (the config has changed) are closed, also in the store of systemd.
    """
    count = os.environ.pop("LISTEN_FDS", "")
    pid = os.environ.pop("LISTEN_PID", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return None
    listening = None
    for fd in range(_FIRST_FD, _FIRST_FD + min(int(count), _FDS_MAX)):
        listener = socket.socket(fileno=fd)  # family and protocol from the kernel
        if listening is None and _listens_on(listener, host, port):
            listener.set_inheritable(False)
            listening = listener
        else:
            listener.close()
    if listening is None:
        notify("FDSTOREREMOVE=1", f"FDNAME={_NAME}")
    return listening


def store_in_supervisor(listener: socket.socket) -> bool:
    """Give systemd a copy of the socket. False without a supervisor."""
    return notify(
        "FDSTORE=1",
        f"FDNAME={_NAME}",
        ancillary=[(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener.fileno()]).tobytes())],
    )


def _listens_on(listener: socket.socket, host: str, port: int) -> bool:
    try:
        is_listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        wanted = {row[4][:2] for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        return bool(is_listening) and listener.getsockname()[:2] in wanted
    except OSError:  # not a socket of the internet, or a host name without an address
        return False
