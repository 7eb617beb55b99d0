"""A second terminal with the same ids is detected; an earlier process of this terminal is not a clone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.messages.encode import TerminalIdentity, state
from agent.till.retained_state import STATE_MAX_BYTES, is_clone

OWN = TerminalIdentity("shop-1", "terminal-1", boot_id="boot-1", epoch="epoch-1")
OWN_KEY, OLD_KEY, OTHER_KEY = "aa" * 32, "bb" * 32, "cc" * 32


def state_of(
    status: str = "online", *, boot: str = "boot-2", epoch: str = "epoch-2", key: Any = OTHER_KEY
) -> bytes:
    return state(status, TerminalIdentity("shop-1", "terminal-1", boot, epoch), {"key": {"sha256": key}})


@pytest.mark.parametrize("status", ["online", "degraded"])
def test_is_clone_other_boot_and_other_key_is_true(status: str) -> None:
    assert is_clone(state_of(status), OWN, (OWN_KEY, OLD_KEY))


@pytest.mark.parametrize(
    "raw",
    [
        state_of("offline"),
        state_of("stopping"),
        state_of(boot="boot-1"),
        state_of(epoch="epoch-1"),
        state_of(key=OWN_KEY),
        state_of(key=OLD_KEY),
        state_of(key=7),
        state("online", OWN),
        b"",
        b"no json",
        b"[]",
        b"\xff",
        b'{"status": "online", "key": []}',
        b" " * (STATE_MAX_BYTES + 1),
    ],
    ids=range(14),
)
def test_is_clone_own_final_or_invalid_state_is_false(raw: bytes) -> None:
    assert not is_clone(raw, OWN, (OWN_KEY, OLD_KEY))
