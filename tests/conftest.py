"""Fixtures that several rooms' tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.brokers import Mosquitto


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running mosquitto, one per test module."""
    made = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield made
    made.stop()
