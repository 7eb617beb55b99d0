"""A bundle is unpacked only when a pinned key signed exactly these bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any, get_args

import pytest

from agent.errors import FleetError
from agent.fleet.config_bundle import (
    KIND,
    MAX_BUNDLE_BYTES,
    Bundle,
    Ring,
    envelope,
    is_ring_accepted,
    pack,
    unpack,
)
from agent.fleet.fleet_errors import FleetCode, refusal
from agent.messages.encode import dumps
from agent.messages.signing import Signer
from agent.texts import Text
from tests.texts import en, zh

OPERATOR, OTHER_KEY = Signer.generate(), Signer.generate()
GOOD = Bundle(7, "all", "2026-01-01T00:00:00.000Z", {"*": "[log]\n", "shop-1/t-2": 'site = "shop-1"\n'})


def refused(raw: bytes, *trusted: Signer) -> str:
    with pytest.raises(FleetError) as caught:
        unpack(raw, [each.public for each in trusted or (OPERATOR,)])
    assert en(caught.value.fix) and zh(caught.value.fix)
    return caught.value.code


def signed(**changes: Any) -> bytes:
    tree = json.loads(json.loads(pack(GOOD, OPERATOR))[KIND]) | changes
    text = dumps({name: value for name, value in tree.items() if value != "gone"})
    return envelope(text.replace("HALF", "\\ud800"), OPERATOR)


def test_unpack_returns_the_packed_bundle() -> None:
    assert unpack(pack(GOOD, OPERATOR), [OTHER_KEY.public, OPERATOR.public]) == GOOD


def test_config_for_returns_the_terminals_config_or_the_shared_config_with_ids() -> None:
    assert GOOD.config_for("shop-1", "t-2") == 'site = "shop-1"\n'
    assert GOOD.config_for("shop-1", "t-3").startswith('site = "shop-1"\nterminal = "t-3"\n')
    with pytest.raises(FleetError) as caught:
        Bundle(7, "all", "", {"shop-1/t-2": ""}).config_for("shop-1", "t-3")
    assert caught.value.code == "bundle_not_for_us"


def test_a_signature_of_an_unpinned_key_is_refused() -> None:
    assert refused(pack(GOOD, OTHER_KEY)) == "bundle_untrusted"


def test_one_changed_character_breaks_the_signature() -> None:
    outer = json.loads(pack(GOOD, OPERATOR))
    outer[KIND] = outer[KIND].replace('"number":7', '"number":8')
    assert refused(dumps(outer).encode()) == "bundle_untrusted"


def test_another_signed_text_of_the_operator_is_not_a_bundle() -> None:
    text = json.loads(pack(GOOD, OPERATOR))[KIND]
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    as_result = {KIND: text, "jws": OPERATOR.sign(digest, "result")}
    assert refused(dumps(as_result).encode()) == "bundle_untrusted"


def test_the_text_is_decoded_only_after_the_signature() -> None:
    """A malformed text without a trusted signature is ``bundle_untrusted``, not ``bundle_malformed``."""
    assert refused(envelope("no json", OTHER_KEY)) == "bundle_untrusted"
    assert refused(envelope("no json", OPERATOR)) == "bundle_malformed"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 100_000,
        b'{"bundle": "x"}',
        b'{"bundle": "x", "jws": "y", "more": 1}',
        b'{"bundle": "x", "bundle": "x", "jws": "y"}',
        b'{"bundle": {"number": 1}, "jws": "y"}',
        b'{"bundle": "\\ud800", "jws": "y"}',
        b" " * (MAX_BUNDLE_BYTES + 1),
    ],
    ids=[
        "empty",
        "list",
        "no utf-8",
        "deep",
        "unsigned",
        "more",
        "twice",
        "not a text",
        "lone surrogate",
        "huge",
    ],
)
def test_a_malformed_envelope_is_refused_before_the_signature(raw: bytes) -> None:
    assert refused(raw) == "bundle_malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "facepay.bundle/2"},
        {"number": 0},
        {"number": -1},
        {"number": True},
        {"number": "8"},
        {"number": 10**16},
        {"ring": "everyone"},
        {"ring": "gone"},
        {"extra": 1},
        {"issued_at": "\x1b[2J"},
        {"configs": {}},
        {"configs": {"../etc/passwd": ""}},
        {"configs": {"shop-1/../..": ""}},
        {"configs": {"*": 1}},
        {"configs": {"*": "HALF"}},
        {"configs": {"*": "x" * 300_000}},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_signed_bundle_with_an_invalid_member_is_malformed(changes: dict[str, Any]) -> None:
    assert refused(signed(**changes)) == "bundle_malformed"


@pytest.mark.parametrize(
    ("terminal_ring", "bundle_ring", "accepted"),
    [("canary", "canary", True), ("canary", "all", True), ("all", "all", True), ("all", "canary", False)],
)
def test_a_canary_accepts_every_bundle_and_other_terminals_accept_bundles_for_all(
    terminal_ring: Ring, bundle_ring: Ring, accepted: bool
) -> None:
    assert is_ring_accepted(terminal_ring, bundle_ring) is accepted


def test_every_refusal_code_has_a_fix_in_two_languages() -> None:
    for code in get_args(FleetCode):
        fix = refusal(code, "x").fix
        assert fix == Text(f"fix.{code}")
        assert code.islower() and en(fix).endswith(".") and zh(fix).endswith("。"), code
