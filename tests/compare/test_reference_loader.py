"""The loader of the enrolled photo: allowed hosts, the sha256 check, named errors."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Literal

import pytest

from agent.compare import reference_loader
from agent.compare.reference_loader import ReferenceLoader
from agent.config import CompareConfig
from agent.core.model import Reference
from agent.core.reasons import Reason
from agent.errors import CompareError, Retry
from tests.compare.servers import Play, ReceivedRequest, endpoint, http, replies

JPEG = b"\xff\xd8\xff\xe0 a photo"
SHA = hashlib.sha256(JPEG).hexdigest()


async def resolve(
    reference: Reference, config: dict[str, object], profile: Literal["demo", "shop"] = "demo"
) -> bytes | str:
    loader = ReferenceLoader(CompareConfig.model_validate(config), profile)
    try:
        return await loader.resolve(reference)
    finally:
        await loader.close()


async def fetch(script: Play, *, sha256: str | None = None, **config: object) -> bytes | str:
    async with endpoint(script) as server:
        host = f"localhost:{server.port}"
        reference = Reference(url=f"http://{host}/photo.jpg", sha256=sha256)
        return await resolve(reference, {"reference_hosts": (host,), **config})


async def test_photo_of_an_allowed_host_is_fetched_and_checked() -> None:
    assert await fetch(replies(http(JPEG)), sha256=SHA) == JPEG


async def test_photo_is_not_hashed_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo of 5 MB takes some ten milliseconds on a small processor."""
    threads = set[int]()

    def hashed(content: bytes) -> hashlib._Hash:
        threads.add(threading.get_ident())
        return hashlib.sha1(content, usedforsecurity=False)

    monkeypatch.setattr(reference_loader, "hashlib", SimpleNamespace(sha256=hashed))
    with pytest.raises(CompareError):
        await fetch(replies(http(JPEG)), sha256=SHA)
    assert threads and threading.get_ident() not in threads


async def test_inline_photo_is_checked() -> None:
    assert await resolve(Reference(image=JPEG, sha256=SHA.upper()), {}) == JPEG


async def test_photo_of_exactly_the_largest_size_is_accepted() -> None:
    largest = JPEG.ljust(2_000)
    assert await resolve(Reference(image=largest), {"reference_max_bytes": 2_000}) == largest
    assert await fetch(replies(http(largest)), reference_max_bytes=2_000) == largest
    with pytest.raises(CompareError):
        await resolve(Reference(image=largest), {"reference_max_bytes": 1_999})
    with pytest.raises(CompareError):
        await fetch(replies(http(largest)), reference_max_bytes=1_999)


async def test_passthrough_returns_the_url() -> None:
    url = "https://photos.example/1.jpg"
    assert await resolve(Reference(url=url), {"reference": "passthrough"}, "shop") == url


async def silent(_: ReceivedRequest, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize(
    ("script", "reason", "retry"),
    [
        (replies(http(b"\xff\xd8\xff another face")), Reason.REFERENCE_REFUSED, Retry.NEVER),  # swapped
        (replies(http(b"", "404 Not Found")), Reason.REFERENCE_UNREACHABLE, Retry.NEVER),
        (replies(http(b"", "503 Busy")), Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (
            replies(http(b"", "302 Found", "Location: http://else.example/\r\n")),
            Reason.REFERENCE_UNREACHABLE,
            None,
        ),
        (replies(http(JPEG, headers="Content-Encoding: gzip\r\n")), Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (replies(http(b"\xff\xd8\xff" + b"x" * 5_000)), Reason.REFERENCE_UNUSABLE, Retry.NEVER),
        (silent, Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
        (replies(b"nonsense\r\n\r\n"), Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF),
    ],
)
async def test_failed_download_is_a_named_error(script: Play, reason: Reason, retry: Retry | None) -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(script, sha256=SHA, reference_max_bytes=4_000, reference_timeout_ms=300)
    assert caught.value.code == reason
    assert retry is None or caught.value.retry is retry


async def test_web_page_is_not_a_photo() -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(replies(http(b"<html>login</html>")))
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
async def test_no_other_host_gets_a_request(url: str) -> None:
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
async def test_content_coding_that_changes_no_bytes_is_accepted(coding: str) -> None:
    assert await fetch(replies(http(JPEG, headers=f"Content-Encoding: {coding}\r\n")), sha256=SHA) == JPEG


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "x-gzip", "aws-chunked, gzip", "GZIP"])
async def test_a_compressed_photo_is_refused(coding: str) -> None:
    with pytest.raises(CompareError) as caught:
        await fetch(replies(http(JPEG, headers=f"Content-Encoding: {coding}\r\n")), sha256=SHA)
    assert caught.value.code == Reason.REFERENCE_UNUSABLE


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example:65536/p",
        "https://a.example:0/p",
        "https://xn--a/p",
        "https://[::g]/p",
        "https://a:b/p",
    ],
)
async def test_malformed_url_is_refused_and_never_passed_to_the_api(url: str) -> None:
    made = ReferenceLoader(CompareConfig(reference="passthrough"), "shop")
    with pytest.raises(CompareError) as caught:
        await made.resolve(Reference(url=url))
    assert caught.value.code == Reason.REFERENCE_REFUSED


def chunked(body: bytes) -> bytes:
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk


@pytest.mark.parametrize("answer", [http, chunked])
async def test_photo_that_is_sent_twice_is_not_the_photo_of_the_next_request(
    answer: Callable[[bytes], bytes],
) -> None:
    """The second copy waits in the HTTP parser: it was sent before the next request."""
    other = JPEG + b" of another person"
    async with endpoint(replies(answer(JPEG) * 2), replies(answer(other))) as server:
        host = f"localhost:{server.port}"
        loader = ReferenceLoader(CompareConfig(reference_hosts=(host,)), "demo")
        assert await loader.resolve(Reference(url=f"http://{host}/1.jpg", sha256=SHA)) == JPEG
        second = Reference(url=f"http://{host}/2.jpg", sha256=hashlib.sha256(other).hexdigest())
        try:
            assert await loader.resolve(second) == other
        except CompareError as error:  # a chunked answer does not show that surplus bytes follow
            assert (error.code, error.retry) == (Reason.REFERENCE_UNREACHABLE, Retry.BACKOFF)
        assert await loader.resolve(second) == other
        await loader.close()


async def test_connection_to_the_host_of_the_photos_is_reused() -> None:
    async with endpoint(replies(http(JPEG))) as server:
        host = f"localhost:{server.port}"
        loader = ReferenceLoader(CompareConfig(reference_hosts=(host,)), "demo")
        for _ in range(3):
            assert await loader.resolve(Reference(url=f"http://{host}/1.jpg", sha256=SHA)) == JPEG
        assert server.connections == 1
        await loader.close()
