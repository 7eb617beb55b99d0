"""The broker table of docs/how-to/brokers.md: each broker runs here, and each cell is measured.

``python -m tests.broker_matrix.page`` writes the page from ``EXPECTED``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from pathlib import Path

import pytest

from agent.demo.broker import demo_broker
from tests.broker_matrix.checks import CHECKS, BrokerPorts
from tests.broker_matrix.expected import EXPECTED
from tests.broker_matrix.page import PAGE, page
from tests.broker_matrix.rabbitmq import needs_rabbitmq, rabbitmq
from tests.brokers import Mosquitto

pytestmark = pytest.mark.forged  # some payloads are no messages of the contract


@contextlib.asynccontextmanager
async def one_mosquitto(folder: Path) -> AsyncIterator[BrokerPorts]:
    broker = Mosquitto(folder).start()
    try:
        yield BrokerPorts(broker.port, broker.port)
    finally:
        broker.stop()


@contextlib.asynccontextmanager
async def bridged(folder: Path) -> AsyncIterator[BrokerPorts]:
    """The terminal at the broker of the shop, the till at the central broker."""
    central = Mosquitto(folder).start()
    own = folder / "shop"
    own.mkdir()
    shop = Mosquitto(
        own,
        "connection central",
        f"address 127.0.0.1:{central.port}",
        "topic facepay/v1/shop/# both 1",
        "bridge_protocol_version mqttv50",
        "cleansession true",
        "try_private true",
        "notifications false",
    ).start()
    try:
        yield BrokerPorts(shop.port, central.port)
    finally:
        shop.stop()
        central.stop()


@contextlib.asynccontextmanager
async def demo(folder: Path) -> AsyncIterator[BrokerPorts]:
    if find_spec("iotcore") is None:
        pytest.skip("needs iotcore: the demo extra")
    async with demo_broker(folder) as port:
        text = (folder / "broker.toml").read_text()
        old = int(text.partition("[v4.1]")[2].partition("127.0.0.1:")[2].partition('"')[0])
        yield BrokerPorts(port, port, old)


@contextlib.asynccontextmanager
async def one_rabbitmq(_folder: Path) -> AsyncIterator[BrokerPorts]:
    with rabbitmq() as (node,):
        yield BrokerPorts(node.port, node.port)


@contextlib.asynccontextmanager
async def rabbitmq_cluster(_folder: Path) -> AsyncIterator[BrokerPorts]:
    """The terminal at one node, the till at another node."""
    with rabbitmq(3) as (first, second, _):
        yield BrokerPorts(first.port, second.port)


BROKERS: dict[str, Callable[[Path], AbstractAsyncContextManager[BrokerPorts]]] = {
    "mosquitto 2.0": one_mosquitto,
    "mosquitto bridge": bridged,
    "demo (rumqttd)": demo,
    "RabbitMQ 4.0, one node": one_rabbitmq,
    "RabbitMQ 4.0, three nodes": rabbitmq_cluster,
}


async def measured(name: str, folder: Path) -> dict[str, str]:
    """The column of one broker: a failed check is the cell "fails: …"."""
    cells: dict[str, str] = {}
    async with BROKERS[name](folder) as ports:
        for number, (check, run) in enumerate(CHECKS.items()):
            try:
                cells[check] = await run(ports, folder / f"check-{number}")
            except Exception as error:
                cells[check] = f"fails: {type(error).__name__}: {error}"
    return cells


@pytest.mark.long  # brokers of other packages, three of them in a Debian of their own
@pytest.mark.parametrize("name", BROKERS)
async def test_each_cell_of_the_broker_table_is_as_documented(name: str, tmp_path: Path) -> None:
    if name.startswith("RabbitMQ"):
        needs_rabbitmq()
    assert await measured(name, tmp_path) == EXPECTED[name]


def test_the_page_is_current() -> None:
    assert set(EXPECTED) == set(BROKERS)
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.broker_matrix.page"
