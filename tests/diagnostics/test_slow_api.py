"""The doctor and an API that answers, but too slowly for payments."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.control.status import StatusFacts, status_document
from agent.core.model import Assurance, Result, Timings
from agent.core.reasons import Decision, Reason
from agent.diagnostics import endpoint_probe
from agent.diagnostics.check import Verdict
from agent.diagnostics.checks import network
from agent.health.counters import Counters
from tests.contract.golden import request
from tests.diagnostics.kit import TerminalFiles, causes, findings
from tests.service.kit import running, slow_machine_config


@pytest.fixture
def place(tmp_path: Path) -> TerminalFiles:
    return TerminalFiles(tmp_path, "", 1883)


@contextlib.contextmanager
def api_with_one_byte_at_a_time() -> Iterator[str]:
    """Sends a head without an end, a byte at each 10 ms, until the client leaves."""
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), listening.accept()[0] as link:
                link.recv(4_096)
                while not ended.wait(0.01):
                    link.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/face/compare"
        finally:
            ended.set()
            thread.join()


def test_api_latency_of_an_endless_head_fails(place: TerminalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte starts the limit of the socket again; then ``api.clock`` failed, and its fix is the clock."""
    monkeypatch.setattr(endpoint_probe, "_HEAD_TIMEOUT_S", 0.2)
    monkeypatch.setattr(endpoint_probe, "_HEAD_MAX_BYTES", 10**9)
    with api_with_one_byte_at_a_time() as place.url:
        found = findings(place.inputs(), "api.latency")
    assert causes(found) == ["api.latency"]
    assert found["api.clock"].verdict is Verdict.SKIP


@pytest.mark.parametrize(
    ("rows", "shown_ms"),
    [
        ([(1_700, 1)] * 5, None),
        ([(1_800, 1)] * 5, 1_800),
        ([(1_800, 2)] * 5, None),
        # second calls of other verifications make no call shorter
        ([(1_800, 1)] * 3 + [(3_600, 2)] * 2, 1_800),
        ([(1_800, 1)] * 3 + [(6_000, 4)] * 2, 1_800),
        ([(0, 0)] * 5, None),
    ],
)
def test_api_latency_of_calls_near_their_limit_warns(
    place: TerminalFiles,
    rows: list[tuple[int, int]],
    shown_ms: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request without a comparison is answered at once, also by an API with slow comparisons.

    ``rows``: for each verification, the time of all its calls and their number.
    """
    monkeypatch.setattr(network, "_SLOW_MS", 60_000)  # of this machine
    counters = Counters()
    for api_ms, asks in rows:
        counters.calls += asks
        timings = Timings(api=api_ms, total=api_ms)
        counters.record_result(
            Result(request(), Decision.MATCH, Reason.SAME_PERSON, asks, None, timings, Assurance())
        )
    with running(slow_machine_config()) as made:
        place.url = made.url
        now = StatusFacts(90, (), counters, {}, is_connected=True, outbox_depth=0)
        document = status_document(load(place.write(), Config), now)
        found = network.latency(replace(place.inputs(), status=lambda: document))
    assert found.verdict is (Verdict.PASS if shown_ms is None else Verdict.WARN)
    assert shown_ms is None or f"{shown_ms} ms" in found.why
