"""The conformance kit for CompareFace: the embedded service passes, every fault of an endpoint is named."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.errors import CompareUnreachable
from agent.kits.compare import probe, run_compareface
from agent.kits.compare.compareface_checks import CHECKS as COMPAREFACE_CHECKS
from agent.kits.compare.compareface_probe import CompareFaceProbe
from agent.kits.compare.images import Pictures, served
from agent.kits.compare.probe import Account, CheckOutcome, CheckRow
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.compare.servers import Play, endpoint, http, replies
from tests.compare.test_compareface import SUCCESS
from tests.service.compareface_kit import base_url
from tests.service.kit import SECRET_ID, account, slow_machine_config

HERE = Path(__file__).parents[3]


async def run_checks(url: str, secret_id: str = SECRET_ID, *, photos: bool = False) -> tuple[CheckRow, ...]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(Pictures.shipped())) if photos else None
        client = CompareFaceProbe(url, Account("", secret_id, EXAMPLE_SECRET), photos_url=address)
        stack.push_async_callback(client.close)
        return await run_compareface(client)


def names(rows: tuple[CheckRow, ...], outcome: CheckOutcome) -> set[str]:
    return {row.name for row in rows if row.outcome is outcome}


def test_no_two_checks_have_the_same_name() -> None:
    assert len({(check.group, check.name) for check in COMPAREFACE_CHECKS}) == len(COMPAREFACE_CHECKS) > 60


def test_the_page_shows_a_run_of_every_check() -> None:
    page = (HERE / "docs" / "how-to" / "compare-conformance.md").read_text(encoding="utf-8")
    page = page.split("\n## The embedded service, CompareFace")[1].split("\n## ")[0]
    shown = [tuple(line.split(" | ")[1:3]) for line in page.splitlines() if line.startswith("| pass | ")]
    assert shown == [(check.group, check.name) for check in COMPAREFACE_CHECKS]


async def test_the_compare_service_passes_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 60.0)  # as the limits below
    once = account("ONCE", single_use=True)
    # for a machine with other work
    long_limits = {"download_timeout_ms": 15_000, "answer_within_ms": 60_000, "body_timeout_ms": 60_000}
    config = slow_machine_config(download_hosts=("localhost",), **long_limits)
    service = CompareService(config.model_copy(update={"accounts": (*config.accounts, once)}))
    await service.start()
    try:
        rows = await run_checks(base_url(service), photos=True)
        single = await run_checks(base_url(service), "ONCE")
    finally:
        await service.stop()
    assert [row for row in rows if row.outcome is not CheckOutcome.PASS] == []
    assert len(rows) == len(COMPAREFACE_CHECKS)
    assert names(single, CheckOutcome.DIFFERS) == set()
    assert "the same signature twice (multi-use)" in names(single, CheckOutcome.NOT_OFFERED)
    assert "two urls" in names(single, CheckOutcome.NOT_OFFERED)


async def test_an_endpoint_that_accepts_everything_differs_in_every_refusal_check() -> None:
    async with endpoint(replies(http(SUCCESS))) as server:
        rows = await run_checks(f"http://localhost:{server.port}")
    passed, differs = names(rows, CheckOutcome.PASS), names(rows, CheckOutcome.DIFFERS)
    assert {row.name for row in rows if row.group == "mistake"} <= differs
    assert {"signed with another key", "signed for another body", "ten minutes old"} <= differs
    assert "score falls from same picture to same person to strangers" in differs
    assert {"shape of a success", "two images", "the connection is kept"} <= passed


FACE_2018 = b'{"data":{"similarity":91.5,"session_id":"s1"},"code":0,"message":"OK"}'
BROKEN = [
    pytest.param(replies(http(b"<html>", "502 Bad Gateway")), id="html"),
    pytest.param(replies(http(SUCCESS[:-1])), id="cut short"),
    pytest.param(replies(http(SUCCESS.replace(b"87.25", b"NaN"))), id="nan"),
    pytest.param(replies(http(SUCCESS.replace(b"87.25", b'"87.25"'))), id="text"),
    pytest.param(replies(http(b'{"Response":[]}')), id="list"),
    pytest.param(replies(http(b'{"Response":{"Error":{"Code":7}}}')), id="code"),
    pytest.param(replies(http(FACE_2018)), id="2018"),
]


@pytest.mark.parametrize("script", BROKEN)
async def test_an_endpoint_with_invalid_answers_passes_nothing(script: Play) -> None:
    async with endpoint(script) as server:
        rows = await run_checks(f"http://localhost:{server.port}")
    assert names(rows, CheckOutcome.PASS) == set()
    assert all(row.reason for row in rows)


async def test_an_unreachable_endpoint_is_an_error_without_a_table() -> None:
    with pytest.raises(CompareUnreachable):
        await run_checks("http://127.0.0.1:9")
