"""SIGHUP on a running agent: a safe change is applied, any other change is refused with a reason."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest

from agent.config import Config
from agent.config.file import load
from agent.config.reload import WHILE_SERVING, changed_keys, keys_that_need_restart
from agent.control.status import config_fingerprint
from agent.resources import config_file
from tests.e2e.agents import ENROLLED, LONG_TTL_MS, Agent, Place, running, status_with, till_of, until
from tests.waits import until_accepted


def rewrite(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def reload(agent: Agent) -> None:
    agent.process.send_signal(signal.SIGHUP)


async def test_a_safe_change_counts_from_the_next_verification(place: Place) -> None:
    """A face is good enough; after the reload no face is, without a restart."""
    config = place.config("one_obama_podium", "[policy]\nmin_sharpness = 30\n")
    async with running(config) as agent, till_of(place) as (till, _):
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
        rewrite(config, "min_sharpness = 30", "min_sharpness = 95")
        reload(agent)
        wanted = config_fingerprint(load(config, Config))
        status = await status_with(place, lambda status: status["config_sha256"] == wanted)
        assert status["config_refused"] == "" and not status["conditions"]
        verdict = await till.ask(ENROLLED, ttl_ms=2_000)
        assert (verdict.decision, verdict.reason) == ("undecided", "face_unusable")
        assert agent.process.poll() is None


async def test_a_reload_reads_the_files_beside_the_config(place: Place) -> None:
    config = place.config("one_obama_podium")
    async with running(config) as agent:
        own = config.with_suffix(".d") / "50-terminal.toml"
        own.parent.mkdir()
        own.write_text("[policy]\nmin_sharpness = 77\n")
        reload(agent)
        wanted = config_fingerprint(load(config, Config))
        assert load(config, Config).policy.min_sharpness == 77
        await status_with(place, lambda status: status["config_sha256"] == wanted)
        own.write_text("[mqtt]\nport = 1\n")
        reload(agent)
        status = await status_with(place, lambda status: status["config_refused"])
        assert status["config_refused"].startswith("restart_needed: mqtt.port"), status


async def test_open_verification_ends_with_the_old_rules(place: Place) -> None:
    config = place.config("one_obama_podium", "[policy]\nmin_sharpness = 95\n")
    rewrite(config, "inline_reference = true\n", "inline_reference = true\nconsent_required = true\n")
    given = {"consent_ref": "by-hand"}
    async with running(config) as agent, till_of(place) as (till, states):
        await until(states, "online")
        asking = asyncio.create_task(till.ask(ENROLLED, ttl_ms=4_000, more=given))
        await until_accepted(till)
        rewrite(config, "min_sharpness = 95", "min_sharpness = 30")
        rewrite(config, "consent_required = true", "consent_required = false")
        reload(agent)
        wanted = config_fingerprint(load(config, Config))
        await status_with(place, lambda status: status["config_sha256"] == wanted)
        assert not asking.done(), "otherwise this test shows nothing"
        verdict = await asking
        assert (verdict.decision, verdict.reason) == ("undecided", "face_unusable")
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match", (
            "and consent_ref is not required"
        )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('terminal = "terminal-1"', 'terminal = "terminal-2"', "restart_needed: terminal"),
        ("[mqtt]\n", "[mqtt]\nkeepalive_s = 30\n", "restart_needed: mqtt.keepalive_s"),
        ("[mqtt]\n", "[mqtt]\nnonsense = 1\n", "mqtt.nonsense: unknown key"),
        ("[mqtt]\n", "[mqtt\n", "not TOML"),
        ('profile = "demo"', 'profile = "shop"', "shop does not run with"),
    ],
    ids=["another terminal", "another keepalive", "an unknown key", "no toml", "a risk that is not accepted"],
)
async def test_refused_change_is_named_and_the_last_good_config_stays(
    place: Place, old: str, new: str, words: str
) -> None:
    config = place.config("empty")
    good = config_fingerprint(load(config, Config))
    async with running(config) as agent, till_of(place) as (_, states):
        await until(states, "online")
        before = config.read_text()
        rewrite(config, old, new)
        reload(agent)
        status = await status_with(place, lambda status: status["config_refused"])
        assert words in status["config_refused"] and status["config_sha256"] == good
        assert [each["code"] for each in status["conditions"]] == ["config_refused"]
        await until(states, "degraded")
        config.write_text(before)
        reload(agent)
        status = await status_with(place, lambda status: not status["config_refused"])
        assert not status["conditions"] and status["config_sha256"] == good


async def test_reload_without_a_file_changes_nothing(place: Place) -> None:
    config = place.config("one_obama_podium")
    async with running(config) as agent, till_of(place) as (till, _):
        config.rename(config.with_suffix(".away"))
        reload(agent)
        assert "cannot be read" in (await status_with(place, lambda s: s["config_refused"]))["config_refused"]
        assert (await till.ask(ENROLLED, ttl_ms=LONG_TTL_MS)).decision == "match"
    assert b"Traceback" not in (place.folder / "agent.log").read_bytes()


def test_every_key_is_either_safe_or_named() -> None:
    old = Config()
    new = Config.model_validate(
        {
            "site": "other",
            "consent_required": True,
            "policy": {"dominance": 3},
            "guard": {"failures": 0},
            "verification": {"budget_ms": 9_000, "max_asks": 1},
            "log": {"level": "debug", "json_lines": True},
            "compare": {"threshold": 90},
        }
    )
    assert keys_that_need_restart(old, new) == [
        "site",
        "verification.budget_ms",
        "compare.threshold",
        "log.json_lines",
    ]
    assert len(changed_keys(old, new)) == 9
    known = json.loads(old.model_dump_json())
    for key in WHILE_SERVING:
        section, _, name = key.partition(".")
        assert section in known and (not name or name in known[section]), key


def test_the_unit_reloads_by_that_signal() -> None:
    unit = Path(__file__).parent.parent.parent / "systemd" / "facepay-agent.service"
    assert "kill -HUP $MAINPID" in unit.read_text()


def test_the_shipped_config_marks_what_can_be_reloaded() -> None:
    marked, section = set[str](), ""
    for line in config_file("agent.toml").read_text().splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            section = f"{header[1]}."
        key = re.match(r"(\w+) = ", line)
        if "[reload]" in line and header:
            marked.add(header[1])
        elif "[reload]" in line and key:
            marked.add(section + key[1])
        elif "# Refuse requests" in line and "[reload]" in line:
            marked.add("consent_required")  # its mark is in the line above
    assert marked == WHILE_SERVING
