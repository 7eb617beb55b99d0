"""The real Prometheus and Alertmanager with 500 simulated terminals: each fault is one alert, which ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.brokers import Mosquitto, free_port
from tests.fleet.fleet_exporter import SimulatedFleet, exporter, publisher, scraped_with
from tests.fleet.fleet_messages import state_of
from tests.fleet.monitoring import PROGRAMS, Named, Notifications, monitoring
from tests.fleet.panels import evaluated, table

pytestmark = pytest.mark.long  # the rules wait for minutes, here divided by 30

HEALTH_S = 10.0
TIMEOUT_S = 400
# the time limits of the model, shortened as those of the rules
SHORTER = (
    "import agent.fleet.fleet_model as model\n"
    "model.SILENT_S, model.SETTLE_S, model.FLOODING_S = 45.0, 3.0, 20.0\n"
)
FAULTS: dict[str, Named] = {
    "offline": ("FacepayFleetTerminalOffline", "shop-0", "terminal-3"),
    "site offline": ("FacepayFleetSiteOffline", "shop-1", ""),
    "fault": ("FacepayFleetTerminalFault", "shop-2", "terminal-21"),
    "silent": ("FacepayFleetTerminalSilent", "shop-3", "terminal-31"),
    "state missing": ("FacepayFleetTerminalStateMissing", "shop-4", "terminal-41"),
    "damaged": ("FacepayFleetTerminalMessages", "shop-5", "terminal-51"),
    "flooding": ("FacepayFleetTerminalMessages", "shop-6", "terminal-61"),
    "warning": ("FacepayFleetTerminalWarning", "shop-7", "terminal-71"),
    "restarts": ("FacepayFleetTerminalRestarts", "shop-8", "terminal-81"),
    "demo": ("FacepayFleetTerminalDemo", "shop-9", "terminal-91"),
    "results": ("FacepayFleetResultsNotAcknowledged", "shop-10", "terminal-101"),
    "incomplete": ("FacepayFleetIncomplete", "", ""),
}
LOST: Named = ("FacepayFleetBrokerLost", "", "")
MISSING: Named = ("FacepayFleetExporterMissing", "", "")
SITE_OFFLINE = [f"terminal-{number}" for number in range(10, 20)]


def break_all(fleet: SimulatedFleet) -> None:
    for name in ("terminal-3", *SITE_OFFLINE):
        fleet.silent.add(name)
        fleet.state(name, "offline")
    fleet.state("terminal-21", "degraded", conditions=["compare_unreachable", "camera_frozen"])
    fleet.silent.add("terminal-31")
    fleet.publish(state_of("terminal-41", site="shop-4")[0], b"")
    fleet.publish(state_of("terminal-51", site="shop-5")[0], b"nonsense")
    fleet.state("terminal-71", "degraded", conditions=["disk_low"])
    fleet.state("terminal-91", profile="demo")
    fleet.facts["terminal-101"] = {"till": {"unacknowledged": 11}}


async def keep_broken(fleet: SimulatedFleet) -> None:
    """The faults that need further messages: a flood, four starts, messages of invalid ids."""
    for start in range(5):
        for turn in range(4):
            fleet.health("terminal-81", uptime_s=100 * turn + start)
            for _ in range(30):
                fleet.state("terminal-61")
                fleet.publish("facepay/v1/shop 1/terminal/state", b"{}", retained=False)
            await asyncio.sleep(3)


def repair_all(fleet: SimulatedFleet) -> None:
    fleet.silent.clear()
    fleet.facts.clear()
    for name in (*SITE_OFFLINE, *(f"terminal-{number}" for number in (3, 21, 41, 51, 71, 91))):
        fleet.state(name)
    for name in fleet.names:
        fleet.health(name)


async def until(what: str, is_true: Callable[[], bool], found: Notifications) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_true():  # noqa: ASYNC110 - another thread changes the answer
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise AssertionError(f"{what}; raised {sorted(found.raised)}, ended {sorted(found.ended)}") from None


@asynccontextmanager
async def simulated(broker: Mosquitto) -> AsyncIterator[SimulatedFleet]:
    async with publisher(broker) as client:
        fleet = SimulatedFleet(client, 500, HEALTH_S)
        running = asyncio.create_task(fleet.run())
        try:
            yield fleet
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)),
    reason="no prometheus or prometheus-alertmanager: make promtool, as root",
)
async def test_each_fault_of_a_fleet_is_one_alert_that_ends(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    broker, listen, url = Mosquitto(tmp_path).start(), free_port(), ""
    expected = set(FAULTS.values())
    async with AsyncExitStack() as stack:
        stack.callback(broker.stop)
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        with exporter(broker.port, listen=listen, code=SHORTER) as url:
            alerts = stack.enter_context(monitoring(tmp_path, listen))
            async with simulated(broker) as fleet:
                await scraped_with(http, url, 'uptime_seconds{site="shop-49",terminal="terminal-499"}')
                break_all(fleet)
                await keep_broken(fleet)
                await until("faults without an alert", lambda: expected <= set(alerts.raised), alerts)
                with httpx.Client(trust_env=False, timeout=60) as client:
                    panels = evaluated(alerts.prometheus_url, client)
                (tmp_path / "panels.md").write_text(table(panels), encoding="utf-8")
                repair_all(fleet)
                await until("alerts that do not end", lambda: expected <= alerts.ended, alerts)
            broker.stop()
            await until("no alert for the broker", lambda: LOST in alerts.raised, alerts)
            broker.start()
            async with simulated(broker):
                await until("the alert of the broker does not end", lambda: LOST in alerts.ended, alerts)
                await scraped_with(http, url, 'uptime_seconds{site="shop-49",terminal="terminal-499"}')
        await until("no alert for the exporter", lambda: MISSING in alerts.raised, alerts)
        with exporter(broker.port, listen=listen, code=SHORTER):
            async with simulated(broker):
                await until("the alert of the exporter does not end", lambda: MISSING in alerts.ended, alerts)
            # the end of this exporter is a fault, too, and raises its alert where the end takes seconds
            alerts.stop()
    assert set(alerts.raised) == alerts.ended == expected | {LOST, MISSING}
    assert [name for name, counts in panels.items() if not any(counts)] == []
    assert {named: sorted(starts) for named, starts in alerts.raised.items() if len(starts) != 1} == {}
    assert alerts.paths["FacepayFleetTerminalWarning"] == "/ticket"
    assert alerts.paths["FacepayFleetSiteOffline"] == "/page"
    assert set(alerts.summaries[FAULTS["fault"]].split()[1:]) == {"compare_unreachable", "camera_frozen"}
    record_property("figure", f"fleet alerts: {len(alerts.raised)} faults, each raised once and ended once")
