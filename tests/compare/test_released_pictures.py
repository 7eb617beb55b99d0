"""No picture bytes stay referenced after the result: neither by the compare client nor by its connection."""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agent.core.model import Crop, Reference, Shot
from agent.core.ports import RequestReceived
from tests.compare.servers import SUCCESS, Play, endpoint, http, replies
from tests.compare.test_client import client
from tests.fakes import StagedAnalyzer, request
from tests.terminal.test_terminal import TerminalSetup, serving

BUDGET_MS = 120_000  # far beyond the wait: a picture that is kept until the deadline fails the test
SETTLE_S = 20
MARK = secrets.token_bytes(32)


def picture() -> bytes:
    """New JPEG-like bytes at each call: the test itself keeps no reference."""
    return b"\xff\xd8\xff\xe0" + MARK * 2_000


class MarkedFaces(StagedAnalyzer):
    def crop(self, shot: Shot) -> Crop:
        return Crop(picture(), 160, 200)


def referents(owner: object) -> Iterator[Any]:
    """The objects that ``owner`` refers to, through containers that the collector does not track."""
    for each in gc.get_referents(owner):
        yield each
        if isinstance(each, tuple | dict) and not gc.is_tracked(each):
            yield from referents(each)


def pictures() -> int:
    """The number of picture buffers that any tracked object refers to."""
    gc.collect()
    found = {
        id(each)
        for owner in gc.get_objects()
        for each in referents(owner)
        if isinstance(each, bytes | bytearray) and len(each) > 1_000 and MARK in each
    }
    return len(found)


def test_pictures_are_counted_through_untracked_containers() -> None:
    assert pictures() == 0
    holder = [{"photo": (1, picture())}]
    assert pictures() == 1
    del holder


@pytest.mark.parametrize(
    ("script", "decision"),
    [
        pytest.param(replies(http(SUCCESS)), "match/same_person", id="match"),
        pytest.param(replies(http(b'{"code":-1101,"data":{"fail_flag":2}}')), "undecided/", id="failure"),
    ],
)
async def test_no_picture_is_referenced_after_the_result(script: Play, decision: str) -> None:
    async with endpoint(script) as server, client(server.url()) as api:
        setup = TerminalSetup(analyzer=MarkedFaces(), compare=api)  # type: ignore[arg-type] # the real client
        async with serving(setup):
            wanted = replace(request("r-1", budget_ms=BUDGET_MS), reference=Reference(image=picture()))
            await setup.till.inbox.put(RequestReceived(wanted))
            del wanted
            assert (await setup.verdict()).startswith(decision)
            assert len(server.posts) == 1 and server.posts[0].body.count(MARK) == 4_000
            setup.till.events.clear()  # the fakes keep what the real adapters only send
            setup.claim_store.settled.clear()
            server.requests.clear()
            async with asyncio.timeout(SETTLE_S):
                while pictures():  # noqa: ASYNC110 - nothing announces a freed object
                    await asyncio.sleep(0.05)
