"""Fixtures: a terminal with a real broker and a real compare service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.service.compare_service import CompareService
from tests.brokers import Mosquitto
from tests.e2e.agents import Place
from tests.service.kit import running, slow_machine_config


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config()) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)
