"""Who reads a result without MQTT 5: mosquitto's own 3.1.1 client, and one behind a bridge."""

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
from tests.till.test_both_sides import TOPICS, customer, terminal

RESULT = TOPICS.verify("till-1", "result")


@contextmanager
def subscribed(port: int, topic: str) -> Iterator[subprocess.Popen[bytes]]:
    """``mosquitto_sub`` on MQTT 3.1.1, which ends after one message."""
    program = shutil.which("mosquitto_sub")
    assert program, "no mosquitto_sub: make test installs it (apt-get install mosquitto-clients)"
    where = ["-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1"]
    with subprocess.Popen(
        ["stdbuf", "-oL", program, "-V", "mqttv311", "-C", "1", "-d", *where],
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
    """The one message, among what ``-d`` prints."""
    out, _ = process.communicate(timeout=30)
    (line,) = [line for line in out.splitlines() if line.startswith(b'{"result"')]
    return line


async def read_through(near: int, far: int, folder: Path) -> None:
    async with terminal(near, folder) as side, customer(near, side) as till:
        with subscribed(far, RESULT) as old:
            assert (await till.ask(PHOTO, ttl_ms=5_000)).decision == "match"
            envelope = json.loads(await asyncio.to_thread(payload_of, old))
    assert side.signer.public.verify(envelope["result"], envelope["jws"], "result")
    assert json.loads(envelope["result"])["decision"] == "match"


async def test_mosquitto_sub_on_3_1_1_shows_a_readable_result(broker: Mosquitto, tmp_path: Path) -> None:
    await read_through(broker.port, broker.port, tmp_path)


async def test_a_result_survives_a_bridge(tmp_path: Path) -> None:
    """mosquitto's bridge with its defaults drops MQTT 5 properties; the signature is inside the payload."""
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
    await read_through(shop.port, office.port, tmp_path / "state")
    shop.stop()
    office.stop()
