"""Keys of tills and terminal on the command line: trust, distrust, rotation."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from agent.messages.signing import KEY_FILE, PublicKey, Signer
from agent.outbox.database import FILE
from tests import commands
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, NO_PAUSES, Place, running, till_of, until

SHOP = 'accepted_risks = ["plain_mqtt", "plain_http_compare", "replay_camera", "liveness_off"]\n'


def facepay(*arguments: str | Path, answers: str = "") -> subprocess.CompletedProcess[str]:
    return commands.facepay(*arguments, answers=answers, COLUMNS="200")


def shop(place: Place) -> Path:
    """The config in profile shop, which requires signed requests."""
    path = place.config("one_obama_podium")
    path.write_text(path.read_text().replace('profile = "demo"\n', f'profile = "shop"\n{SHOP}'))
    return path


def ask(place: Place, folder: Path, *more: str | Path) -> subprocess.CompletedProcess[str]:
    photo = folder / "enrolled.jpg"
    photo.write_bytes(ENROLLED)
    who = ("--port", str(place.broker.port), "--site", "shop-1", "--terminal", "terminal-1", "--json")
    return facepay("till", "ask", photo, "--ttl-ms", str(LONG_TTL_MS), *who, *more)


async def test_shop_terminal_serves_only_a_trusted_till(place: Place, tmp_path: Path) -> None:
    config, till_key = shop(place), tmp_path / "till.key"
    key = Signer.generate()
    key.save(till_key)
    (tmp_path / "till.pem").write_bytes(key.public.pem())
    async with running(config, code=NO_PAUSES):
        refused = await asyncio.to_thread(ask, place, tmp_path)
        assert refused.returncode and "signature_missing" in refused.stderr
        refused = await asyncio.to_thread(ask, place, tmp_path, "--sign-key", till_key)
        assert refused.returncode and "signature_invalid" in refused.stderr
        trusted = await asyncio.to_thread(
            facepay, "keys", "trust", "till-1", tmp_path / "till.pem", "--config", config
        )
        assert key.key_id in trusted.stdout, trusted
        terminal = tmp_path / "terminal.pem"
        terminal.write_text(facepay("keys", "show", "--config", config).stdout)
        answer = await asyncio.to_thread(ask, place, tmp_path, "--sign-key", till_key, "--key", terminal)
        assert answer.returncode == 0, answer
        result = json.loads(answer.stdout)
        assert result["decision"] == "match" and "replay_camera" in result["assurance"]["accepted_risks"]
        assert isinstance(result["clock"]["synced"], bool)
        facepay("keys", "distrust", "till-1", "--config", config)
        assert (
            "signature_invalid"
            in (await asyncio.to_thread(ask, place, tmp_path, "--sign-key", till_key)).stderr
        )


async def acknowledged(state: Path) -> None:
    """Wait until the outbox has no open result."""
    async with asyncio.timeout(60):
        with contextlib.closing(sqlite3.connect(state / FILE)) as db:
            while db.execute("SELECT count(*) FROM result WHERE open = 1").fetchone() != (0,):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_a_pinned_till_follows_a_rotation_and_an_old_key_signs_no_more(place: Place) -> None:
    config, folder = place.config("one_obama_podium"), place.folder / "state"
    async with till_of(place) as (till, states):  # pins the first key
        old = Signer.load(folder / KEY_FILE)
        async with running(config):
            await until(states, "online")
            assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
            await acknowledged(
                folder
            )  # otherwise the result is repeated after the rotation, with the old signature
        rotated = facepay("keys", "rotate", "--config", config, "--json")
        assert json.loads(rotated.stdout)["old_kid"] == old.key_id
        async with running(config):
            await until(states, "online")
            assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        assert not till.violations
    assert (
        PublicKey.load(facepay("keys", "show", "--config", config).stdout.encode()).pem() != old.public.pem()
    )


async def test_keys_with_invalid_files_or_names_fail(place: Place, tmp_path: Path) -> None:
    config, junk = place.config("one_obama_podium"), tmp_path / "junk.pem"
    junk.write_text("no key")
    done = facepay("keys", "trust", "till-1", junk, "--config", config)
    assert done.returncode == 1 and "no public key" in done.stderr
    done = facepay("keys", "trust", "../till", junk, "--config", config)
    assert done.returncode == 1
    done = facepay("keys", "rotate", "--config", config)
    assert done.returncode == 1 and "no key yet" in done.stderr


@pytest.mark.parametrize("command", ["rotate", "trust", "distrust"])
def test_each_has_an_example(command: str) -> None:
    assert f"facepay keys {command}" in facepay("keys", command, "--help").stdout
