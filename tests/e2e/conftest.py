"""Fixtures: a terminal with a real broker and a real compare service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config.file import load
from agent.resources import config_file
from agent.service.compare_service import CompareService
from agent.service.settings import ServiceConfig
from tests.brokers import Mosquitto
from tests.e2e.agents import Place


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    made = CompareService(load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0}))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
def place(tmp_path: Path, broker: Mosquitto, service: CompareService) -> Place:
    return Place(tmp_path, broker, service)
