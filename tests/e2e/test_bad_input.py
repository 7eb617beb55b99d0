"""Faults around the real process: the agent reports the fault, or serves in spite of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.e2e.agents import BUSY_S, ENROLLED, LONG_TTL_MS, PATIENT, Agent, Place, running, till_of, until
from tests.e2e.test_keys import SHOP, facepay

# A name server that never answers, so that the resolver never returns.
HANGING = """
import os, socket, threading
real = socket.getaddrinfo
def getaddrinfo(host, *more, **named):
    if (host.decode() if isinstance(host, bytes) else host) in ("broker.example", "api.example"):
        with open(os.environ["LOOKUPS"], "a") as file:
            file.write("x")
        threading.Event().wait()
    return real(host, *more, **named)
socket.getaddrinfo = getaddrinfo
"""


def shop(place: Place) -> Path:
    path = place.config("empty")
    path.write_text(path.read_text().replace('profile = "demo"\n', f'profile = "shop"\n{SHOP}'))
    return path


def rewrite(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def own(*paths: Path) -> None:
    """Change the owner to the user without rights; make a missing folder."""
    for path in paths:
        if not path.exists():
            path.mkdir(mode=0o700)
        os.chown(path, 65_534, 65_534)


def start(config: Path) -> subprocess.CompletedProcess[str]:
    return facepay("run", "--config", config)


def run_as_nobody(config: Path) -> subprocess.CompletedProcess[str]:
    return commands.as_nobody("run", "--config", config, modules="agent.root.daemon")


@pytest.fixture
def open_place(place: Place) -> Iterator[Place]:
    """A place that other users can enter, unlike pytest's own folder."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Place(Path(name), place.broker, place.service)


@pytest.fixture
def slow_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("LOOKUPS", str(tmp_path / "lookups"))


@pytest.mark.usefixtures("slow_names")
async def test_unanswered_lookup_of_the_broker_delays_neither_ready_nor_the_end(place: Place) -> None:
    config = place.config("empty")
    config.write_text(config.read_text().replace("[mqtt]\n", '[mqtt]\nhost = "broker.example"\ntls = true\n'))
    config.write_text(config.read_text().replace('profile = "demo"', f'profile = "shop"\n{SHOP}'))
    async with running(config, fresh=True) as agent:
        async with asyncio.timeout(BUSY_S):
            while not (place.folder / "lookups").exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        status = await asyncio.to_thread(commands.facepay, "status", "--config", config, code=PATIENT)
        assert status.returncode <= 2, "the event loop answers"
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.ended(60) == 0


@pytest.mark.usefixtures("slow_names")
async def test_unanswered_lookup_of_the_api_delays_neither_results_nor_the_end(
    place: Place,
) -> None:
    """More requests than threads in the loop's pool: a hanging lookup must not block a thread of the pool."""
    config = place.config(
        "one_obama_podium",
        "[guard]\nfailures = 0\n[verification]\nmax_asks = 1\nask_timeout_ms = 1000\nbudget_ms = 20000\n",
    )
    text = config.read_text().replace(place.service.url, "http://api.example:8100/face/compare")
    config.write_text(text)
    async with running(config, fresh=True) as agent, till_of(place) as (till, states):
        await until(states, "online")
        for _ in range(4):
            verdict = await till.ask(ENROLLED, ttl_ms=20_000)
            assert (verdict.decision, verdict.reason) == ("undecided", "compare_unreachable")
        assert (place.folder / "lookups").exists(), "otherwise this test shows nothing"
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.ended(60) == 0


def test_run_with_a_secret_readable_for_every_user_is_refused(place: Place) -> None:
    config = shop(place)
    (place.folder / "secret").chmod(0o644)
    done = start(config)
    assert done.returncode == 78 and done.stderr.startswith(f"secret_exposed: {config}:"), done
    assert ": compare.secret_key_file: " in done.stderr
    assert "chmod o=" in done.stderr and "Traceback" not in done.stderr


def test_run_with_a_secret_of_another_user_is_refused(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can change an owner")
    config = shop(place)
    os.chown(config, 12_345, -1)
    os.chown(place.folder / "secret", 12_345, -1)
    done = start(config)
    assert done.returncode == 78 and "belongs to user 12345" in done.stderr


def test_a_credential_it_may_not_read_is_named(open_place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can keep a file from another user and become that user")
    config = shop(open_place)
    hidden = open_place.folder / "password"
    hidden.write_text("a password")
    hidden.chmod(0o600)
    rewrite(config, "[mqtt]\n", f'[mqtt]\nusername = "t"\npassword_file = "{hidden}"\n')
    own(open_place.folder / "state", config)
    done = run_as_nobody(config)
    assert done.returncode == 78 and f"mqtt.password_file {hidden}: cannot be read" in done.stderr, (
        done.stderr
    )
    assert "Traceback" not in done.stderr and "a password" not in done.stderr


async def test_result_without_api_key_has_reason_compare_credentials(place: Place) -> None:
    config = place.config("one_obama_podium")
    (place.folder / "secret").unlink()
    async with running(config), till_of(place) as (till, states):
        verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
        assert (verdict.decision, verdict.reason) == ("undecided", "compare_credentials")
        await until(states, "degraded")


def test_a_state_directory_that_cannot_be_written_is_named(open_place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("root may write everywhere, so this needs another user")
    config = shop(open_place)
    state = open_place.folder / "state"
    state.mkdir(mode=0o755)
    own(config)
    done = run_as_nobody(config)
    assert done.returncode == 1 and str(state) in done.stderr, done.stderr
    assert "fix: " in done.stderr and "Traceback" not in done.stderr


async def test_run_without_network_is_ready(place: Place) -> None:
    """An empty network namespace: even loopback is down."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, for a network namespace")
    config = place.config("empty")
    agent = Agent(config, prefix=("unshare", "--net"))
    try:
        await agent.notified("READY=1")
        async with asyncio.timeout(60):
            while True:  # the condition becomes visible after some time: a broker can be restarting
                status = await asyncio.to_thread(facepay, "status", "--config", config)
                if "mqtt_unreachable" in status.stdout:
                    break
                await asyncio.sleep(0.5)
        assert status.returncode == 2, status
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.ended(60) == 0
    finally:
        agent.close()
