"""The exporter as a program, with a real broker: scrapes, a broker that ends, hostile terminals, its cost."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from agent.fleet.fleet_metrics import SERIES_MAX
from agent.mqtt.paho_client import Message
from tests.brokers import Mosquitto, free_port
from tests.commands import facepay
from tests.fleet.fleet_exporter import SimulatedFleet, exporter, number, publisher, scraped, scraped_with
from tests.fleet.fleet_messages import health_of, state_of

CONNECTED = "facepay_fleet_broker_connected"
MEMORY = "process_resident_memory_bytes"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for one test: retained states of another test would be series."""
    made = Mosquitto(tmp_path, "max_packet_size 300000").start()
    yield made
    made.stop()


async def test_exporter_serves_the_fleet_and_survives_its_broker(broker: Mosquitto) -> None:
    with exporter(broker.port) as url:
        async with httpx.AsyncClient(trust_env=False) as http:
            async with publisher(broker) as client:
                client.publish(Message(*state_of("a"), retained=True))
                await scraped_with(http, url, 'need{site="shop-1",terminal="a",need="nothing"} 1')
                client.publish(Message(*health_of("a")))
                await scraped_with(http, url, 'uptime_seconds{site="shop-1",terminal="a"} 3600')
            broker.stop()
            text = await scraped_with(http, url, f"{CONNECTED} 0")
            assert 'need{site="shop-1",terminal="a",need="nothing"} 1' in text, "the last rows stay"
            broker.start()
            await scraped_with(http, url, f"{CONNECTED} 1")
            base = url.removesuffix("/metrics")
            assert (await http.get(f"{base}/")).status_code == 404
            assert (await http.post(url)).status_code == 405
            assert (await http.head(url)).content == b""


async def test_exporter_starts_without_a_broker() -> None:
    with exporter(free_port()) as url:
        async with httpx.AsyncClient(trust_env=False) as http:
            text = await scraped(http, url)
    assert number(text, CONNECTED) == number(text, "facepay_fleet_terminals") == 0


@pytest.mark.parametrize("address", ["9817", "127.0.0.1:70000", "203.0.113.1:9817"])
def test_unusable_address_is_an_error_with_a_fix(address: str) -> None:
    done = facepay("fleet", "exporter", "--listen", address)
    assert done.returncode != 0 and done.stderr.startswith("listen_failed: "), done.stderr
    assert "处理" in done.stderr


async def test_hostile_terminal_changes_its_own_series_only(broker: Mosquitto) -> None:
    """A flood with huge ids, 1 000 conditions, forged states, damaged bytes and retained nonsense."""
    with exporter(broker.port, "--terminals-max", "20") as url:
        async with httpx.AsyncClient(trust_env=False) as http, publisher(broker) as client:
            for name in range(10):
                client.publish(Message(*state_of(f"good-{name}"), retained=True))
                client.publish(Message(*health_of(f"good-{name}")))
            before = await scraped_with(http, url, 'uptime_seconds{site="shop-1",terminal="good-9"}')
            topic = state_of("bad")[0]
            client.publish(Message(topic, b"nonsense", retained=True))
            await scraped_with(http, url, 'terminal="bad",need="message_damaged"')
            for turn in range(150):
                codes = [f"code_{secrets.token_hex(4)}" for _ in range(1_000)]
                versions = f"{turn % 900}.{turn % 7}.0"
                _, forged = state_of("bad", "degraded", conditions=codes, version=versions, profile=versions)
                choices = (forged, json.dumps({"x": "y" * 100_000}).encode(), secrets.token_bytes(50))
                client.publish(Message(topic, choices[turn % 3], retained=True))
                client.publish(Message(f"facepay/v1/shop-1/new-{turn}/state", forged, retained=turn < 20))
                client.publish(Message("facepay/v1/" + "x" * 50_000 + f"/{turn}/state", b"{}"), qos=0)
                client.publish(Message(health_of("bad")[0], health_of("good-1")[1], retained=True))
                if turn % 50 == 0:
                    await asyncio.sleep(0.01)
            client.publish(Message(*state_of("bad", "degraded", conditions=["unknown"]), retained=True))
            after = await scraped_with(http, url, 'terminal="bad",need="fault"')
    good = re.compile(r'^facepay_fleet_terminal_(?!health_age)\S*terminal="good-.*$', re.MULTILINE)
    assert good.findall(after) == good.findall(before), "the others keep their series and values"
    places = set(re.findall(r'terminal="([^"]*)"', after))
    assert len(places) <= 20 and max(map(len, places)) <= 64
    own = [line for line in after.splitlines() if 'terminal="bad"' in line]
    assert 0 < len(own) <= SERIES_MAX
    assert number(after, 'facepay_fleet_messages_left_out_total{reason="too_many_terminals"}') > 0
    assert number(after, 'facepay_fleet_messages_left_out_total{reason="topic_invalid"}') > 0
    grown = number(after, MEMORY) - number(before, MEMORY)
    assert grown < 24e6, f"{grown / 1e6:.0f} MB more"


@pytest.mark.long  # three minutes of a fleet in real time
async def test_cost_of_500_terminals(
    broker: Mosquitto, record_property: Callable[[str, object], None]
) -> None:
    """Each terminal publishes a health in each minute; Prometheus scrapes each 15 s."""
    with exporter(broker.port) as url:
        async with httpx.AsyncClient(trust_env=False) as http, publisher(broker) as client:
            fleet = SimulatedFleet(client, 500)
            running = asyncio.create_task(fleet.run())
            try:
                await scraped_with(http, url, 'terminal="terminal-499",need="nothing"}')
                first, began_s = await scraped(http, url), time.monotonic()
                text = first
                for _ in range(8):
                    await asyncio.sleep(15)
                    text = await scraped(http, url)
                seconds = time.monotonic() - began_s
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
    assert 'uptime_seconds{site="shop-49",terminal="terminal-499"}' in text
    cpu = number(text, "process_cpu_seconds_total") - number(first, "process_cpu_seconds_total")
    rss_mb, series = number(text, MEMORY) / 1e6, len(re.findall(r"^[a-z]", text, re.MULTILINE))
    record_property(
        "figure",
        f"fleet exporter, 500 terminals: {100 * cpu / seconds:.2f} % of a core, {rss_mb:.0f} MB, "
        f"{series} series, {len(text) / 1e6:.1f} MB of text a scrape",
    )
    assert rss_mb <= 60 and cpu / seconds <= 0.02
    assert 500 * 20 < series < 500 * SERIES_MAX
