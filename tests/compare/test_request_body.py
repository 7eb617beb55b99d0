"""The multipart body of the 2018 client is the one that httpx makes from the same fields."""

from __future__ import annotations

import httpx
import pytest

from agent.compare.face2018_client import FaceCompare2018
from agent.core.ports import ImageSource
from tests.compare.test_client import config
from tests.compare.vectors import ACCOUNT, SECRET
from tests.fakes import RealClock

PICTURE = bytes(range(256)) * 300
URL = 'https://photos.example/人/a%20b.jpg?x="1"&y=2'


@pytest.mark.parametrize(
    "first, second", [(PICTURE, b"other"), (PICTURE, URL), (URL, PICTURE), (b"", PICTURE)]
)
async def test_multipart_body_is_that_of_httpx(first: ImageSource, second: ImageSource) -> None:
    client = FaceCompare2018(config("http://127.0.0.1:9/face/compare"), SECRET, RealClock(), profile="demo")
    request = client._provider._request(first, second)
    fields, files = {"appid": ACCOUNT["appid"], "bucket": ACCOUNT["bucket"]}, {}
    for side, image, url in ((first, "imageA", "urlA"), (second, "imageB", "urlB")):
        if isinstance(side, str):
            fields[url] = side
        else:
            files[image] = (f"{image}.jpg", side, "image/jpeg")
    kind = request.headers["content-type"]
    expected = httpx.Request("POST", request.url, data=fields, files=files, headers={"Content-Type": kind})
    assert request.read() == expected.read()
    assert request.headers["content-length"] == expected.headers["content-length"]
    assert len(kind.partition("boundary=")[2]) == 32
    await client.close()
