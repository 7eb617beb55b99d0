"""The enrolled photo: who may be asked for it, and how the till can be sure it is the right one."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Literal

import pytest

from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry
from tests.compare.servers import Asked, Play, endpoint, http, says

JPEG = b"\xff\xd8\xff\xe0 a photo"
SHA = hashlib.sha256(JPEG).hexdigest()


async def resolve(
    wanted: Reference, config: dict[str, object], profile: Literal["demo", "shop"] = "demo"
) -> bytes | str:
    store = ReferenceLoader(CompareConfig.model_validate(config), profile)
    try:
        return await store.resolve(wanted)
    finally:
        await store.close()


async def fetch(script: Play, *, sha256: str | None = None, **config: object) -> bytes | str:
    async with endpoint(script) as server:
        host = f"localhost:{server.port}"
        reference = Reference(url=f"http://{host}/photo.jpg", sha256=sha256)
        return await resolve(reference, {"reference_hosts": (host,), **config})


async def test_a_photo_of_an_allowed_host_is_fetched_and_checked() -> None:
    assert await fetch(says(http(JPEG)), sha256=SHA) == JPEG


async def test_an_inline_photo_is_checked_too() -> None:
    assert await resolve(Reference(image=JPEG, sha256=SHA.upper()), {}) == JPEG


async def test_passing_the_url_on_is_a_setting() -> None:
    url = "https://photos.example/1.jpg"
    assert await resolve(Reference(url=url), {"reference": "passthrough"}, "shop") == url


async def silent(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "reason", "retry"),
    [
        (says(http(b"\xff\xd8\xff another face")), Reason.REFERENCE_REFUSED, Retry.NEVER),  # swapped
        (says(http(b"", "404 Not Found")), Reason.REFERENCE_UNREACHABLE, Retry.NEVER),
        (says(http(b"", "503 Busy")), Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (
            says(http(b"", "302 Found", "Location: http://else.example/\r\n")),
            Reason.REFERENCE_UNREACHABLE,
            None,
        ),
        (says(http(JPEG, headers="Content-Encoding: gzip\r\n")), Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (says(http(b"\xff\xd8\xff" + b"x" * 5_000)), Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (silent, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (says(b"nonsense\r\n\r\n"), Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
    ],
)
async def test_a_download_that_fails_has_a_name(script: Play, reason: Reason, retry: Retry | None) -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(script, sha256=SHA, reference_max_bytes=4_000, reference_timeout_ms=300)
    assert caught.value.code == reason
    assert retry is None or caught.value.retry is retry


async def test_a_web_page_is_no_photo() -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(says(http(b"<html>login</html>")))
    assert caught.value.code == Reason.REFERENCE_UNUSABLE


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/1.jpg",
        "https://photos.example.evil.example/1.jpg",
        "https://photos.example:8443/1.jpg",
        "https://photos.example@evil.example/1.jpg",
        "https://user:pass@photos.example/1.jpg",
        "http://photos.example/1.jpg",  # plain http in a shop
        "file:///etc/passwd",
        "//photos.example/1.jpg",
        "",
        "https://photos.example/" + "x" * 2_100,
        "https://[bad/",
    ],
)
async def test_no_other_host_is_ever_asked(url: str) -> None:
    with pytest.raises(CompareError) as caught:
        await resolve(Reference(url=url), {"reference_hosts": ("photos.example",)}, "shop")
    assert (caught.value.code, caught.value.retry) == (Reason.REFERENCE_REFUSED, Retry.NEVER)


async def test_without_an_allow_list_only_inline_photos_work() -> None:
    with pytest.raises(CompareError) as caught:
        await resolve(Reference(url="https://photos.example/1.jpg"), {})
    assert caught.value.code == Reason.REFERENCE_REFUSED


@pytest.mark.parametrize(
    "coding", ["aws-chunked", "none", "identity", "", "IDENTITY", "aws-chunked,identity"]
)
async def test_a_label_that_changes_no_bytes_leaves_the_judgement_to_the_sha256(coding: str) -> None:
    assert await fetch(says(http(JPEG, headers=f"Content-Encoding: {coding}\r\n")), sha256=SHA) == JPEG


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "x-gzip", "aws-chunked, gzip", "GZIP"])
async def test_a_compressed_photo_is_refused(coding: str) -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(says(http(JPEG, headers=f"Content-Encoding: {coding}\r\n")), sha256=SHA)
    assert caught.value.code == Reason.REFERENCE_UNUSABLE
