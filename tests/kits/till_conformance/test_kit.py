"""The kit against a correct till and against tills that each break one rule, on a real mosquitto.

All tills run at the same time, each with a separate simulated terminal, because the time is mostly timers. A
correct till runs three times, with a part of the scenarios each.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from agent.config import MqttConfig
from agent.kits.simulator.terminal import SimulatorSetup
from agent.kits.till_conformance.kit import Kit
from agent.kits.till_conformance.preparation import WaitTimes
from agent.kits.till_conformance.rules import ScenarioRow
from agent.kits.till_conformance.scenarios import NO_REQUEST, SCENARIOS, Rule, Scenario, pick
from agent.messages.topics import Topics
from tests.brokers import Mosquitto
from tests.fakes import RealClock
from tests.kits.till_conformance.broken_tills import BROKEN, AcknowledgesBeforeItVerifies, IgnoresSignature
from tests.kits.till_conformance.reference_till import ReferenceTill

Table = dict[str, list[ScenarioRow]]
WAIT_TIMES = WaitTimes(request_s=30.0, settle_s=2.0)  # long: the tills share a busy machine


class OldTill(ReferenceTill):
    """The same till on MQTT 3.1.1."""

    protocol = MQTTProtocolVersion.MQTTv311


async def examine(
    kind: type[ReferenceTill], broker: Mosquitto, folder: Path, scenarios: tuple[Scenario, ...] = SCENARIOS
) -> list[ScenarioRow]:
    topics = Topics("site", f"{kind.__name__}-{scenarios[0].name}")
    kit = Kit(SimulatorSetup(MqttConfig(port=broker.port), topics, folder, RealClock()), "till-1", WAIT_TIMES)
    await kit.start()
    till = kind(kit.port, kit.public_key_pem, (topics.site, topics.terminal, "till-1"))
    try:
        await asyncio.to_thread(till.start)
        return await kit.run(scenarios)
    finally:
        await asyncio.to_thread(till.stop)
        await kit.stop()


def examine_all(
    kinds: list[type[ReferenceTill]],
    broker: Mosquitto,
    folder: Path,
    parts: tuple[tuple[Scenario, ...], ...] = (SCENARIOS,),
) -> Table:
    async def in_parts(kind: type[ReferenceTill]) -> list[ScenarioRow]:
        places = [folder / f"{kind.__name__}-{part[0].name}" for part in parts]
        runs = (examine(kind, broker, place, part) for place, part in zip(places, parts, strict=True))
        return [row for rows in await asyncio.gather(*runs) for row in rows]

    async def all_at_once() -> Table:
        rows = await asyncio.gather(*map(in_parts, kinds))
        return {kind.__name__: row for kind, row in zip(kinds, rows, strict=True)}

    return asyncio.run(all_at_once())


@pytest.fixture(scope="module")
def correct(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Table:
    # a scenario after a crash or a rotation is in the part of that crash or rotation
    parts = SCENARIOS[:12], SCENARIOS[12:24], SCENARIOS[24:]
    return examine_all([ReferenceTill, OldTill], broker, tmp_path_factory.mktemp("correct"), parts)


@pytest.fixture(scope="module")
def planted(broker: Mosquitto, tmp_path_factory: pytest.TempPathFactory) -> Table:
    return examine_all(list(BROKEN), broker, tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", ["ReferenceTill", "OldTill"])
def test_a_correct_till_passes_every_scenario(correct: Table, name: str) -> None:
    assert [row.scenario for row in correct[name]] == [scenario.name for scenario in SCENARIOS]
    assert [row for row in correct[name] if row.outcome != "pass"] == []


@pytest.mark.long  # a simulated terminal for each of three dozen tills, for two minutes
@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_till_fails_on_exactly_its_rule(planted: Table, kind: type[ReferenceTill]) -> None:
    rows = planted[kind.__name__]
    unsigned = (IgnoresSignature, AcknowledgesBeforeItVerifies)  # such a till accepts every key
    also = {Rule.ROTATION} if kind in unsigned else set()
    broken = {rule for row in rows for rule in row.broken}
    assert broken == {BROKEN[kind]} | also, [row for row in rows if row.broken]


def test_every_rule_has_a_till_that_breaks_it() -> None:
    assert set(BROKEN.values()) == set(Rule)


def test_the_reference_till_is_short_and_imports_nothing_of_the_agent() -> None:
    text = (Path(__file__).parent / "reference_till.py").read_text(encoding="utf-8")
    assert text.count("\n") <= 230
    assert "agent" not in text.replace("facepay-agent", "")


async def test_a_till_that_does_not_connect_again_is_not_blamed_for_get_state(
    broker: Mosquitto, tmp_path: Path
) -> None:
    setup = SimulatorSetup(MqttConfig(port=broker.port), Topics("site", "no-till"), tmp_path, RealClock())
    kit = Kit(setup, "till-1", WaitTimes(request_s=1.0, settle_s=0.1))
    await kit.start()
    try:
        row = await kit.play(pick(["no_retained"])[0])
    finally:
        await kit.stop()
    assert (row.outcome, row.broken, row.detail) == ("not_played", (), NO_REQUEST)
