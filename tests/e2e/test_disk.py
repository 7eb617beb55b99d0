"""The disk of a running terminal becomes read-only or full: root mounts, breaks and repairs it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.control.server import path_for, request_status
from agent.errors import TillError
from agent.kits.till.client import TillClient
from tests.debian import run
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Agent, Place, running, till_of, until
from tests.e2e.test_keys import facepay

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a disk and to break it"),
]

# empty, both are above the limit of `disk_low`
CARD_BYTES = 64 * 1024 * 1024
SMALL_BYTES = 64 * 1024 * 1024


@pytest.fixture
def state(place: Place) -> Iterator[Path]:
    """The state directory, as a mount point."""
    folder = place.folder / "state"
    folder.mkdir(mode=0o700)
    yield folder
    while os.path.ismount(folder):
        run("umount", "-l", folder)


def card(place: Place) -> Path:
    """An ext4 file system in a file, as on a memory card."""
    image = place.folder / "card.img"
    image.touch()
    os.truncate(image, CARD_BYTES)
    run("mkfs.ext4", "-q", "-F", image)
    return image


def memory(state: Path) -> None:
    run("mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES},mode=0700", "tmpfs", state)


async def conditions(state: Path) -> list[str]:
    status: dict[str, Any] = await asyncio.to_thread(request_status, path_for(state), timeout_s=60)
    return [each["code"] for each in status["conditions"]]


async def until_shown(state: Path, *codes: str) -> None:
    async with asyncio.timeout(60):
        while await conditions(state) != list(codes):  # noqa: ASYNC110 - the status is polled
            await asyncio.sleep(0.2)


async def answered(till: TillClient) -> str:
    """The decision, or the code of the refusal."""
    try:
        return (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision
    except TillError as error:
        return error.code


async def matches(till: TillClient) -> bool:
    verdict = await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)
    return (verdict.decision, verdict.reason) == ("match", "same_person")


async def test_read_only_card_is_reported_without_a_request_and_recovers_without_a_restart(
    place: Place, state: Path
) -> None:
    """Linux makes a defective card read-only: files are readable, and no write succeeds."""
    image = card(place)
    run("mount", "-o", "loop,errors=remount-ro", image, state)
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, states):
        assert await matches(till)
        run("mount", "-o", "remount,abort", state)
        await until_shown(state, "storage_unavailable")
        for _ in range(2):
            assert await answered(till) == "storage_unavailable"
        assert await conditions(state) == ["storage_unavailable"]
        await until(states, "degraded")

        repaired = shutil.copy(
            image, place.folder / "repaired.img"
        )  # the stopped file system itself cannot be repaired
        run("e2fsck", "-fy", repaired, ok=(0, 1))
        run("umount", "-l", state)
        run("mount", "-o", "loop", repaired, state)
        await until(states, "online")
        assert await matches(till)
        assert agent.process.poll() is None and not till.violations
        agent.process.terminate()
        assert await agent.ended(60) == 0
    log = (place.folder / "agent.log").read_bytes()
    assert b"went read-only" in log and b"Traceback" not in log


async def test_full_disk_refuses_requests_until_there_is_space(place: Place, state: Path) -> None:
    memory(state)
    async with running(place.config("one_obama_podium")) as agent, till_of(place) as (till, states):
        assert await matches(till)
        with pytest.raises(OSError, match="No space"), (state / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4_096)) == 4_096:
                pass
        async with asyncio.timeout(60):
            while await answered(till) == "match":  # the journal still has allocated space
                pass
        assert await answered(till) == "storage_unavailable"
        # the check of free space runs by a timer of its own: its warning can come before or after
        assert set(await conditions(state)) - {"disk_low"} == {"storage_unavailable"}
        await until(states, "degraded")
        (state / "filler").unlink()
        await until(states, "online")
        assert await matches(till)
        assert agent.process.poll() is None and not till.violations


def test_a_read_only_disk_at_the_start_is_named_and_the_next_start_serves(place: Place, state: Path) -> None:
    memory(state)
    config = place.config("empty")
    run("mount", "-o", "remount,ro", state)
    done = facepay("run", "--config", config)
    assert done.returncode == 1 and "Read-only file system" in done.stderr, done.stderr
    assert str(state) in done.stderr and "fix: " in done.stderr and "Traceback" not in done.stderr
    run("mount", "-o", "remount,rw", state)
    asyncio.run(starts(config))


async def test_run_with_a_read_only_root_writes_only_its_state(place: Place, state: Path) -> None:
    """As on a card that is mounted read-only: only the state directory is writable."""
    memory(state)
    sealed = 'mount --make-rprivate /; mount -o remount,bind,ro /; exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-ec", sealed, "sealed")
    agent = Agent(place.config("one_obama_podium"), prefix)
    try:
        await agent.notified("READY=1")
        assert " / ro" in mounts_of(agent)
        async with till_of(place) as (till, _):
            assert await matches(till)
    finally:
        agent.close()


async def starts(config: Path) -> None:
    async with running(config):
        pass


def mounts_of(agent: Agent) -> str:
    """Mount point and options of each mount of the process."""
    mounts = Path(f"/proc/{agent.process.pid}/mounts").read_text()
    return "\n".join(
        f" {place} {options}" for _, place, _, options, *_ in map(str.split, mounts.splitlines())
    )
