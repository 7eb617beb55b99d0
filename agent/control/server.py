"""The status socket: one line asked, one JSON document answered, closed. Local, read-only, bounded.

`status` answers numbers and words. `lens` and `shot` are a technician's explicit request for a look through
the camera, see camera.py; `page` for a link to the diagnostics page, see page_link.py. They share the
socket's permissions and limits.

Where: beside the outbox, ``status.sock``; for a storage directory of systemd's, ``/var/lib/NAME``, in the
unit's runtime directory ``/run/NAME``, which the service's group may enter. Mode 0660: owner and group.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from agent.core import strict_json
from agent.errors import AgentAway, StatusError
from agent.log import facts
from agent.texts import Text

log = logging.getLogger(__name__)

SCHEMA = "facepay.status/1"
NAME = "status.sock"
ASK = b"status\n"
ASK_MAX_BYTES = 64
ANSWER_MAX_BYTES = 64 * 1024
CLIENTS_MAX = 8  # at a time; more are hung up on
CLIENT_TIMEOUT_S = 2.0  # for the question, and again for taking the answer
FRESH_S = 0.2  # many askers cost no more than a few a second
LOOK_TIMEOUT_S = 5.0  # for what has to wait for a frame
_STATE, _RUNTIME = Path("/var/lib"), Path("/run")

# a question that takes a moment: gets the asker's user id, gives the answer's bytes, never raises
Look = Callable[[int], Awaitable[bytes]]


def path_for(storage: Path) -> Path:
    """Where the agent of this storage directory listens, and its askers look."""
    if storage.is_relative_to(_STATE):
        runtime = _RUNTIME / storage.relative_to(_STATE)
        if runtime.is_dir():
            return runtime / NAME
    return storage / NAME


class StatusServer:
    """Answers askers from inside the agent's loop. Nothing an asker does can hold it up."""

    def __init__(
        self,
        path: Path,
        document: Callable[[], Mapping[str, Any]],
        looks: Mapping[bytes, Look] | None = None,
    ) -> None:
        self._path = path
        self._looks = looks or {}
        self._document = document
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients = 0
        self._made_s = float("-inf")
        self._answer = b""

    async def open(self) -> None:
        """Listen from now on. A socket that cannot be made is logged: no payment needs it."""
        try:
            self._server = await asyncio.start_unix_server(self._client, self._path, limit=ASK_MAX_BYTES)
            self._path.chmod(0o660)
            self._inode = self._path.stat().st_ino
        except OSError as error:
            log.error("status_socket_failed", extra=facts(path=self._path, why=error))

    async def close(self) -> None:
        """Listen no more. Waits for no asker: the loop's end drops them."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):  # gone, or a later process's by now
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients > CLIENTS_MAX:
                return
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                asked = await reader.readuntil()
            answer = await self._answer_to(asked, writer)
            if answer:
                writer.write(answer)
                writer.close()
                async with asyncio.timeout(CLIENT_TIMEOUT_S):
                    await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("status_asker_dropped", extra=facts(why=type(error).__name__))
        finally:
            self._clients -= 1
            writer.transport.abort()

    async def _answer_to(self, asked: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Empty for what is no question."""
        if asked == ASK:
            return self._fresh()
        look = self._looks.get(asked)
        if look is None:
            return b""
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return await look(_user_of(writer))

    def _fresh(self) -> bytes:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._made_s >= FRESH_S:
            self._answer, self._made_s = json.dumps(self._document()).encode(), now_s
        return self._answer


def _user_of(writer: asyncio.StreamWriter) -> int:
    """The user id that the kernel knows of the other end (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", raw)[1])


def ask(path: Path, *, timeout_s: float = 3.0) -> dict[str, Any]:
    """The document of the agent that listens there. Blocks for at most twice ``timeout_s``.

    Raises:
        AgentAway: ``status_socket_missing``, ``agent_not_running``.
        StatusError: ``status_denied``, ``agent_hung``, ``status_malformed``.
    """
    return _checked(exchange(path, ASK, timeout_s=timeout_s), path)


def exchange(path: Path, asked: bytes, *, timeout_s: float, max_bytes: int = ANSWER_MAX_BYTES) -> bytes:
    """One question, the raw answer: at most one byte more than ``max_bytes``. Raises as ``ask``."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            client.sendall(asked)
            return _read(client, max_bytes + 1)
    except OSError as error:
        raise _translate(error, path) from error


def peer_pid(path: Path, *, timeout_s: float = 3.0) -> int:
    """The process that listens there, by the kernel's word. Raises as ``ask``.

    Only one of the user whose folder it is: a path there may be made to lead to anybody's socket, and whoever
    asks means to send a signal. The kernel remembers who began to listen: a socket handed on keeps the number
    of a process that ended, and by now that may be somebody else's.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            pid, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError as error:
        raise _translate(error, path) from error
    owner = path.parent.stat().st_uid
    if uid != owner or owner not in _users_of(pid):
        raise StatusError(
            f"{path}: user {uid} listens there, and it is not his folder, or he is gone",
            code="status_malformed",
            fix=_NOT_OURS,
        )
    return int(pid)


def _users_of(pid: int) -> set[int]:
    """Under whose ids the process runs; none when there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    ids = {int(each) for line in lines if line.startswith("Uid:") for each in line.split()[1:]}
    return ids if len(ids) == 1 else set()  # several: one that changes its rights


def _read(client: socket.socket, max_bytes: int) -> bytes:
    raw = bytearray()
    while len(raw) < max_bytes and (piece := client.recv(min(65_536, max_bytes - len(raw)))):
        raw += piece
    return bytes(raw)


def _translate(error: OSError, path: Path) -> StatusError:
    """The one place where socket errors become ours."""
    if isinstance(error, FileNotFoundError):
        return AgentAway(f"{path}: no such socket")
    if isinstance(error, ConnectionRefusedError):
        return AgentAway(
            f"{path}: nobody listens: the agent ended without tidying up", code="agent_not_running"
        )
    if isinstance(error, PermissionError):
        return StatusError(
            f"{path}: this user may not ask",
            code="status_denied",
            fix=_SUDO,
        )
    if isinstance(error, TimeoutError | BlockingIOError):
        return StatusError(f"{path}: the agent does not answer")
    return StatusError(
        f"{path}: {error}",
        code="status_malformed",
        fix=_NOT_OURS,
    )


_SUDO = Text("fix.not_in_service_group")

_NOT_OURS = Text("fix.socket_of_other_program")


def _checked(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        tree = strict_json.loads(raw) if len(raw) <= ANSWER_MAX_BYTES else None
    except ValueError:
        tree = None
    if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
        raise StatusError(
            f"{path}: no status of this version",
            code="status_malformed",
            fix=_NOT_OURS,
        )
    return tree
