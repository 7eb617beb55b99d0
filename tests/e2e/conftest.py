"""Fixtures: a terminal with a real broker and a real compare service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.control import page_link
from agent.mqtt import publisher
from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto
from tests.e2e.agents import Place
from tests.service.kit import running, slow_machine_config


@pytest.fixture(autouse=True)
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests wait longer for a broker and for an agent that have no time than a till and a technician."""
    monkeypatch.setattr(publisher, "PUBACK_TIMEOUT_S", 60.0)
    monkeypatch.setattr(page_link, "_TIMEOUT_S", 60.0)


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)
