"""The public third-party client of the 2018 API (PyPI ``qcloud_image``) against this service.

Only the host is overridden. The tests cover files, buffers, urls and every combination.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.kits.compare.images import Pictures, served
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.service.kit import APPID, BUCKET, SECRET_ID, running, slow_machine_config
from tests.service.pictures import photo, plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the package is from 2017
    import qcloud_image
    from qcloud_image.conf import Conf

# the client leaves sent files for the garbage collector to close
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SHOT, PHOTO, OTHER_PERSON = photo("obama_podium"), photo("obama_portrait"), photo("biden_portrait")
KINDS = ("file", "buffer", "url")


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    with running(slow_machine_config(download_hosts=("localhost",))) as made:
        yield made


@pytest.fixture
def third_party(service: CompareService, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client, connected to this service. The Host header still names the old service."""
    monkeypatch.setattr(Conf, "_Conf__SERVICE_ADDR", service.url.split("/")[2])
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)  # its HTTP library uses these variables
    return qcloud_image.Client(APPID, SECRET_ID, EXAMPLE_SECRET.decode(), BUCKET)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Each image in each type of the client."""
    sides: dict[str, Any] = {}
    for name, picture in (("shot", SHOT), ("reference", PHOTO)):
        path = tmp_path / f"{name} 照片.jpg"
        path.write_bytes(picture)
        sides |= {
            f"{name} file": qcloud_image.CIFile(str(path)),
            f"{name} buffer": qcloud_image.CIBuffer(picture),
        }
    return sides


async def compare(client: Any, first: Any, second: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncio.to_thread(client.face_compare, first, second)
    return answer


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
async def test_every_combination_of_files_buffers_and_urls(
    third_party: Any, given: dict[str, Any], first: str, second: str
) -> None:
    async with served(Pictures.shipped()) as base:
        for name in ("shot", "reference"):
            given[f"{name} url"] = qcloud_image.CIUrl(f"{base}/{name}")
        answer = await compare(third_party, given[f"shot {first}"], given[f"reference {second}"])
    assert (answer["code"], answer["message"], answer["httpcode"]) == (0, "OK", 200)
    assert answer["data"]["similarity"] > 85


async def test_another_person_has_a_low_similarity(third_party: Any) -> None:
    answer = await compare(third_party, qcloud_image.CIBuffer(OTHER_PERSON), qcloud_image.CIBuffer(PHOTO))
    assert answer["code"] == 0
    assert answer["data"]["similarity"] < 70


async def test_failures_are_decoded_by_the_client(third_party: Any, service: CompareService) -> None:
    faceless = qcloud_image.CIBuffer(plain(300, 300))
    answer = await compare(third_party, qcloud_image.CIBuffer(SHOT), faceless)
    assert (answer["code"], answer["data"]["fail_flag"]) == (-1101, 2)
    assert answer["message"] == "SDK_IMAGE_FACEDETECT_FAILED"
    forger = qcloud_image.Client(APPID, SECRET_ID, "guessed", BUCKET)
    assert (await compare(forger, qcloud_image.CIBuffer(SHOT), faceless))["code"] == 14
