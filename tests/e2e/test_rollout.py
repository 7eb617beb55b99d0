"""Config bundles on a running terminal with the commands of an operator; a loop restarts the agent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.messages.signing import Signer
from tests.e2e.agents import BUSY_S, ENROLLED, LONG_TTL_MS, Place, running, status_with, till_of
from tests.e2e.test_keys import facepay


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Path]:
    key = Signer.generate()
    key.save(tmp_path / "operator.key")
    (tmp_path / "operator.pem").write_bytes(key.public.pem())
    yield tmp_path / "operator.key"


async def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(facepay, *arguments)


async def packed(config: Path, operator: Path, number: int, *changes: tuple[str, str]) -> Path:
    text = config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file, made = config.with_name(f"next-{number}.toml"), config.with_name(f"bundle-{number}.json")
    file.write_text(text)
    done = await command("config", "pack", file, "--key", operator, "--number", str(number), "--ring", "all",
                         "--output", made)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


@asynccontextmanager
async def kept_alive(config: Path) -> AsyncIterator[None]:
    """Restart the agent 0.2 s after each end, as systemd does."""
    stop = asyncio.Event()

    async def keep() -> None:
        while not stop.is_set():
            async with running(config) as agent:
                while agent.process.poll() is None and not stop.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    task = asyncio.create_task(keep())
    try:
        async with asyncio.timeout(BUSY_S):
            while (await command("status", "--config", config)).returncode > 2:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        yield
    finally:
        stop.set()
        with contextlib.suppress(AssertionError, TimeoutError):
            await task


async def test_safe_bundle_is_applied_without_a_restart(place: Place, operator: Path) -> None:
    config = place.config("one_obama_podium", "[guard]\nfailures = 5\n")
    pinned = await command("config", "trust", operator.with_suffix(".pem"), "--config", config)
    assert "ring all" in pinned.stdout
    made = await packed(config, operator, 12, ("failures = 5", "failures = 4"))
    async with running(config) as agent, till_of(place) as (till, _):
        await till.online()
        done = await command("config", "apply", made, "--config", config, "--json")
        assert json.loads(done.stdout) == {
            "outcome": "in force",
            "number": 12,
            "changed": ["guard.failures"],
            "note": "",
            "note_zh": "",
        }
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        back = await command("config", "rollback", "--config", config)
        assert back.returncode == 0 and "bundle 12: rolled back" in back.stdout, back
        assert load(config, Config).guard.failures == 5 and agent.process.poll() is None


async def test_a_bundle_that_needs_a_restart_gets_one(place: Place, operator: Path) -> None:
    config = place.config("empty")
    await command("config", "trust", operator.with_suffix(".pem"), "--config", config)
    made = await packed(config, operator, 2, ("[mqtt]", "[mqtt]\nkeepalive_s = 20"))
    async with kept_alive(config):
        before = (await status_with(place, bool))["pid"]
        done = await command("config", "apply", made, "--config", config)
        assert done.returncode == 0 and "mqtt.keepalive_s" in done.stdout, done
        assert (await status_with(place, bool))["pid"] != before


async def test_a_bundle_that_loses_the_broker_is_rolled_back(place: Place, operator: Path) -> None:
    config = place.config("empty")
    before = config.read_text()
    await command("config", "trust", operator.with_suffix(".pem"), "--config", config)
    made = await packed(config, operator, 2, (f"port = {place.broker.port}", "port = 1"))
    async with kept_alive(config), till_of(place) as (till, _):
        await till.online()
        done = await command("config", "apply", made, "--config", config, "--within", "15")
        assert done.returncode == 1 and done.stderr.startswith("bundle_rolled_back"), done
        assert config.read_text() == before
        status = await command("status", "--config", config, "--json")
        assert json.loads(status.stdout)["mqtt"]["connected"]


async def test_a_forged_bundle_does_not_reach_the_agent(place: Place, operator: Path, tmp_path: Path) -> None:
    config = place.config("empty")
    before = config.read_text()
    await command("config", "trust", operator.with_suffix(".pem"), "--config", config)
    Signer.generate().save(tmp_path / "forger.key")
    made = await packed(config, tmp_path / "forger.key", 2, ("[mqtt]", "[mqtt]\nkeepalive_s = 20"))
    done = await command("config", "apply", made, "--config", config)
    assert done.returncode == 1 and "bundle_untrusted" in done.stderr and config.read_text() == before
    assert "处理" in done.stderr


@pytest.mark.parametrize("name", ["pack", "trust", "apply", "rollback"])
def test_each_has_an_example(name: str) -> None:
    assert f"facepay config {name}" in facepay("config", name, "--help").stdout


def test_pack_refuses_an_incomplete_config(place: Place, operator: Path) -> None:
    config = place.config("empty")
    half = config.with_name("half.toml")
    half.write_text('profile = "demo"\nsite = "shop-1"\n')
    for files, words in (([half], "sets only site"), ([config, config], "a second config")):
        done = facepay("config", "pack", *files, "--key", operator, "--number", "1")
        assert done.returncode == 78 and words in done.stderr
