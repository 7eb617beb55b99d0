"""Thousands of hostile requests: no crash, no 5xx, no logged bug, bounded memory."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import socket

import httpx
import pytest

from agent.compare.codes import table
from agent.service.compare_service import CompareService
from tests.service.kit import APPID, account, files, post, running, sign, slow_machine_config
from tests.service.pictures import bomb_png, photo, plain

GARBAGE_CONNECTIONS = 300
SEED = 20_180_613
PICTURES = (
    b"",
    b"GIF89a",
    b"BM",
    b"\xff\xd8\xff",
    bomb_png(30_000, 30_000),
    plain(20, 20),
    photo("collins_portrait")[:900],
)
TYPES = ("multipart/form-data; boundary=XX", "application/json", "multipart/form-data", "text/plain", "")
HEADS = (
    'Content-Disposition: form-data; name="imageA"',
    'Content-Disposition: form-data; name="imageB"; filename="b.jpg"\r\nContent-Type: image/jpeg',
    "Content-Disposition: form-data; name=appid",
    'Content-Disposition: form-data; name="urlB"',
    "Content-Disposition",
    "X: " + "y" * 3_000,
)
TEXTS = (
    APPID.encode(),
    b"http://127.0.0.1/",
    b"http://[::1]:1/",
    b"ftp://x",
    b"\xff\xfe",
    b"\0",
    b"x" * 3_000,
)


# without mutation, because too few random requests have this fault
EMPTY_PICTURE = (
    b"--XX\r\nContent-Disposition: form-data; name=appid\r\n\r\n" + APPID.encode() + b"\r\n"
    b'--XX\r\nContent-Disposition: form-data; name="imageA"; filename="a.jpg"\r\n\r\n\r\n--XX--\r\n'
)


def mutated(raw: bytes, dice: random.Random) -> bytes:
    """Replace, remove, repeat or insert a few bytes."""
    data = bytearray(raw)
    for _ in range(dice.randint(0, 4)):
        at = dice.randint(0, len(data))
        match dice.randint(0, 3):
            case 0:
                data[at : at + 1] = dice.randbytes(1)
            case 1:
                del data[at : at + dice.randint(1, 30)]
            case 2:
                data[at:at] = data[at : at + dice.randint(1, 30)]
            case _:
                data[at:at] = dice.choice((b"\r\n", b"--XX", b"--XX--", b"{", b'"', b"\0"))
    return bytes(data)


def body(dice: random.Random) -> bytes:
    if dice.random() < 0.3:
        return mutated(b'{"appid":"%s","urlA":"http://127.0.0.1/a","urlB":"x"}' % APPID.encode(), dice)
    parts = [
        f"--XX\r\n{dice.choice(HEADS)}\r\n\r\n".encode() + dice.choice(PICTURES + TEXTS) + b"\r\n"
        for _ in range(dice.randint(0, 5))
    ]
    return mutated(b"".join(parts) + b"--XX--\r\n", dice)


def authorization(dice: random.Random, good: str) -> str:
    if dice.random() < 0.7:
        return good
    if dice.random() < 0.05:
        return ""
    return mutated(good.encode(), dice).decode("latin-1").translate(dict.fromkeys(range(32), "x")).strip()


async def attack(url: str, requests: int, seed: int) -> set[int]:
    dice, good, codes = random.Random(seed), sign(), set[int]()
    async with httpx.AsyncClient(trust_env=False, timeout=30, verify=False) as http:
        for _ in range(requests):
            headers = {
                b"Authorization": authorization(dice, good).encode("latin-1"),
                b"Content-Type": dice.choice(TYPES).encode(),
            }
            response = await http.post(url, content=body(dice), headers=headers)
            assert response.status_code == 200
            codes.add(response.json()["code"])
        whole = {"Authorization": good, "Content-Type": TYPES[0]}
        codes.add((await http.post(url, content=EMPTY_PICTURE, headers=whole)).json()["code"])
    return codes


async def send_garbage(url: str, seed: int) -> None:
    dice = random.Random(seed)
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(mutated(b"POST /face/compare HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" * 2, dice))
    if writer.can_write_eof():
        writer.write_eof()
    try:
        answer = await asyncio.wait_for(reader.read(), 60)
        assert b"HTTP/1.1 5" not in answer
    except ConnectionError:
        pass  # the service may close the connection
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> CompareService:
    resolve = socket.getaddrinfo

    def numbers_only(host: str, port: int, *_: object, **__: object) -> object:
        return resolve(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", numbers_only)  # no DNS request
    rich = account("AKIDEXAMPLEEXAMPLEEXAMPLE", rate_per_s=10_000, burst=10_000)
    return CompareService(slow_machine_config(accounts=(rich,), body_timeout_ms=2_000))


@pytest.mark.parametrize(
    "requests",
    [1_000, pytest.param(10_000, marks=pytest.mark.long(reason="20 s of CPU; the short run shows the same"))],
)
async def test_hostile_requests_leave_the_service_as_it_was(
    service: CompareService, caplog: pytest.LogCaptureFixture, requests: int
) -> None:
    caplog.set_level(logging.ERROR)
    await service.start()
    await attack(service.url, 500, SEED)  # fills pools and caches before memory is compared
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = await asyncio.gather(*(attack(service.url, requests // 4, SEED + n) for n in range(1, 5)))
    for seed in range(GARBAGE_CONNECTIONS):
        await send_garbage(service.url, seed)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    answer = await asyncio.to_thread(post, service, **files(photo("obama_podium"), photo("obama_portrait")))
    await service.stop()
    assert answer["data"]["similarity"] > 85
    codes = set.union(*found)
    assert codes <= table().keys() - {213}
    assert {4, 5, 14, 21, -1300, -1301, -1308} <= codes, "the requests no longer reach the checks"
    assert not caplog.records
    assert grown_kb < 50_000


def test_requests_of_a_seed_are_reproducible() -> None:
    assert [body(random.Random(1)) for _ in range(2)] == [body(random.Random(1)) for _ in range(2)]
    with running(slow_machine_config()):
        pass
