"""The simulator, the conformance kit and the load test over TLS with client certificates.

Simulator and kit use the shipped broker example, with its lines for tests. The load test uses one
certificate for all its clients, so its broker does not bind the client id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import MqttConfig
from agent.kits.load.load import Load, run
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till_conformance.kit import Kit
from agent.kits.till_conformance.preparation import WaitTimes
from agent.kits.till_conformance.scenarios import pick
from agent.messages.topics import Topics
from tests.broker_example.pki import Authority, Pair
from tests.broker_example.test_rights import Shop, running
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.kits.till_conformance.reference_till import ReferenceTill

TOPICS = Topics("shop-1", "terminal-1")
PLAYED = ("match", "forged_state", "cancel", "crash", "no_retained")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The broker example with the lines for tests."""
    made = Shop(tmp_path)
    rights = tmp_path / "acl-tills"
    head, mark, tests = rights.read_text().partition("#user conformance")
    assert mark, "the example has the rights for tests"
    rights.write_text(head + "\n".join(line.removeprefix("#") for line in (mark + tests).splitlines()) + "\n")
    with running(made):
        yield made


class TlsTill(ReferenceTill):
    """The reference till with a certificate."""

    def use(self, ca: Path, pair: Pair) -> None:
        self.client.tls_set(str(ca), str(pair.cert), str(pair.key))


@pytest.mark.forged
async def test_the_kit_plays_its_scenarios_at_the_broker_example(shop: Shop, tmp_path: Path) -> None:
    observer = shop.till("conformance")
    setup = SimulatorSetup(shop.terminal("terminal-1"), TOPICS, tmp_path / "kit", RealClock(), observer)
    kit = Kit(setup, "till-1", WaitTimes(request_s=30.0, settle_s=1.0))
    await kit.start()
    till = TlsTill(kit.port, kit.public_key_pem, ("shop-1", "terminal-1", "till-1"))
    till.use(shop.ca.path, shop.tills_ca.issue("till-1"))
    try:
        await asyncio.to_thread(till.start)
        rows = await kit.run(pick(PLAYED))
    finally:
        await asyncio.to_thread(till.stop)
        await kit.stop()
    assert [row for row in rows if row.outcome != "pass"] == []
    assert len(rows) == len(PLAYED)


@pytest.mark.forged
async def test_the_load_test_speaks_tls_with_a_client_certificate(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "ca")
    server, client = ca.issue("broker", "server"), ca.issue("load")
    lines = [f"cafile {ca.path}", f"certfile {server.cert}", f"keyfile {server.key}"]
    broker = Mosquitto(tmp_path, *lines, "require_certificate true")
    broker.start()
    try:
        config = MqttConfig(
            port=broker.port, tls=True, ca_file=ca.path, cert_file=client.cert, key_file=client.key
        )
        report = await run(config, Load(terminals=3, rate=5.0, seconds=2.0))
    finally:
        broker.stop()
    assert (report.lost, report.connections_lost) == (0, 0)
