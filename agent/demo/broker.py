"""The MQTT broker of the demo on a free loopback port: iotcore if installed, else the system's mosquitto.

The Debian package contains no broker: a shop's broker runs on another machine.
"""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from agent.errors import AgentError, reason_of
from agent.texts import Text

START_TIMEOUT_S, STOP_TIMEOUT_S = 10.0, 10.0
_POLL_S = 0.02


@asynccontextmanager
async def demo_broker(folder: Path) -> AsyncIterator[int]:
    """Run a broker with its files in ``folder``; yields its MQTT 5 port.

    Raises:
        AgentError: ``demo_broker_missing`` (neither is installed), ``demo_broker_failed`` (no listener).
    """
    async with AsyncExitStack() as stack:
        try:
            if find_spec("iotcore") is not None:
                port = stack.enter_context(_iotcore(folder))
            else:
                port = await stack.enter_async_context(_mosquitto(folder))
        except (OSError, RuntimeError) as error:  # RuntimeError: of iotcore
            message = Text("detail.demo_broker_not_started", reason=reason_of(error))
            fix = Text("fix.demo_broker_failed")
            raise AgentError(message, code="demo_broker_failed", fix=fix) from error
        yield port


@contextmanager
def _iotcore(folder: Path) -> Iterator[int]:
    import iotcore

    path, port = _rumqttd_config(folder)
    broker = iotcore.Broker(config_path=str(path))
    try:
        with _without_ctrl_c():
            broker.start()
        yield port
    finally:
        broker.stop()


@asynccontextmanager
async def _mosquitto(folder: Path) -> AsyncIterator[int]:
    port, path = free_port(), folder / "mosquitto.conf"
    # Trap: started as root, mosquitto changes to the user mosquitto, which may not exist.
    user = "user root\n" if os.geteuid() == 0 else ""
    path.write_text(f"{user}listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    null = asyncio.subprocess.DEVNULL
    with _without_ctrl_c():
        process = await asyncio.create_subprocess_exec(
            _mosquitto_path(), "-c", path, stdout=null, stderr=null
        )
    try:
        await _wait_for_listener(process, port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Delay Ctrl-C. A process that starts in this time keeps the mask: the demo ends its broker by itself.

    A terminal sends Ctrl-C to all processes of a command, and the demo would report that its broker failed.
    """
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _mosquitto_path() -> str:
    # /usr/sbin is not in the PATH of a user.
    path = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        message = Text("detail.no_demo_broker")
        raise AgentError(message, code="demo_broker_missing", fix=Text("fix.install_mosquitto"))
    return path


async def _wait_for_listener(process: asyncio.subprocess.Process, port: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(_POLL_S)
                else:
                    writer.close()
                    return
    message, fix = Text("detail.demo_broker_silent", port=port), Text("fix.mosquitto_failed")
    raise AgentError(message, code="demo_broker_failed", fix=fix)


def free_port() -> int:
    """A TCP port of loopback that the kernel gives to no other program for about a minute.

    A port that is bound and released again may go to another program before the broker binds the port. So a
    connection to the port is closed from the port's side and stays in TIME_WAIT. Then only a program that
    names the port and sets SO_REUSEADDR can bind it. Both brokers do.
    """
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.close()
        client.recv(1)  # the end of the connection has arrived: the client closes second
        return int(listener.getsockname()[1])


def _rumqttd_config(folder: Path) -> tuple[Path, int]:
    """The config file of iotcore and its MQTT 5 port. The defaults bind every interface, limit 20 KiB."""
    port, old_port = free_port(), free_port()
    limits = "connection_timeout_ms = 5000\nmax_payload_size = 262144\nmax_inflight_count = 100\n"
    text = "id = 0\n[router]\nid = 0\nmax_connections = 64\nmax_outgoing_packet_count = 200\n"
    text += "max_segment_size = 10485760\nmax_segment_count = 10\n"
    for version, listener in (("v5", port), ("v4", old_port)):
        text += f'[{version}.1]\nname = "{version}"\nlisten = "127.0.0.1:{listener}"\n'
        text += f"next_connection_delay_ms = 1\n[{version}.1.connections]\n{limits}"
    path = folder / "broker.toml"
    path.write_text(text)
    return path, port
