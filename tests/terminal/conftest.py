"""A terminal with fakes needs no real time, except in a test with the mark ``real_time``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.fakes import RealClock
from tests.stepped_time import SteppedLoop, SteppedTime

TIME = SteppedTime()
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    if item.get_closest_marker("real_time"):
        return {"real time": asyncio.SelectorEventLoop}
    return {"stepped time": lambda: SteppedLoop(TIME)}


@pytest.fixture(autouse=True)
def clock_of_the_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``RealClock`` shows the time of the loop."""
    if not request.node.get_closest_marker("real_time"):
        monkeypatch.setattr(RealClock, "now_ms", lambda _: TIME.now_ms())
