"""Results for subscribers without MQTT 5: the 3.1.1 client of mosquitto, also behind a bridge."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.brokers import Mosquitto
from tests.messages.payloads import PHOTO
from tests.till.test_both_sides import TOPICS, terminal, till_client

RESULT = TOPICS.verify("till-1", "result")


@contextmanager
def subscribed(port: int, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    """``mosquitto_sub`` on MQTT 3.1.1, which ends after one message."""
    program = shutil.which("mosquitto_sub")
    assert program, "no mosquitto_sub: make test installs it (apt-get install mosquitto-clients)"
    options = ["-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1"]
    with subprocess.Popen(
        ["stdbuf", "-oL", program, "-V", "mqttv311", "-C", "1", "-d", *options],
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"SUBACK" in line:
                break
        try:
            yield process
        finally:
            process.kill()


def payload_of(process: subprocess.Popen[bytes]) -> bytes:
    """The message in the debug output of ``mosquitto_sub -d``."""
    out, _ = process.communicate(timeout=60)
    (line,) = [line for line in out.splitlines() if line.startswith(b'{"result"')]
    return line


async def check_result_arrives(terminal_port: int, subscriber_port: int, folder: Path) -> None:
    async with terminal(terminal_port, folder) as running, till_client(terminal_port, running) as till:
        with subscribed(subscriber_port, RESULT) as old:
            assert (await till.ask(PHOTO, ttl_ms=30_000)).decision == "match"
            envelope = json.loads(await asyncio.to_thread(payload_of, old))
    assert running.signer.public.verify(envelope["result"], envelope["jws"], "result")
    assert json.loads(envelope["result"])["decision"] == "match"


async def test_result_is_readable_by_mosquitto_sub_3_1_1(broker: Mosquitto, tmp_path: Path) -> None:
    await check_result_arrives(broker.port, broker.port, tmp_path)


async def test_result_is_verifiable_behind_a_bridge(tmp_path: Path) -> None:
    """A mosquitto bridge drops MQTT 5 properties by default; the signature is inside the payload."""
    (tmp_path / "head-office").mkdir()
    (tmp_path / "shop").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    office = Mosquitto(tmp_path / "head-office").start()
    bridge = ("connection head-office", f"address 127.0.0.1:{office.port}", "topic facepay/# out 1")
    shop = Mosquitto(tmp_path / "shop", *bridge).start()
    with subscribed(office.port, "$SYS/broker/connection/+/state") as link:
        for line in link.stdout or ():
            if line.strip() == b"1":
                break
    await check_result_arrives(shop.port, office.port, tmp_path / "state")
    shop.stop()
    office.stop()
