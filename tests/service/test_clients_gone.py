"""A comparison whose client has left is not run."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import httpx
import pytest

from agent.service import endpoint
from agent.service.compare_service import CompareService
from tests.service.kit import files, post, sign, slow_machine_config
from tests.service.test_worker_pool import FakeRecogniser

WAIT_S = 30.0


def raw_request(url: str, shot: bytes) -> bytes:
    """The bytes of a whole comparison."""
    request = httpx.Request("POST", url, headers={"Authorization": sign()}, **files(shot, b"ref"))
    body = request.read()
    head = [b"POST /face/compare HTTP/1.1", *(b"%s: %s" % pair for pair in request.headers.raw)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def until_metric(service: CompareService, line: str) -> None:
    until = time.monotonic() + WAIT_S
    with httpx.Client(trust_env=False, verify=False) as http:
        while line not in http.get(service.url.replace("/face/compare", "/metrics")).text:
            assert time.monotonic() < until, line
            time.sleep(0.02)


async def test_waiting_comparison_of_a_client_that_left_is_dropped() -> None:
    recogniser = FakeRecogniser()
    recogniser.may_go.clear()
    service = CompareService(slow_machine_config())
    service._recognisers = (recogniser,)
    await service.start()
    first = threading.Thread(target=post, args=(service,), kwargs=files(b"first", b"ref"))
    first.start()
    await asyncio.to_thread(until_metric, service, "facepay_service_comparisons_open 1.0")
    host, port = service.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as link:
        link.sendall(raw_request(service.url, b"left"))
        await asyncio.to_thread(until_metric, service, "facepay_service_queue_depth 1.0")
    await asyncio.to_thread(until_metric, service, "facepay_service_clients_gone_total 1.0")
    await asyncio.to_thread(until_metric, service, "facepay_service_queue_depth 0.0")
    recogniser.may_go.set()
    await asyncio.to_thread(first.join, WAIT_S)
    await service.stop()
    assert recogniser.images == [b"first", b"ref"]


async def test_refusal_of_a_full_queue_is_sent_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_PAUSE_S", 1.0)
    recogniser = FakeRecogniser()
    recogniser.may_go.clear()
    service = CompareService(slow_machine_config(queue_max=1))
    service._recognisers = (recogniser,)
    await service.start()
    first = threading.Thread(target=post, args=(service,), kwargs=files(b"first", b"ref"))
    first.start()
    await asyncio.to_thread(until_metric, service, "facepay_service_comparisons_open 1.0")
    start_s = time.monotonic()
    answer = await asyncio.to_thread(post, service, **files(b"second", b"ref"))
    assert answer["code"] == 15
    assert time.monotonic() - start_s >= 1.0
    recogniser.may_go.set()
    await asyncio.to_thread(first.join, WAIT_S)
    await service.stop()
    assert recogniser.images == [b"first", b"ref"]
