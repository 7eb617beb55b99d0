"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from agent.till.fields import Rejected
from agent.till.link import Link
from agent.till.link_client import Message
from agent.till.reading import Rules, read_ack, read_cancel, read_request
from tests.brokers import Mosquitto
from tests.contract.validator import assert_valid

FROM_TERMINALS = ("/result", "/event", "/state", "/health", "/report")

# On a busy machine an example takes as long as it takes: time is no property of the code under test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


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


def _taken(topic: str, payload: bytes) -> bool:
    """Whether a terminal's reading would take this message of a till."""
    *_, till, kind = ("", "", *topic.split("/"))
    rules = Rules(98_304, 60_000)
    try:
        match kind:
            case "request":
                read_request(payload, till, rules, received_ms=0)
            case "cancel":
                read_cancel(payload, till, rules)
            case "ack":
                read_ack(payload, till, rules)
            case _:
                return False
    except Rejected:
        return False
    return topic.startswith("facepay/")


@pytest.fixture(autouse=True)
def every_message_of_a_terminal_is_in_the_contract(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """In every test: what a terminal publishes here, or is heard saying by another process, is valid.

    Tests send junk as tills on purpose; but what our reading takes from a till must be in the contract, too.
    A test marked ``forged`` breaks a terminal's messages on purpose.
    """
    broken: list[str] = []
    publish, arrived = Link.publish, Link.arrived

    def check(topic: str, payload: bytes) -> None:
        said = topic.startswith("facepay/") and topic.endswith(FROM_TERMINALS) and payload
        if not said and not _taken(topic, payload):
            return
        try:
            assert_valid(topic, payload, exact=bool(said))
        except (AssertionError, ValueError) as error:
            broken.append(str(error))

    async def checked_publish(self: Link, message: Message, qos: int = 1) -> bool:
        check(message.topic, message.payload)
        return await publish(self, message, qos)

    def checked_arrived(self: Link, client: Any, message: Any) -> None:
        check(message.topic, bytes(message.payload))
        arrived(self, client, message)

    monkeypatch.setattr(Link, "publish", checked_publish)
    monkeypatch.setattr(Link, "arrived", checked_arrived)
    yield
    if request.node.get_closest_marker("forged") is None:
        assert not broken, broken
