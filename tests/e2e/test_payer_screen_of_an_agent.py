"""The screen for the payer with a real agent: a picture during the verification only, and none on a disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from agent.control.server import path_for, request_status
from tests.brokers import free_port
from tests.e2e.agents import ENROLLED, Place, running
from tests.e2e.test_page import files_with_pictures, listening_till
from tests.page.display_kit import Received, messages, start_url


async def test_payer_is_shown_during_the_verification_and_stored_nowhere(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place.folder / "tmp"))
    state: Path = place.folder / "state"
    config = place.config("two_people", f'[display]\nlisten = "loopback"\nport = {free_port()}\n')
    async with running(config), listening_till(place) as (till, _):
        address, _, key = (await asyncio.to_thread(start_url, state)).partition("#")
        received = list[Received]()

        async def watch(answer: httpx.Response) -> None:
            async for each in messages(answer):
                received.append(each)
                if [each.tree["kind"] for each in received][-2:] == ["end", "idle"]:
                    return

        headers = {"Authorization": f"Bearer {key}"}
        async with (
            httpx.AsyncClient(verify=False, timeout=60, headers=headers) as client,
            client.stream("GET", address + "stream") as answer,
        ):
            watching = asyncio.create_task(watch(answer))
            status = await asyncio.to_thread(request_status, path_for(state), timeout_s=60)
            assert status["display_viewers"] == 1
            assert (await till.ask(ENROLLED, ttl_ms=3_000)).reason == "multiple_faces"
            async with asyncio.timeout(60):
                await watching
        kinds = {each.tree["kind"] for each in received if each.picture}
        assert kinds == {"guide"}, "pictures during the verification, and none at another time"
        assert "one_person" in [each.tree.get("symbol") for each in received]
        assert received[0].tree["kind"] == "idle" and received[0].tree["title"]
        assert files_with_pictures(place.folder) == []
