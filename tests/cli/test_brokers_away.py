"""A broker that is unreachable, silent, another program or refuses: each command ends with the right code."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.messages.signing import Signer
from tests.brokers import Mosquitto, free_port
from tests.commands import facepay
from tests.contract import golden
from tests.mqtt.scripted import NOT_AUTHORISED, scripted_broker

ENDS_S = 60  # far beyond the longest wait of any command here
# facepay with shorter waits, for an endpoint that never becomes a broker: each wait ends by its time-out
IMPATIENT = """
import agent.cli.till, agent.kits.till.client, agent.kits.till.watcher
from agent.cli import main
agent.kits.till.watcher.STATE_TIMEOUT_S = agent.cli.till._STATE_S = 1.0
agent.kits.till.client.TillClient.online.__defaults__ = (1.0,)
main()
"""


@contextmanager
def closed_port(_: Path) -> Iterator[int]:
    yield free_port()


@contextmanager
def black_hole(_: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]


@contextmanager
def web_server(_: Path) -> Iterator[int]:
    def serve() -> None:
        try:
            while True:
                other, _ = listening.accept()
                with other:
                    other.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html></html>")
        except OSError:  # closed: the test is over
            return

    listening = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve)
    server.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    server.join()


@contextmanager
def refusing(folder: Path) -> Iterator[int]:
    made = Mosquitto(folder, "allow_anonymous false").start()
    yield made.port
    made.stop()


@contextmanager
def denies_subscriptions(_: Path) -> Iterator[int]:
    """A broker that refuses subscriptions. Mosquitto's ACL never refuses a subscription; other brokers do."""
    port, over = free_port(), threading.Event()

    async def serve() -> None:
        async with scripted_broker(NOT_AUTHORISED, port):
            await asyncio.to_thread(over.wait)

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    yield port
    over.set()
    server.join()


@contextmanager
def empty(folder: Path) -> Iterator[int]:
    made = Mosquitto(folder).start()
    yield made.port
    made.stop()


def run_all(
    folder: Path, port: int, *commands: str, code: str = ""
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run all commands at once: each command waits separately. ``code``: as of ``facepay``."""
    (folder / "photo.jpg").write_bytes(golden.PHOTO)
    signer = Signer.load_or_create(folder)
    (folder / "key.pem").write_bytes(signer.public.pem())
    words = {
        "ask": "till ask photo.jpg",
        "ack": f"till ack {golden.RESULT_ID}",
        "simulate": "till simulate",
        "conformance": "till conformance --key kit.pem --listen 0",
        "load": "till load --terminals 2 --seconds 1",
    }

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return facepay(*words[name].split(), "--port", str(port), cwd=folder, timeout_s=ENDS_S, code=code)

    with ThreadPoolExecutor() as threads:
        return dict(zip(commands, threads.map(run, commands), strict=True))


ALL = ("ask", "ack", "simulate", "conformance")


@pytest.mark.parametrize(
    ("broker", "code", "words", "commands"),
    [
        (closed_port, "mqtt_unreachable", "no MQTT broker answers at 127.0.0.1:", ALL),
        (black_hole, "mqtt_unreachable", "no MQTT broker answers at 127.0.0.1:", ALL),
        (web_server, "mqtt_unreachable", "no MQTT broker answers at 127.0.0.1:", ALL),
        (refusing, "mqtt_refused", "refuses this client", ALL),
        (
            denies_subscriptions,
            "mqtt_subscription_refused",
            "refuses the subscriptions (ACL)",
            ("ask", "ack"),
        ),
        (empty, "terminal_offline", "not heard on this broker", ("ask", "ack")),
        (closed_port, "link_down", "", ("load",)),
        (refusing, "link_down", "", ("load",)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_command_ends_with_a_sentence_and_a_fix(
    tmp_path: Path, broker: object, code: str, words: str, commands: tuple[str, ...]
) -> None:
    assert callable(broker)
    with broker(tmp_path) as port:
        done = run_all(tmp_path, port, *commands, code=IMPATIENT if code == "mqtt_unreachable" else "")
    for name, each in done.items():
        assert each.returncode == 1, (name, each)
        assert f"{code}: " in each.stderr and words in each.stderr, (name, each.stderr)
        assert "\nfix: " in each.stderr and "\n处理: " in each.stderr and "Traceback" not in each.stderr, name
        assert each.stdout == "", name
