"""One network namespace for each node of a cluster, and a network between them that can be cut.

A node listens for its clients on the loopback of its namespace; a client gets there with a socket that was
made in the namespace. The nodes reach each other over a bridge in one more namespace. The network of this
machine is not changed, and all of it is gone when the test process ends. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.debian import run

_CLONE_NEWNET = 0x4000_0000
_BRIDGE = "br0"


class Namespace:
    """A network namespace with a loopback. ``cat`` holds it, until the pipe of this process is closed."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(("unshare", "--net", "cat"), stdin=subprocess.PIPE)
        self.path = Path(f"/proc/{self._holder.pid}/ns/net")
        until = time.monotonic() + 30
        while self.path.readlink() == Path("/proc/self/ns/net").readlink():
            assert time.monotonic() < until, "unshare made no network namespace"
            time.sleep(0.01)
        self.ip("link", "set", "lo", "up")

    @property
    def command(self) -> tuple[str, ...]:
        """The words before a command that runs in this namespace."""
        return ("nsenter", f"--net={self.path}", "--")

    @property
    def pid(self) -> int:
        return self._holder.pid

    def ip(self, *words: str) -> None:
        run(*self.command, "ip", *words)

    def socket(self) -> socket.socket:
        """A TCP socket of this namespace."""
        made: list[socket.socket] = []

        def make() -> None:  # in a thread that ends: the namespace of a thread is changed for good
            with self.path.open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def close(self) -> None:
        if self._holder.stdin is not None:
            self._holder.stdin.close()
        self._holder.wait(30)


class Switch:
    """The network between the machines ``names``; ``addresses``: the address of each one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._own = Namespace()
        self.machines = {name: Namespace() for name in names}
        self.addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=1)}
        self._own.ip("link", "add", _BRIDGE, "type", "bridge")
        self._own.ip("link", "set", _BRIDGE, "up")
        for name, machine in self.machines.items():
            peer = ("peer", "name", "eth0", "netns", str(machine.pid))
            self._own.ip("link", "add", name, "type", "veth", *peer)
            self._own.ip("link", "set", name, "up")
            machine.ip("address", "add", f"{self.addresses[name]}/24", "dev", "eth0")
            machine.ip("link", "set", "eth0", "up")
            self.join(name)

    def isolate(self, name: str) -> None:
        """Drop each packet between this machine and the others, without an answer to either side."""
        self._own.ip("link", "set", name, "nomaster")

    def join(self, name: str) -> None:
        self._own.ip("link", "set", name, "master", _BRIDGE)

    def close(self) -> None:
        for namespace in (self._own, *self.machines.values()):
            namespace.close()


@contextmanager
def network(*names: str) -> Iterator[Switch]:
    switch = Switch(names)
    try:
        yield switch
    finally:
        switch.close()
