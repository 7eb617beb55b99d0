"""Rates and used signatures in a real Redis, as two machines of a cluster use it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.compare.contract import ApiFailure
from agent.errors import ConfigError
from agent.service.settings import SharedConfig, load_service
from agent.service.shared_limits import SharedLimits
from tests.service.kit import account, code, files, post, running, sign, slow_machine_config
from tests.service.pictures import photo
from tests.service.program import WAIT_S

REDIS = shutil.which("redis-server")
pytestmark = [
    pytest.mark.long,  # needs a program that only the long stage installs
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed: make haproxy, as root"),
]
SHOT, ENROLLED = photo("obama_podium"), photo("obama_portrait")
DIGEST = bytes(20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], SharedConfig]]:
    address = tmp_path / "redis.sock"
    words = ("--port", "0", "--unixsocket", str(address), "--save", "", "--requirepass", "a password")
    with (tmp_path / "redis.log").open("wb") as log:
        process = subprocess.Popen([str(REDIS), *words, "--dir", str(tmp_path)], stdout=log, stderr=log)
    until = time.monotonic() + WAIT_S
    while not address.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    password = tmp_path / "password"
    password.write_text("a password\n")
    try:
        yield process, SharedConfig(url=f"unix://{address}", password_file=password, timeout_ms=2_000)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(WAIT_S)


@asynccontextmanager
async def machines_of(config: SharedConfig, count: int = 1) -> AsyncIterator[list[SharedLimits]]:
    machines = [SharedLimits(config) for _ in range(count)]
    try:
        yield machines
    finally:
        for each in machines:
            await each.close()


async def outcome(
    limits: SharedLimits, *, digest: bytes = DIGEST, left_s: int = 60, **values: Any
) -> tuple[int, str]:
    try:
        await limits.take(account("ONCE", **values), digest, int(time.time()) + left_s, time.time())
    except ApiFailure as failure:
        return failure.api_code, str(failure.cause)
    return 0, ""


async def test_a_signature_is_used_once_on_all_machines(store: tuple[object, SharedConfig]) -> None:
    async with machines_of(store[1], 2) as machines:
        tries = await asyncio.gather(*(outcome(each, single_use=True) for each in machines * 10))
        assert sorted(tries) == [(0, ""), *[(13, "")] * 19]
        assert await outcome(machines[0], digest=bytes(19) + b"1", single_use=True) == (0, "")
        assert await outcome(machines[1]) == (0, ""), "an account without single use"


async def test_a_machine_whose_clock_is_behind_accepts_no_signature_twice(
    store: tuple[object, SharedConfig],
) -> None:
    """The signature has not expired by the clock of the machine, but by that of the store."""
    async with machines_of(store[1]) as (limits,):
        tries = [await outcome(limits, single_use=True, left_s=-30) for _ in range(3)]
        assert tries == [(9, "expired")] * 3
        assert await outcome(limits, left_s=-30) == (0, ""), "without single use nothing is kept"


async def test_an_account_has_its_rate_on_all_machines_together(store: tuple[object, SharedConfig]) -> None:
    async with machines_of(store[1], 2) as machines:
        tries = await asyncio.gather(*(outcome(each, rate_per_s=0.001, burst=5) for each in machines * 10))
    assert sorted(tries) == [*[(0, "")] * 5, *[(15, "account_rate")] * 15]


async def test_a_refused_call_uses_neither_a_token_nor_the_signature(
    store: tuple[object, SharedConfig],
) -> None:
    async with machines_of(store[1]) as (limits,):
        once: dict[str, Any] = {"single_use": True, "rate_per_s": 0.001, "burst": 2}
        assert await outcome(limits, **once) == (0, "")
        assert await outcome(limits, **once) == (13, "")
        assert await outcome(limits, digest=b"2" * 20, **once) == (0, ""), "the repeated one used no token"
        assert await outcome(limits, digest=b"3" * 20, **once) == (15, "account_rate")
        assert await outcome(limits, digest=b"3" * 20, **{**once, "burst": 9, "rate_per_s": 9_000}) == (0, "")


async def test_tokens_come_back_at_the_rate(store: tuple[object, SharedConfig]) -> None:
    async with machines_of(store[1]) as (limits,):
        assert await outcome(limits, rate_per_s=0.5, burst=1) == (0, "")
        assert await outcome(limits, rate_per_s=0.5, burst=1) == (15, "account_rate")
        async with asyncio.timeout(WAIT_S):
            while await outcome(limits, rate_per_s=0.5, burst=1) != (0, ""):  # noqa: ASYNC110 - real time
                await asyncio.sleep(0.05)


async def test_a_store_without_an_answer_refuses_and_comes_back(
    store: tuple[subprocess.Popen[bytes], SharedConfig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    process, config = store
    async with machines_of(config.model_copy(update={"timeout_ms": 200})) as (limits,):
        process.send_signal(signal.SIGSTOP)
        assert await outcome(limits) == (15, "shared_store")
        assert await outcome(limits) == (15, "shared_store")
        process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(WAIT_S):
            while await outcome(limits) != (0, ""):
                pass
        process.kill()
        process.wait(WAIT_S)
        assert await outcome(limits) == (15, "shared_store")
    levels = [record.levelname for record in caplog.records if record.msg == "shared_store"]
    assert levels == ["ERROR", "INFO", "ERROR"]


async def test_a_wrong_password_refuses(store: tuple[object, SharedConfig], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another")
    async with machines_of(store[1]) as (limits,):
        assert await outcome(limits) == (15, "shared_store")


def test_two_services_accept_a_single_use_signature_once(store: tuple[object, SharedConfig]) -> None:
    config = slow_machine_config(shared=store[1], accounts=(account("ONCE", single_use=True),))
    header = sign(secret_id="ONCE")
    with running(config) as first, running(config) as second:
        assert code(post(first, authorization=header, **files(SHOT, ENROLLED))) == (0, None)
        assert code(post(second, authorization=header, **files(SHOT, ENROLLED))) == (13, None)


@pytest.mark.parametrize("url", ["redis://u:p@h/0", "redis://h/0?password=p", "http://h/", "h:6379"])
def test_a_url_with_a_password_or_of_another_kind_is_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "service.toml"
    path.write_text(f'[shared]\nurl = "{url}"\n')
    with pytest.raises(ConfigError, match=r"shared\.url") as caught:
        load_service(path)
    assert "u:p" not in str(caught.value) and "=p" not in str(caught.value)
