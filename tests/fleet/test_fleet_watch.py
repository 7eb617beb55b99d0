"""`facepay fleet watch` with a real broker: one document, changes as lines, and the errors of the broker."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.fleet.fleet_model import Need
from agent.health.conditions import CONDITIONS
from agent.mqtt.paho_client import Message
from tests.brokers import BUSY_S, Mosquitto, free_port
from tests.commands import facepay
from tests.fleet.fleet_exporter import publisher
from tests.fleet.fleet_messages import health_of, state_of
from tests.texts import zh

WATCH = (sys.executable, "-m", "agent.cli", "fleet", "watch")
ERROR = next(code for code, each in CONDITIONS.items() if each.severity == "error")
WARNING = next(code for code, each in CONDITIONS.items() if each.severity == "warning")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for one test: retained states of another test would be rows."""
    made = Mosquitto(tmp_path).start()
    yield made
    made.stop()


def publish(broker: Mosquitto, *messages: tuple[str, bytes], retained: bool = True) -> None:
    async def run() -> None:
        async with publisher(broker) as client:
            for topic, payload in messages:
                assert client.publish(Message(topic, payload, retained=retained))
            await asyncio.sleep(0.2)  # until the socket is written

    asyncio.run(run())


def watch_once(broker: Mosquitto, *words: str) -> subprocess.CompletedProcess[str]:
    return facepay("fleet", "watch", "--once", "--port", str(broker.port), *words)


def test_one_document_lists_the_urgent_terminals_first(broker: Mosquitto) -> None:
    publish(
        broker,
        state_of("good"),
        state_of("warned", "degraded", conditions=[WARNING]),
        state_of("failed", "degraded", conditions=[ERROR, "unknown_code"], version="0.2.0+deb12"),
        state_of("gone", "offline"),
        (state_of("nonsense")[0], b"nonsense"),
        ("facepay/v1/shop 1/a/state", b"{}"),
    )
    done = watch_once(broker, "--json")
    assert done.returncode == 2, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["connected"], found["terminals_total"]) == ("facepay.fleet/1", True, 5)
    needs = [Need.OFFLINE, Need.FAULT, Need.MESSAGE_DAMAGED, Need.WARNING, Need.NOTHING]
    assert [row["need"] for row in found["terminals"]] == needs
    assert {need: count for need, count in found["needs"].items() if count} == dict.fromkeys(needs, 1)
    assert found["left_out"] == {"topic_invalid": 1, "too_many_terminals": 0}
    assert found["left_out_example"] == "facepay/v1/shop 1/a/state"
    failed = found["terminals"][1]
    assert (failed["site"], failed["terminal"], failed["status"]) == ("shop-1", "failed", "degraded")
    assert (failed["conditions"], failed["conditions_left_out"]) == ([ERROR], 1)
    assert (failed["version"], failed["profile"]) == ("0.2.0+deb12", "shop")
    assert found["terminals"][2]["problems"] == ["not_json"]


def test_text_names_the_need_and_its_fix_in_both_languages(broker: Mosquitto) -> None:
    publish(broker, state_of("good"), state_of("gone", "offline"))
    done = watch_once(broker)
    assert done.returncode == 2, done.stderr
    assert re.search(r"shop-1/gone +offline +\d+ s", done.stdout) and "\x1b" not in done.stdout
    assert "1 more terminals; 0 of these need a person" in done.stdout
    assert "Check power and network" in done.stdout and "请检查终端的电源和网络" in done.stdout


@pytest.mark.parametrize(
    ("state", "code"),
    [(state_of("a"), 0), (state_of("a", "degraded", conditions=[WARNING]), 1), (state_of("a", "offline"), 2)],
    ids=["well", "warning", "offline"],
)
def test_exit_code_is_that_of_the_most_urgent_terminal(
    broker: Mosquitto, state: tuple[str, bytes], code: int
) -> None:
    publish(broker, state)
    assert watch_once(broker).returncode == code


def test_broker_without_terminals_is_an_error_with_a_fix(broker: Mosquitto) -> None:
    done = watch_once(broker)
    assert done.returncode != 0 and done.stderr.startswith("fleet_empty: ")
    assert "+/+/state" in done.stderr and "处理" in done.stderr


def test_absent_broker_is_an_error_with_a_fix() -> None:
    done = facepay("fleet", "watch", "--once", "--port", str(free_port()))
    assert done.returncode != 0 and done.stderr.startswith("mqtt_unreachable: ")
    assert "处理" in done.stderr


def test_waiting_collects_health(broker: Mosquitto) -> None:
    publish(broker, state_of("a"))

    async def run() -> dict[str, Any]:
        async with publisher(broker) as client:
            words = ("--once", "--json", "--wait-s", "4", "--port", str(broker.port))
            process = await asyncio.create_subprocess_exec(*WATCH, *words, stdout=subprocess.PIPE)
            while process.returncode is None:
                client.publish(Message(*health_of("a")), qos=0)
                with_output = asyncio.create_task(process.wait())
                await asyncio.wait([with_output], timeout=0.2)
            assert process.stdout is not None
            document: dict[str, Any] = json.loads(await process.stdout.read())
            return document

    (row,) = asyncio.run(run())["terminals"]
    assert row["health"]["uptime_s"] == 3_600 and row["health_age_s"] < BUSY_S


async def test_changes_are_one_line_each(broker: Mosquitto) -> None:
    async with publisher(broker) as client:
        client.publish(Message(*state_of("a"), retained=True))
        words = ("--json", "--port", str(broker.port))
        process = await asyncio.create_subprocess_exec(*WATCH, *words, stdout=subprocess.PIPE)
        assert process.stdout is not None

        async def line() -> dict[str, Any]:
            assert process.stdout is not None
            async with asyncio.timeout(BUSY_S):
                found: dict[str, Any] = json.loads(await process.stdout.readline())
            assert found.pop("schema") == "facepay.fleet_row/1"
            return found

        assert (await line())["need"] == "nothing"
        client.publish(Message(*health_of("a")))  # new numbers are no line
        client.publish(Message(*state_of("a", "degraded", conditions=[ERROR]), retained=True))
        assert (await line())["conditions"] == [ERROR]
        client.publish(Message(state_of("a")[0], b"", retained=True))
        assert await line() == {"site": "shop-1", "terminal": "a", "removed": True}
        broker.stop()
        assert await line() == {"connected": False}
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(BUSY_S):
            assert await process.wait() == 0


async def test_output_to_a_file_is_one_line_of_text_for_each_change(broker: Mosquitto) -> None:
    async with publisher(broker) as client:
        client.publish(Message(*state_of("a", "degraded", conditions=[ERROR]), retained=True))
        process = await asyncio.create_subprocess_exec(
            *WATCH, "--port", str(broker.port), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(BUSY_S):
            line = (await process.stdout.readline()).decode()
            broker.stop()
            lost = (await process.stdout.readline()).decode()
        process.send_signal(signal.SIGTERM)
        await process.wait()
    wanted = (
        f"site=shop-1 terminal=a need=fault status=degraded conditions={ERROR} version=0.2.0 profile=shop\n"
    )
    assert (line, lost) == (wanted, "connected=false\n")


def test_live_screen_appears_and_is_restored_at_the_end(broker: Mosquitto) -> None:
    publish(broker, state_of("gone", "offline"), *(state_of(f"t-{number}") for number in range(60)))
    main, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "24"}
    process = subprocess.Popen(
        [*WATCH, "--port", str(broker.port)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    output, end_s = b"", time.monotonic() + BUSY_S
    while b"Check power" not in output and time.monotonic() < end_s:
        if select.select([main], [], [], 1)[0]:
            output += os.read(main, 65_536)
    process.send_signal(signal.SIGINT)
    while process.poll() is None and time.monotonic() < end_s:
        if select.select([main], [], [], 0.1)[0]:
            try:
                output += os.read(main, 65_536)
            except OSError:  # the last program closed the terminal
                break
    assert process.wait(BUSY_S) == 0
    os.close(main)
    assert b"gone" in output and b"more terminals; 0 of these need a person" in output
    assert output.count(b"\x1b[?1049h") == output.count(b"\x1b[?1049l") == 1, "the earlier screen comes back"


def test_fixes_exist_for_each_need_in_each_language() -> None:
    from agent.texts import Text

    assert all(zh(Text(f"fleet.{need.value}")) for need in Need)
