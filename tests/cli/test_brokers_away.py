"""Each command that connects as a client, with each fault of the broker: the fault is named, with a fix.

The broker is away, silent or another program; it refuses the login, the subscriptions or the messages; only
one side uses TLS, or the certificate is of another CA.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from agent.messages.encode import TerminalIdentity, state
from agent.messages.signing import Signer
from agent.messages.topics import Topics
from tests.broker_example.pki import Authority
from tests.brokers import Mosquitto, free_port
from tests.commands import SHORT_WAITS, Command, facepay
from tests.contract import golden
from tests.mqtt.scripted import NOT_AUTHORISED, Script, puback, scripted

ENDS_S = 90  # far beyond the longest wait of any command here
NO_NAME_SERVER = f"""
import socket
def unknown(*_where, **_how):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
socket.getaddrinfo = unknown
{SHORT_WAITS}
"""
COMMANDS = {
    "ask": "till ask photo.jpg",
    "ask_pinned": "till ask photo.jpg --key key.pem",
    "ack": f"till ack {golden.RESULT_ID}",
    "watch": "till watch",
    "simulate": "till simulate",
    "conformance": "till conformance --key kit.pem --listen 0",
    "load": "till load --terminals 2 --seconds 1",
    "diag": "diag ask --sign-key signing-key.pem --key key.pem",
    "fleet": "fleet watch --once",
}
ALL = tuple(COMMANDS)
Options = list[str]


def at(port: int, *more: object) -> Options:
    return ["--port", str(port), *map(str, more)]


@contextmanager
def closed_port(_: Path) -> Iterator[Options]:
    yield at(free_port())


@contextmanager
def black_hole(_: Path) -> Iterator[Options]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield at(listening.getsockname()[1])


@contextmanager
def web_server(_: Path) -> Iterator[Options]:
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
    yield at(listening.getsockname()[1])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    server.join()


@contextmanager
def unknown_host(_: Path) -> Iterator[Options]:
    yield ["--host", "broker.invalid"]


@contextmanager
def refusing(folder: Path) -> Iterator[Options]:
    made = Mosquitto(folder, "allow_anonymous false").start()
    yield at(made.port)
    made.stop()


@contextmanager
def tls_to_plain(folder: Path) -> Iterator[Options]:
    made = Mosquitto(folder).start()
    yield at(made.port, "--ca-file", Authority(folder, "ca").path)
    made.stop()


def with_tls(folder: Path) -> ssl.SSLContext:
    issued = Authority(folder, "ca").issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.cert, issued.key)
    return context


@contextmanager
def plain_to_tls(folder: Path) -> Iterator[Options]:
    with scripted_in_thread(Script(), with_tls(folder)) as port:
        yield at(port)


@contextmanager
def wrong_ca(folder: Path) -> Iterator[Options]:
    with scripted_in_thread(Script(), with_tls(folder)) as port:
        yield at(port, "--ca-file", Authority(folder, "other-ca").path)


@contextmanager
def scripted_in_thread(script: Script, context: ssl.SSLContext | None = None) -> Iterator[int]:
    port, over = free_port(), threading.Event()

    async def serve() -> None:
        async with scripted(script, port, context):
            await asyncio.to_thread(over.wait)

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    yield port
    over.set()
    server.join()


@contextmanager
def denies_subscriptions(_: Path) -> Iterator[Options]:
    """A broker that refuses subscriptions. Mosquitto's ACL never refuses a subscription; other brokers do."""
    with scripted_in_thread(Script(suback_reason=NOT_AUTHORISED)) as port:
        yield at(port)


@contextmanager
def denies_messages(_: Path) -> Iterator[Options]:
    def refuse(_topic: str, _payload: bytes, mid: int) -> bytes:
        return puback(mid, NOT_AUTHORISED)

    with scripted_in_thread(Script(on_publish=refuse)) as port:
        yield at(port)


@contextmanager
def denies_requests(folder: Path) -> Iterator[Options]:
    """A broker with the state of the terminal; its ACL allows no client to write to another topic."""
    (folder / "acl").write_text("topic readwrite facepay/v1/+/+/state\ntopic read facepay/#\n")
    made = Mosquitto(folder, f"acl_file {folder / 'acl'}").start()
    topics, signer = Topics("site", "terminal"), Signer.load_or_create(folder)
    who = TerminalIdentity("site", "terminal", "boot", "e" * 32)
    online = state("online", who, golden.STATE_FACTS, signer)
    protocol = MQTTProtocolVersion.MQTTv5
    publish.single(topics.state, online, 1, retain=True, port=made.port, protocol=protocol)
    yield at(made.port)
    made.stop()


@contextmanager
def another_key(folder: Path) -> Iterator[Options]:
    """A broker with the state of the terminal, signed with a key that is not in the file of --key."""
    made = Mosquitto(folder).start()
    who = TerminalIdentity("site", "terminal", "boot", "e" * 32)
    online = state("online", who, golden.STATE_FACTS, Signer.generate())
    protocol = MQTTProtocolVersion.MQTTv5
    publish.single(Topics("site", "terminal").state, online, 1, True, port=made.port, protocol=protocol)
    yield at(made.port)
    made.stop()


@contextmanager
def empty(folder: Path) -> Iterator[Options]:
    made = Mosquitto(folder).start()
    yield at(made.port)
    made.stop()


def run_all(
    folder: Path, where: Options, *commands: str, code: str = ""
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run all commands at once: each command waits separately. ``code``: as of ``facepay``."""
    (folder / "photo.jpg").write_bytes(golden.PHOTO)
    signer = Signer.load_or_create(folder)
    (folder / "key.pem").write_bytes(signer.public.pem())

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return facepay(*COMMANDS[name].split(), *where, cwd=folder, timeout_s=ENDS_S, code=code)

    with ThreadPoolExecutor() as threads:
        return dict(zip(commands, threads.map(run, commands), strict=True))


NO_BROKER = "no MQTT broker answers at "
# broker, code of the error, words of its detail, commands; code that replaces facepay
TABLE = [
    (closed_port, "mqtt_unreachable", NO_BROKER + "127.0.0.1:{port}: connection refused", ALL, SHORT_WAITS),
    (black_hole, "mqtt_unreachable", NO_BROKER + "127.0.0.1:{port}: no answer in time", ALL, SHORT_WAITS),
    (web_server, "mqtt_unreachable", NO_BROKER, ALL, SHORT_WAITS),
    (
        unknown_host,
        "mqtt_unreachable",
        "the host name has no address: Name or service not known",
        ("ask", "ack", "watch", "load", "diag", "fleet"),  # the others run with a broker on loopback only
        NO_NAME_SERVER,
    ),
    (refusing, "mqtt_refused", "refuses this client: Not authorized (0x87)", ALL, ""),
    (tls_to_plain, "mqtt_tls_failed", "127.0.0.1:{port}: the TLS handshake failed", ALL, ""),
    (plain_to_tls, "mqtt_tls_failed", "127.0.0.1:{port}: the broker ended the connection", ALL, ""),
    (wrong_ca, "mqtt_certificate_refused", "certificate is refused: unable to get local issuer", ALL, ""),
    (
        denies_subscriptions,
        "mqtt_subscription_refused",
        "Not authorized (0x87)",
        ("ask", "ack", "watch", "load", "diag", "fleet"),  # of the others, the state is missing, see below
        "",
    ),
    (
        denies_messages,
        "mqtt_publish_refused",
        "refuses a message: ",
        ("simulate", "conformance", "load"),
        "",
    ),
    (
        denies_requests,
        "publish_refused",
        "the broker refused: Not authorized (0x87)",
        ("ask", "ack", "diag"),
        "",
    ),
    (empty, "terminal_offline", "not heard on this broker", ("ask", "ack", "diag"), SHORT_WAITS),
    (
        another_key,
        "terminal_key_wrong",
        "not signed with the pinned key",
        ("ask_pinned", "diag"),
        SHORT_WAITS,
    ),
    (empty, "fleet_empty", "", ("fleet",), ""),
]


@pytest.mark.parametrize(
    ("broker", "code", "words", "commands", "instead"),
    TABLE,
    ids=[f"{each[0].__name__}-{each[1]}" for each in TABLE],
)
def test_each_command_ends_with_a_sentence_and_a_fix(
    tmp_path: Path,
    broker: Callable[[Path], AbstractContextManager[Options]],
    code: str,
    words: str,
    commands: tuple[str, ...],
    instead: str,
) -> None:
    with broker(tmp_path) as where:
        done = run_all(tmp_path, where, *commands, code=instead)
    for name, each in done.items():
        assert each.returncode == 1, (name, each)
        assert each.stderr.startswith(f"{code}: ") or f"\n{code}: " in each.stderr, (name, each.stderr)
        assert words.format(port=where[1]) in each.stderr, (name, each.stderr)
        assert "\nfix: " in each.stderr and "\n处理: " in each.stderr and "Traceback" not in each.stderr, name
        assert "\n原因: " in each.stderr, name
        assert "[mqtt] in the config" not in each.stderr, "a fix for a terminal"
        assert each.stdout == "", name


@pytest.mark.parametrize(
    ("broker", "code"),
    [
        (closed_port, "mqtt_unreachable"),
        (refusing, "mqtt_refused"),
        (wrong_ca, "mqtt_certificate_refused"),
        (denies_subscriptions, "mqtt_subscription_refused"),
    ],
)
def test_the_exporter_runs_on_and_logs_the_fault(
    tmp_path: Path, broker: Callable[[Path], AbstractContextManager[Options]], code: str
) -> None:
    log = tmp_path / "log"
    with broker(tmp_path) as where, log.open("wb") as out, tempfile.TemporaryFile() as ignored:
        words = ["fleet", "exporter", "--listen", "127.0.0.1:0", "--json", *where]
        with Command(words, stdout=ignored.fileno(), stderr=out.fileno()) as command:
            end_s = time.monotonic() + ENDS_S
            while "fleet_broker_problem" not in log.read_text() and time.monotonic() < end_s:
                assert command.poll() is None, log.read_text()
                time.sleep(0.05)
            command.send_signal(signal.SIGTERM)
            assert command.wait(ENDS_S) == 0
    (line, *_) = [line for line in log.read_text().splitlines() if "fleet_broker_problem" in line]
    assert f'"code": "{code}"' in line and '"fix": ' in line, line


def test_till_watch_waits_for_a_terminal_that_is_away(tmp_path: Path) -> None:
    """The broker has no problem: one sentence, then the messages of the terminal."""
    output = tmp_path / "output"
    with empty(tmp_path) as where, output.open("wb") as out:
        words = ["till", "watch", "--count", "1", *where]
        with Command(words, stdout=out.fileno(), stderr=out.fileno(), code=SHORT_WAITS) as command:
            end_s = time.monotonic() + ENDS_S
            while "still waiting" not in output.read_text() and time.monotonic() < end_s:
                time.sleep(0.05)
            who = TerminalIdentity("site", "terminal", "boot", "e" * 32)
            topic, port = Topics("site", "terminal").state, int(where[1])
            publish.single(topic, state("online", who), 1, port=port, protocol=MQTTProtocolVersion.MQTTv5)
            assert command.wait(ENDS_S) == 0
    assert "no message yet: terminal facepay/v1/site/terminal: not heard" in output.read_text()
    assert "facepay.state/1" in output.read_text()
