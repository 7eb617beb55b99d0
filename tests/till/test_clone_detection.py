"""Two living terminals under one name are told apart from one terminal that was started again."""

from __future__ import annotations

from typing import Any

import pytest

from agent.messages.encode import TerminalIdentity, state
from agent.till.clone_detection import STATE_MAX_BYTES, is_another

ME = TerminalIdentity("shop-1", "terminal-1", boot_id="boot-1", epoch="epoch-1")
MINE, BEFORE, OTHERS = "aa" * 32, "bb" * 32, "cc" * 32


def said(status: str = "online", *, boot: str = "boot-2", epoch: str = "epoch-2", key: Any = OTHERS) -> bytes:
    return state(status, TerminalIdentity("shop-1", "terminal-1", boot, epoch), {"key": {"sha256": key}})


@pytest.mark.parametrize("status", ["online", "degraded"])
def test_another_boot_with_another_key_is_another_terminal(status: str) -> None:
    assert is_another(said(status), ME, (MINE, BEFORE))


@pytest.mark.parametrize(
    "raw",
    [
        said("offline"),
        said("stopping"),
        said(boot="boot-1"),
        said(epoch="epoch-1"),
        said(key=MINE),
        said(key=BEFORE),
        said(key=7),
        state("online", ME),
        b"",
        b"no json",
        b"[]",
        b"\xff",
        b'{"status": "online", "key": []}',
        b" " * (STATE_MAX_BYTES + 1),
    ],
    ids=range(14),
)
def test_we_ourselves_a_goodbye_and_junk_are_not(raw: bytes) -> None:
    assert not is_another(raw, ME, (MINE, BEFORE))
