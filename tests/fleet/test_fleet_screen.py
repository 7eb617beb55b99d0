"""The screen of `facepay fleet watch` in narrow windows, and in a pipe."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from agent.cli.fleet_screen import screen
from agent.config import MqttConfig
from agent.fleet.fleet_subscriber import FleetSubscriber
from agent.health.conditions import CONDITIONS
from tests.brokers import Mosquitto
from tests.fleet.fleet_messages import state_of
from tests.fleet.test_fleet_watch import publish, watch_once

CODES = list(CONDITIONS)[:8]


def written(width: int) -> str:
    subscriber = FleetSubscriber(MqttConfig(), 10, lambda: None, on_problem=lambda *_: None)
    now_s = time.monotonic()
    subscriber.fleet.note_subscribed(now_s)
    for topic, payload in (
        state_of("gone-with-a-long-name-of-a-terminal", "offline"),
        state_of("failed", "degraded", conditions=CODES),
    ):
        subscriber.fleet.note_message(topic, payload, retained=True, now_s=now_s)
    out = io.StringIO()
    console = Console(file=out, width=width)
    console.print(screen(subscriber, subscriber.rows(), "127.0.0.1:1883", width=width, height=40))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120])
def test_screen_of_each_width_shows_the_whole_need(width: int) -> None:
    table = written(width)
    assert " offline " in table and max(map(len, table.splitlines())) <= width


def test_screen_that_is_wide_enough_shows_every_column_and_code() -> None:
    table = written(400)
    assert all(code in table for code in (*CODES, "version", "outbox", "health", "conditions"))


def test_watch_once_in_a_pipe_shows_the_complete_codes(tmp_path: Path) -> None:
    made = Mosquitto(tmp_path).start()
    publish(made, state_of("failed", "degraded", conditions=CODES))
    done = watch_once(made)
    made.stop()
    assert " ".join(CODES) in done.stdout, done.stdout
    assert max(map(len, done.stdout.splitlines())) < 2_000, "no padding"
