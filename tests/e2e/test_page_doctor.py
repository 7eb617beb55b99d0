"""The doctor of the page and `facepay doctor` agree about one terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.config import Config
from agent.config.file import load
from agent.diagnostics.check_inputs import CheckInputs
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.doctor import run_checks, select
from agent.root import page
from agent.root.doctor import inputs_from_config, inputs_from_file
from agent.root.reload import Source
from agent.toml_layers import trial_layer
from tests.brokers import free_port
from tests.e2e.agents import Place
from tests.e2e.test_ending import Wrapped, serving
from tests.e2e.test_page import logged_in, page_of

UNIT = "LoadState=loaded\nActiveState=active\nNRestarts=0\nWatchdogUSec=30s\nUnitFileState=enabled\n"
IDS = ("service.state", "config.lint", "keys.permissions")


async def test_page_and_command_have_the_same_findings_during_a_try(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`facepay init --try` adds a file beside the config: the page needs the path of the config, too."""
    port, root = free_port(), tmp_path / "root"
    path = place.config("empty", page_of(port, ""))
    trial_layer(path).parent.mkdir()
    trial_layer(path).touch()
    path.chmod(0o644)
    (root / "run/systemd/system").mkdir(parents=True)

    def here(inputs: CheckInputs) -> CheckInputs:
        return replace(inputs, root=root, program=lambda *_command: UNIT)

    def page_inputs(config: Callable[[], Config], file: Path | None = None) -> CheckInputs:
        return here(inputs_from_config(config, file))

    monkeypatch.setattr(page, "inputs_from_config", page_inputs)
    monkeypatch.setattr(page, "CHECKS", select(CHECKS, IDS))
    async with serving(path, Wrapped(load(path, Config)), Source(path)):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await logged_in(place, client)
            shown = await examined(client)
        reports = await asyncio.to_thread(
            lambda: [each.facts() for each in run_checks(select(CHECKS, IDS), here(inputs_from_file(path)))]
        )
    found = {row["id"]: (row["verdict"], row["why"]) for row in shown}
    assert found == {row["id"]: (row["verdict"], row["why"]) for row in reports}
    assert found["service.state"][0] == "warn" and "simulated camera" in found["service.state"][1]


async def examined(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The rows of a run of the page's doctor."""
    await client.post("/doctor.json", headers={"X-Facepay": "1"})
    async with asyncio.timeout(120):
        while True:
            document = (await client.get("/doctor.json")).json()
            if not document["running"]:
                rows: list[dict[str, Any]] = document["rows"]
                return rows
            await asyncio.sleep(0.05)
