"""Downloads of photo urls by the service, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from agent.service.compare_service import CompareService
from tests.compare.servers import Play, ReceivedRequest, endpoint, http, replies
from tests.service.kit import APPID, client, code, post, running, slow_machine_config
from tests.service.pictures import photo, plain

OBAMA, PODIUM = photo("obama_portrait"), photo("obama_podium")


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    """With the limits of a machine with other work."""
    long_limits = {"download_timeout_ms": 15_000, "answer_within_ms": 60_000}
    with running(
        slow_machine_config(download_hosts=("localhost",), body_max_bytes=500_000, **long_limits)
    ) as made:
        yield made


async def compare(service: CompareService, **request: Any) -> dict[str, Any]:
    return await asyncio.to_thread(post, service, **request)


async def test_two_urls_as_json(service: CompareService) -> None:
    async with endpoint(replies(http(PODIUM))) as first, endpoint(replies(http(OBAMA))) as second:
        urls = {"urlA": first.url() + "/a", "urlB": second.url() + "/b"}
        answer = await compare(service, json={"appid": APPID, **urls})
    assert answer["code"] == 0
    assert answer["data"]["similarity"] > 85


async def test_two_urls_as_multipart_and_a_file_with_a_url(service: CompareService) -> None:
    async with endpoint(replies(http(PODIUM))) as first, endpoint(replies(http(OBAMA))) as second:
        parts = {"appid": (None, APPID), "urlA": (None, first.url()), "urlB": ("urlB", second.url())}
        assert (await compare(service, files=parts))["data"]["similarity"] > 85
        mixed = {"appid": (None, APPID), "imageA": ("a", PODIUM), "urlB": (None, second.url())}
        assert (await compare(service, files=mixed))["data"]["similarity"] > 85


async def test_client_of_this_package_sends_a_url(service: CompareService) -> None:
    async with endpoint(replies(http(OBAMA))) as photos:
        api = client(service.url)
        assert (await api.compare(PODIUM, photos.url(), timeout_ms=20_000)).similarity > 85
        await api.close()


async def slow(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (replies(http(b"", "404 Not Found")), -1403),
        (replies(http(b"\xff" * 600_000)), -1408),
        (replies(http(b"<html>no picture</html>")), -1400),
        (replies(http(b"")), -1300),
        (replies(http(plain(200, 200))), -1101),
        (replies(http(b"", "302 Found", "Location: http://169.254.169.254/\r\n")), -1308),
    ],
)
@pytest.mark.parametrize("flag", [1, 2])
async def test_failed_download_has_its_code_and_flag(
    service: CompareService, script: Play, expected: int, flag: int
) -> None:
    async with endpoint(replies(http(OBAMA))) as good, endpoint(script) as bad:
        sides = (bad, good) if flag == 1 else (good, bad)
        urls = {"urlA": sides[0].url(), "urlB": sides[1].url()}
        assert code(await compare(service, json={"appid": APPID, **urls})) == (expected, flag)


@pytest.fixture
def hasty() -> Iterator[CompareService]:
    with running(slow_machine_config(download_hosts=("localhost",), download_timeout_ms=700)) as made:
        yield made


async def test_download_that_does_not_end_has_its_code_and_flag(hasty: CompareService) -> None:
    async with endpoint(slow) as silent:
        for number, picture in ((1, "urlA"), (2, "urlB")):
            images = {"imageA": ("a", PODIUM), "imageB": ("b", OBAMA)}
            del images[picture.replace("url", "image")]
            answer = await compare(
                hasty, files={"appid": (None, APPID), picture: (None, silent.url())} | images
            )
            assert code(answer) == (-1506, number)
