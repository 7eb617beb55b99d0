"""The status socket: one request line, one JSON document in response, close. Local, read-only, bounded.

`status` returns the status document. `lens`, `mounting` and `shot` are camera requests of a technician, see
camera.py; `page` requests a link to the diagnostics page, see page_link.py. All share the permissions and
limits of the socket.

Path: ``status.sock`` in the storage directory. For a storage directory ``/var/lib/NAME`` of systemd: in the
runtime directory ``/run/NAME`` of the unit, which the group of the service can enter. Mode 0660.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.control.agent_lock import AgentPhase, lock_holder
from agent.core.strict_json import json_object
from agent.errors import AgentNotRunning, StatusError, failure_at
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

SCHEMA = "facepay.status/1"
NAME = "status.sock"
STATUS_REQUEST = b"status\n"
REQUEST_MAX_BYTES = 64
ANSWER_MAX_BYTES = 64 * 1024
CLIENTS_MAX = 8  # at a time; a further connection is closed
CLIENT_TIMEOUT_S = 2.0  # for the request, and again for reading the response
FRESH_S = 0.2  # a response is reused this long: many clients cost no more than a few
HANDLER_TIMEOUT_S = 5.0  # for a request that waits for a frame
_STATE, _RUNTIME = Path("/var/lib"), Path("/run")

_WITHOUT_SOCKET = {AgentPhase.STARTING: "agent_starting", AgentPhase.STOPPING: "agent_stopping"}

# Handler of a request that takes time: from the client's user id to the response; never raises.
RequestHandler = Callable[[int], Awaitable[bytes]]


def path_for(storage: Path) -> Path:
    """The socket's path for an agent with this storage directory."""
    if storage.is_relative_to(_STATE):
        runtime = _RUNTIME / storage.relative_to(_STATE)
        if runtime.is_dir():
            return runtime / NAME
    return storage / NAME


class StatusServer:
    """Serves clients in the agent's event loop. No client can block the loop.

    Args:
        document: makes the status document.
        handlers: of the requests besides ``status``, by request line.
    """

    def __init__(
        self,
        path: Path,
        document: Callable[[], Mapping[str, Any]],
        handlers: Mapping[bytes, RequestHandler] | None = None,
    ) -> None:
        self._path = path
        self._handlers = handlers or {}
        self._document = document
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients = 0
        self._made_s = float("-inf")
        self._answer = b""

    async def open(self) -> None:
        """Start listening. A failure is logged and not raised: no payment needs the socket."""
        try:
            self._server = await asyncio.start_unix_server(self._client, self._path, limit=REQUEST_MAX_BYTES)
            self._path.chmod(0o660)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            log.error("status_socket_failed", extra=facts(path=self._path, why=error))

    async def close(self) -> None:
        """Stop listening. Does not wait for clients: the end of the loop closes their connections."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):  # the file is missing, or belongs to a later process
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > CLIENTS_MAX:
                return
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                request = await reader.readuntil()
            answer = await self._answer_to(request, writer)
            if answer:
                writer.write(answer)
                writer.close()
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("status_client_dropped", extra=facts(why=type(error).__name__))
        finally:
            self._clients -= 1
            writer.transport.abort()

    async def _answer_to(self, request: bytes, writer: asyncio.StreamWriter) -> bytes:
        """The response; empty for an unknown request."""
        if request == STATUS_REQUEST:
            return self._status()
        handler = self._handlers.get(request)
        if handler is None:
            return b""
        async with asyncio.timeout(HANDLER_TIMEOUT_S):
            return await handler(_peer_of(writer.get_extra_info("socket"))[1])

    def _status(self) -> bytes:
        """The status document, at most ``FRESH_S`` old."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._made_s >= FRESH_S:
            self._answer, self._made_s = json.dumps(self._document()).encode(), now_s
        return self._answer


def _peer_of(peer: socket.socket) -> tuple[int, int]:
    """The process id and user id of the other end, from the kernel (unix(7), SO_PEERCRED)."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _group = struct.unpack("3i", raw)
    return pid, user


def request_status(path: Path, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """The status document of the agent that listens at ``path``. Blocks for at most twice ``timeout_s``.

    Raises:
        AgentNotRunning: ``status_socket_missing``, ``agent_not_running``.
        StatusError: ``status_denied``, ``agent_hung``, ``status_malformed``.
    """
    document = request_document(path, STATUS_REQUEST, SCHEMA, timeout_s=timeout_s)
    if document is None:
        why = Text("detail.no_status", path=path)
        raise StatusError(why, code="status_malformed", fix=_OTHER_PROGRAM)
    return document


def agent_status(storage: Path) -> dict[str, Any]:
    """The status document of the agent with this storage directory.

    Raises as ``request_status``. When an agent has the lock of the directory, ``StatusError`` replaces
    ``AgentNotRunning``: ``agent_starting``, ``agent_stopping`` or ``status_socket_lost``.
    """
    path = path_for(storage)
    try:
        return request_status(path)
    except AgentNotRunning as error:
        holder = lock_holder(storage)
        if holder is None:
            raise
        if holder.phase is AgentPhase.SERVING:  # it can have opened the socket after the first request
            with contextlib.suppress(AgentNotRunning):
                return request_status(path)
        code = _WITHOUT_SOCKET.get(holder.phase, "status_socket_lost")
        raise StatusError(Text(f"detail.{code}", path=path, pid=holder.pid), code=code) from error


def send_request(path: Path, request: bytes, *, timeout_s: float, max_bytes: int = ANSWER_MAX_BYTES) -> bytes:
    """The raw response, at most ``max_bytes`` + 1 bytes. Raises as ``request_status``."""
    with _connected(path, timeout_s) as client, client.makefile("rb") as response:
        client.sendall(request)
        return response.read(max_bytes + 1)


@contextlib.contextmanager
def _connected(path: Path, timeout_s: float) -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            yield client
    except OSError as error:
        raise _translate(error, path) from error


def peer_pid(path: Path) -> int:
    """The id of the process that listens at ``path``, from the kernel. Raises as ``request_status``.

    The process must belong to the owner of the folder: a link in the folder can lead to any user's socket,
    and the caller sends a signal to the process. The kernel stores the process that began to listen. An
    inherited socket keeps the id of an ended process, and another user's process can have that id now.
    """
    with _connected(path, timeout_s=3.0) as client:
        pid, uid = _peer_of(client)
    owner = path.parent.stat().st_uid
    if uid != owner or owner not in _users_of(pid):
        why = Text("detail.socket_of_other", path=path, uid=uid)
        raise StatusError(why, code="status_malformed", fix=_OTHER_PROGRAM)
    return pid


def request_document(
    path: Path, request: bytes, schema: str, *, timeout_s: float, max_bytes: int = ANSWER_MAX_BYTES
) -> dict[str, Any] | None:
    """The JSON document of a response; None when too long, malformed or of another schema.

    Raises as ``request_status``.
    """
    raw = send_request(path, request, timeout_s=timeout_s, max_bytes=max_bytes)
    tree = json_object(raw) if len(raw) <= max_bytes else None
    return tree if tree is not None and tree.get("schema") == schema else None


def unknown_response(path: Path) -> StatusError:
    """The error for a response that is not of the expected schema."""
    why = Text("detail.request_unsupported", path=path)
    return StatusError(why, code="status_malformed", fix=Text("fix.older_agent_running"))


def _users_of(pid: int) -> set[int]:
    """The user id of the process; empty when the process does not exist or has several ids."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    ids = {int(word) for line in lines if line.startswith("Uid:") for word in line.split()[1:]}
    return ids if len(ids) == 1 else set()  # several ids: a process that changes its privileges


def _translate(error: OSError, path: Path) -> StatusError:
    """The ``StatusError`` for a socket error."""
    if isinstance(error, FileNotFoundError):
        return AgentNotRunning(Text("detail.no_socket", path=path))
    if isinstance(error, ConnectionRefusedError):
        why = Text("detail.socket_not_listening", path=path)
        return AgentNotRunning(why, code="agent_not_running")
    if isinstance(error, PermissionError):
        why, fix = Text("detail.no_access", path=path), Text("fix.not_in_service_group")
        return StatusError(why, code="status_denied", fix=fix)
    if isinstance(error, TimeoutError | BlockingIOError):
        return StatusError(Text("detail.agent_silent", path=path))
    return StatusError(failure_at(path, error), code="status_malformed", fix=_OTHER_PROGRAM)


_OTHER_PROGRAM = Text("fix.socket_of_other_program")
