"""RabbitMQ of Debian 13 in a chroot: one node, or a cluster whose nodes are killed and started again.

Needs root. All ports are on loopback. The nodes share one file system and differ by name and ports; with a
``Switch`` each node has a network namespace, and the network between the nodes can be cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import debian
from tests.broker_matrix.machines import Namespace, Switch
from tests.brokers import free_port
from tests.debian import Debian, run
from tests.stored import kept, stored

RELEASE, PACKAGE = "trixie", "rabbitmq-server"
START_S = 180
NET_TICK_S = 8  # a node that does not answer counts as down after it; the default is 60
# a change of the user clears the signal with which `unshare --kill-child` ends the processes: it is set again
_USER = ("setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups", "--pdeathsig=KILL")
_LIBRARY = "/usr/lib/rabbitmq/bin"


def needs_rabbitmq() -> None:
    """Skip with the reason where it cannot be installed. After this check a failed set-up is a failure."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap, chroot")
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap: run `make test-long` as root")
    if not _base().exists() and not debian.mirror():
        pytest.skip("needs a Debian mirror in apt's sources")


def _base() -> Path:
    made_from = f"{debian.minimal_system(RELEASE).name} {PACKAGE}"
    return kept(f"{RELEASE}-rabbitmq-{hashlib.sha256(made_from.encode()).hexdigest()[:8]}")


def _make(partial: Path) -> None:
    partial.rmdir()
    run("cp", "-a", "--reflink=auto", debian.minimal_system(RELEASE), partial)
    for name in ("resolv.conf", "hosts"):
        shutil.copy(Path("/etc", name), partial / "etc" / name)
    made = Debian(partial)
    made.run("apt-get", "update", "-qq")
    made.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGE)
    made.run("apt-get", "clean")


class Node:
    """One RabbitMQ node. ``start`` after ``kill`` uses the same data and the same ports."""

    def __init__(self, system: Debian, name: str, epmd_port: int, switch: Switch | None = None) -> None:
        self.name, self.port = name, free_port()
        self._system = system
        self._namespace = switch.machines[name] if switch else None
        self.full_name = f"{name}@{name if switch else 'localhost'}"
        address = switch.addresses[name] if switch else "127.0.0.1"
        self._ports = (free_port(), free_port())
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/var/lib/rabbitmq",
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.full_name,
            "RABBITMQ_CONFIG_FILE": f"/etc/rabbitmq/{name}",
            "RABBITMQ_DIST_PORT": str(self._ports[1]),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": address,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {_tuple(address)}"
            f"{f' -kernel net_ticktime {NET_TICK_S}' if switch else ''} +S 1:1",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, lines: Sequence[str]) -> None:
        """Write the config file."""
        listeners = (
            f"listeners.tcp.1 = 127.0.0.1:{self._ports[0]}",
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{self.port}",
        )
        text = "".join(f"{line}\n" for line in (*listeners, *lines))
        self._system.file(f"/etc/rabbitmq/{self.name}.conf").write_text(text)

    def join(self, other: Node) -> None:
        """Make this running node a member of the cluster of ``other``."""
        self.control("stop_app")
        self.control("join_cluster", other.full_name)
        self.control("start_app")

    def control(self, *words: str) -> str:
        """The output of rabbitmqctl for this node."""
        settings = (f"{name}={value}" for name, value in self._environment.items())
        command = (*_USER, f"{_LIBRARY}/rabbitmqctl", *words)
        return run(*_inside(self._system, self._namespace), "env", "-i", *settings, *command)

    def start(self) -> None:
        """Start the node and wait until it accepts MQTT connections."""
        command = (*_USER, f"{_LIBRARY}/rabbitmq-server")
        inside = _inside(self._system, self._namespace)
        self._process = _started(self._system, inside, command, self._environment, f"{self.name}.log")
        self.wait_until(listening=True)

    def wait_until(self, *, listening: bool) -> None:
        """Wait until the node accepts MQTT connections, or no more: a paused node accepts none."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            assert self._process is not None and self._process.poll() is None, f"{self.name}: {self._log()}"
            with self._socket() as probe:
                if (probe.connect_ex(("127.0.0.1", self.port)) == 0) == listening:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} listening: not {listening} within {START_S} s: {self._log()}")

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of a client. Raises ``OSError``."""
        client = self._socket()
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        return await asyncio.open_connection(sock=client)

    def _socket(self) -> socket.socket:
        return self._namespace.socket() if self._namespace else socket.socket()

    def kill(self) -> None:
        """End the node without any shutdown, like a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
            self._wait_until_ended()

    def _wait_until_ended(self) -> None:
        """A node that lives on would answer in place of the next one, and hide that none was killed."""
        until = time.monotonic() + 30
        with contextlib.suppress(ConnectionRefusedError):
            while time.monotonic() < until:
                with self._socket() as probe:
                    probe.connect(("127.0.0.1", self.port))
                time.sleep(0.05)
            raise AssertionError(f"{self.name} was killed and still listens: {self._log()}")

    def _log(self) -> str:
        return self._system.file(f"/root/{self.name}.log").read_text(errors="replace")[-2_000:]


def _inside(system: Debian, namespace: Namespace | None) -> tuple[str, ...]:
    """The words before a command in the chroot, with its own processes and perhaps its own network.

    The command ends with the test process, also when that one is killed.
    """
    network = ("setpriv", "--pdeathsig=KILL", *(namespace.command if namespace else ()))
    own = ("unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={system.root}/proc")
    return (*network, *own, "chroot", str(system.root))


def _tuple(address: str) -> str:
    """The address as Erlang writes it."""
    return "{" + address.replace(".", ",") + "}"


def _started(
    system: Debian, inside: Sequence[str], command: Sequence[str], environment: dict[str, str], log: str
) -> subprocess.Popen[bytes]:
    with system.file(f"/root/{log}").open("ab") as output:
        return subprocess.Popen(
            (*inside, *command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@contextmanager
def rabbitmq(
    count: int = 1, *lines: str, switch: Switch | None = None, partition_handling: str = "pause_minority"
) -> Iterator[list[Node]]:
    """A running cluster of ``count`` nodes; ``lines`` are added to each config file.

    ``switch``: the network of machines r1, r2 …; None: the nodes share the loopback of this machine.
    """
    lines = (*lines, f"cluster_partition_handling = {partition_handling}")
    base = stored(_base(), _make)
    with tempfile.TemporaryDirectory(prefix="facepay-rabbitmq-") as scratch:
        system = Debian(Path(scratch, "root"))
        run("cp", "-a", "--reflink=auto", base, system.root)
        cookie = "/var/lib/rabbitmq/.erlang.cookie"
        script = f"echo FACEPAYTEST >{cookie}; chmod 400 {cookie}; chown rabbitmq:rabbitmq {cookie}"
        system.run("sh", "-ec", script)
        system.file("/etc/rabbitmq/enabled_plugins").write_text("[rabbitmq_mqtt].\n")
        epmd_port = free_port()
        # outside the process namespaces of the nodes: it lives on when a node is killed
        epmds = []
        addresses = [*switch.addresses.items()] if switch else [("", "127.0.0.1")]
        for name, address in addresses:
            inside = _inside(system, switch.machines[name] if switch else None)
            command = (*_USER, "epmd", "-port", str(epmd_port), "-address", address)
            epmds.append(_started(system, inside, command, {"PATH": "/usr/sbin:/usr/bin"}, "epmd.log"))
        with system.file("/etc/hosts").open("a") as hosts:
            hosts.writelines(f"{address} {name}\n" for name, address in addresses if name)
        nodes = [Node(system, f"r{number}", epmd_port, switch) for number in range(1, count + 1)]
        try:
            for node in nodes:
                node.configure(lines)
                node.start()
            for node in nodes[1:]:
                node.join(nodes[0])
            yield nodes
        finally:
            for node in nodes:
                node.kill()
            for epmd in epmds:
                epmd.kill()
                epmd.wait(30)


class Balancer:
    """Forwards each connection to the next node that accepts one, as a load balancer does."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes, self._next = list(nodes), 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.closing(writer):
            for _ in self._nodes:
                node = self._nodes[self._next % len(self._nodes)]
                self._next += 1
                with contextlib.suppress(OSError):
                    node_reader, node_writer = await node.connection()
                    with contextlib.closing(node_writer):
                        await _both_ways((reader, node_writer), (node_reader, writer))
                    return


async def _both_ways(*directions: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Forward until one direction ends."""

    async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65_536):
                target.write(chunk)
                await target.drain()

    tasks = [asyncio.create_task(forward(*each)) for each in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
