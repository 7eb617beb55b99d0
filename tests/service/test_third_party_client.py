"""A public client of the 2018 API that no one here wrote (PyPI ``qcloud_image``) talks to our service.

Its host is overridden and nothing else: files, buffers, urls and every mixture of them.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kits.compare.image_server import served
from agent.kits.compare.images import Pictures
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.service.kit import APPID, BUCKET, SECRET_ID, running, shipped
from tests.service.pictures import photo, plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of a package of 2017
    import qcloud_image
    from qcloud_image.conf import Conf

# it leaves the files it sends for the garbage collector to close
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SHOT, PHOTO, STRANGER = photo("obama_podium"), photo("obama_portrait"), photo("biden_portrait")
KINDS = ("file", "buffer", "url")


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(shipped(download_hosts=("localhost",))) as made:
        yield made


@pytest.fixture
def stranger(service: CompareService, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client, connecting to our service. It still says the old service's name in its Host header."""
    monkeypatch.setattr(Conf, "_Conf__SERVICE_ADDR", service.url.split("/")[2])
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)  # its HTTP library believes them
    return qcloud_image.Client(APPID, SECRET_ID, EXAMPLE_SECRET.decode(), BUCKET)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Each side in each of the client's own types."""
    sides: dict[str, Any] = {}
    for name, picture in (("shot", SHOT), ("reference", PHOTO)):
        path = tmp_path / f"{name} 照片.jpg"
        path.write_bytes(picture)
        sides |= {
            f"{name} file": qcloud_image.CIFile(str(path)),
            f"{name} buffer": qcloud_image.CIBuffer(picture),
        }
    return sides


async def ask(client: Any, first: Any, second: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncio.to_thread(client.face_compare, first, second)
    return answer


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
async def test_every_mixture_of_files_buffers_and_urls(
    stranger: Any, given: dict[str, Any], first: str, second: str
) -> None:
    async with served(Pictures.shipped()) as base:
        for name in ("shot", "reference"):
            given[f"{name} url"] = qcloud_image.CIUrl(f"{base}/{name}")
        answer = await ask(stranger, given[f"shot {first}"], given[f"reference {second}"])
    assert (answer["code"], answer["message"], answer["httpcode"]) == (0, "OK", 200)
    assert answer["data"]["similarity"] > 85


async def test_it_tells_strangers_apart(stranger: Any) -> None:
    answer = await ask(stranger, qcloud_image.CIBuffer(STRANGER), qcloud_image.CIBuffer(PHOTO))
    assert answer["code"] == 0
    assert answer["data"]["similarity"] < 70


async def test_it_reads_our_failures(stranger: Any, service: CompareService) -> None:
    nobody = qcloud_image.CIBuffer(plain(300, 300))
    answer = await ask(stranger, qcloud_image.CIBuffer(SHOT), nobody)
    assert (answer["code"], answer["data"]["fail_flag"]) == (-1101, 2)
    assert answer["message"] == "SDK_IMAGE_FACEDETECT_FAILED"
    forger = qcloud_image.Client(APPID, SECRET_ID, "guessed", BUCKET)
    assert (await ask(forger, qcloud_image.CIBuffer(SHOT), nobody))["code"] == 14
