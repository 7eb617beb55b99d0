"""Fixtures: a terminal with a real broker and a real compare service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.mqtt import publisher
from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto
from tests.e2e.agents import Place
from tests.service.kit import running, slow_machine_config


@pytest.fixture(autouse=True)
def patient_tills(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tills of these tests wait longer for a busy broker than a till of a shop."""
    monkeypatch.setattr(publisher, "PUBACK_TIMEOUT_S", 60.0)


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)
