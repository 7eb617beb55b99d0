"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.contract import wire

if TYPE_CHECKING:
    from tests.brokers import Mosquitto

# A shared, slow machine fails no property: neither one example nor the making of examples has a time limit.
# CI takes the same examples each time.
settings.register_profile(
    "steady",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("steady")

wire.watch()


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_in_the_machines_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """What programs that are killed here leave goes with the run, and no other test's audit sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test recorded as a ``figure`` is a figure of this build: printed also where all is well."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figure":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A running mosquitto, one per test module."""
    from tests.brokers import Mosquitto

    made = Mosquitto(tmp_path_factory.mktemp("mosquitto")).start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def loggers_keep_their_levels() -> Iterator[None]:
    """A command run in this process sets them for its own: the doctor's silences whole rooms."""
    before = {name: logger.level for name, logger in _loggers().items()}
    yield
    for name, logger in _loggers().items():
        logger.setLevel(before.get(name, logging.NOTSET))


def _loggers() -> dict[str, logging.Logger]:
    known = logging.root.manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


@pytest.fixture(autouse=True)
def every_message_of_a_terminal_is_in_the_contract(request: pytest.FixtureRequest) -> Iterator[None]:
    """In every test: each message that a terminal publishes, or that a link here receives, is valid.

    Tests publish invalid messages as tills on purpose; but a message that a terminal accepts from a till must
    be in the contract, too. A test marked ``forged`` breaks a terminal's messages on purpose.
    """
    wire.broken.clear()
    yield
    if request.node.get_closest_marker("forged") is None:
        assert not wire.broken, wire.broken
