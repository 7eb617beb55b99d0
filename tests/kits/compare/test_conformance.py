"""The conformance kit against real endpoints: a correct service passes, every fault is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.errors import CompareUnreachable, ConfigError
from agent.kits.compare import CHECKS, run
from agent.kits.compare.images import Pictures, padded, served
from agent.kits.compare.probe import Account, CheckOutcome, CheckRow, Probe, RequestBody
from agent.service.compare_service import CompareService
from agent.service.image_decoder import decode
from agent.service.settings import EXAMPLE_SECRET
from tests.compare.servers import SUCCESS, Play, ReceivedRequest, endpoint, http, replies
from tests.service.kit import APPID, BUCKET, SECRET_ID, account, running, slow_machine_config

ACCOUNT = Account(APPID, SECRET_ID, EXAMPLE_SECRET, BUCKET)


async def run_checks(
    url: str, account_used: Account = ACCOUNT, *, photos: bool = False
) -> tuple[CheckRow, ...]:
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(served(Pictures.shipped())) if photos else None
        probe = Probe(url, account_used, photos_url=address)
        stack.push_async_callback(probe.close)
        return await run(probe)


def names(rows: tuple[CheckRow, ...], outcome: CheckOutcome) -> set[str]:
    return {row.name for row in rows if row.outcome is outcome}


def test_no_two_checks_have_the_same_name() -> None:
    assert len({(check.group, check.name) for check in CHECKS}) == len(CHECKS) > 70


def test_the_page_shows_a_run_of_every_check() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "compare-conformance.md").read_text(
        encoding="utf-8"
    )
    page = page.split("\n## The embedded service\n")[1].split("\n## ")[0]
    shown = [tuple(line.split(" | ")[1:3]) for line in page.splitlines() if line.startswith("| pass | ")]
    assert shown == [(check.group, check.name) for check in CHECKS]


def test_the_shipped_images_have_the_named_properties() -> None:
    pictures = Pictures.shipped()
    assert (decode(pictures.bmp) == decode(pictures.png)).all()
    assert decode(pictures.rotated).shape == decode(pictures.png).shape
    large = padded(pictures.shot, 1_000_000)
    assert 1_000_000 <= len(large) < 1_100_000
    assert (decode(large) == decode(pictures.shot)).all()


async def test_the_compare_service_passes_every_check() -> None:
    service = CompareService(slow_machine_config(download_hosts=("localhost",)))
    await service.start()
    try:
        rows = await run_checks(service.url, photos=True)
    finally:
        await service.stop()
    assert [row for row in rows if row.outcome is not CheckOutcome.PASS] == []
    assert len(rows) == len(CHECKS)


@pytest.fixture(scope="module")
def unusual() -> Iterator[CompareService]:
    """No downloads from this machine; one account has no buckets, one accepts each signature once."""
    accounts = (account("NOBUCKET", rate_per_s=1_000), account("ONCE", single_use=True, rate_per_s=1_000))
    with running(slow_machine_config(accounts=accounts)) as service:
        yield service


@pytest.mark.parametrize(
    ("secret_id", "missing"),
    [
        ("NOBUCKET", {"unknown bucket", "text parts with a file name, images without a type"}),
        ("ONCE", {"the same signature twice (multi-use)"}),
    ],
)
async def test_a_missing_feature_is_not_a_difference(
    unusual: CompareService, secret_id: str, missing: set[str]
) -> None:
    rows = await run_checks(unusual.url, Account(APPID, secret_id, EXAMPLE_SECRET), photos=True)
    assert names(rows, CheckOutcome.DIFFERS) == set()
    not_offered = names(rows, CheckOutcome.NOT_OFFERED)
    assert missing <= not_offered
    assert {"two urls as JSON", "a file and a url", "the url wins over the image"} <= not_offered


async def test_an_endpoint_that_accepts_everything_differs_in_every_refusal_check() -> None:
    async with endpoint(replies(http(SUCCESS))) as server:
        rows = await run_checks(server.url())
    passed, differs = names(rows, CheckOutcome.PASS), names(rows, CheckOutcome.DIFFERS)
    assert {row.name for row in rows if row.group == "mistake"} <= differs
    assert {"signed with another key", "expired", "no Authorization header", "unknown appid"} <= differs
    assert "similarity falls from same picture to same person to strangers" in differs
    assert "a dead url wins over a good image" in differs
    assert {"shape of a success", "two files, as the page shows them", "the connection is kept"} <= passed


async def hang_up(_: ReceivedRequest, writer: asyncio.StreamWriter) -> None:
    writer.close()
    raise ConnectionError


BROKEN = [
    pytest.param(replies(http(b"<html>", "502 Bad Gateway")), id="html"),
    pytest.param(replies(http(SUCCESS[:-1])), id="cut short"),
    pytest.param(replies(http(SUCCESS.replace(b"91.5", b"NaN"))), id="nan"),
    pytest.param(replies(http(SUCCESS.replace(b"91.5", b'"91.5"'))), id="text"),
    pytest.param(replies(http(SUCCESS.replace(b"91.5", b"true"))), id="bool"),
    pytest.param(replies(http(b"[]")), id="list"),
    pytest.param(replies(http(b'{"code":true,"data":[]}')), id="types"),
    pytest.param(replies(http(b"[" * 50_000)), id="deep"),
    pytest.param(replies(http(b" " * 70_000)), id="long"),
]


@pytest.mark.parametrize("script", BROKEN)
async def test_an_endpoint_with_invalid_answers_passes_nothing(script: Play) -> None:
    async with endpoint(script) as server:
        rows = await run_checks(server.url())
    assert names(rows, CheckOutcome.PASS) == set()
    assert all(row.reason for row in rows)


async def test_an_endpoint_that_stops_answering_differs_from_there_on() -> None:
    async with endpoint(replies(http(SUCCESS)), replies(http(SUCCESS)), hang_up) as server:
        rows = await run_checks(server.url())
    assert rows[0].outcome is CheckOutcome.PASS
    assert "no answer" in rows[-1].reason


async def test_a_rate_limited_request_is_repeated() -> None:
    async with endpoint(
        replies(http(b'{"code":15,"message":"","data":{}}')), replies(http(SUCCESS))
    ) as server:
        probe = Probe(server.url(), ACCOUNT)
        answer = await probe.send(RequestBody(b"{}", "application/json"))
        await probe.close()
    assert (answer.code, len(server.posts)) == (0, 2)
    assert server.posts[0].headers["authorization"] != server.posts[1].headers["authorization"]


async def test_an_unreachable_endpoint_is_an_error_without_a_table() -> None:
    with pytest.raises(CompareUnreachable):
        await run_checks("http://127.0.0.1:9/face/compare")


@pytest.mark.parametrize("url", ["ftp://a.example/", "https://", "https://a.example:port/"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        Probe(url, ACCOUNT)


def test_the_key_is_in_no_text_of_the_account() -> None:
    assert EXAMPLE_SECRET.decode() not in repr(ACCOUNT)
