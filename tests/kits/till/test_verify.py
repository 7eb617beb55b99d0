"""The check of captured payloads: the golden payloads are valid, and each broken rule is detected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.errors import TillError
from agent.kits.till.acceptance import check
from agent.messages.encode import envelope
from agent.messages.signing import PublicKey
from tests.contract import golden

KEY = PublicKey.load((golden.FOLDER / "terminal-key.pem").read_bytes())
REQUEST = (golden.FOLDER / "request.json").read_bytes()
MATCH = (golden.FOLDER / "result-match.json").read_bytes()
TREE = json.loads(json.loads(MATCH)["result"])


def signed(**change: object) -> bytes:
    return envelope("result", TREE | change, golden.terminal_key())


@pytest.mark.parametrize("name", ["match", "no-match", "undecided", "api-error"])
def test_the_golden_results_are_valid(name: str) -> None:
    payload = (golden.FOLDER / f"result-{name}.json").read_bytes()
    finding = check(payload, KEY, REQUEST, {"site": "shop-12", "terminal": "terminal-3"})
    assert finding.broken == ""
    assert finding.result["result_id"] == golden.RESULT_ID


def test_a_line_end_added_by_the_capture_is_ignored() -> None:
    assert check(MATCH + b"\n", KEY, REQUEST + b"\n", {}).broken == ""


BROKEN = [
    pytest.param(MATCH.replace(b"no_", b""), golden.till_key().public, "signature", id="another key"),
    pytest.param(MATCH.replace(b"93.42", b"99.42"), KEY, "signature", id="altered"),
    pytest.param(json.dumps(TREE).encode(), KEY, "no signed envelope", id="no envelope"),
    pytest.param(signed(nonce="0" * 32), KEY, "nonce", id="another nonce"),
    pytest.param(signed(epoch="e"), KEY, "epoch", id="another epoch"),
    pytest.param(signed(request_sha256="0" * 64), KEY, "request_sha256", id="another request's bytes"),
    pytest.param(signed(request_id=golden.RESULT_ID), KEY, "request_id", id="another request"),
    pytest.param(signed(terminal="terminal-4"), KEY, "terminal", id="another terminal"),
]


@pytest.mark.parametrize(("payload", "key", "rule"), BROKEN)
def test_the_broken_rule_is_named(payload: bytes, key: PublicKey, rule: str) -> None:
    assert rule in check(payload, key, REQUEST, {"terminal": "terminal-3"}).broken


def test_without_the_request_only_signature_and_sender_are_checked() -> None:
    assert check(signed(nonce="0" * 32), KEY, None, {}).broken == ""
    assert "terminal" in check(MATCH, KEY, None, {"terminal": "terminal-4"}).broken


@pytest.mark.parametrize(
    ("result", "request_bytes"),
    [(b"\xff", None), (b"[]", None), (MATCH, b"{}"), (MATCH, b'{"request":"no","jws":"x"}'), (MATCH, b"[1]")],
)
def test_a_file_that_is_not_a_message_is_an_error(result: bytes, request_bytes: bytes | None) -> None:
    with pytest.raises(TillError) as caught:
        check(result, KEY, request_bytes, {})
    assert caught.value.code == "file_unusable"


def test_a_signed_request_is_decoded(tmp_path: Path) -> None:
    request = (golden.FOLDER / "request-signed.json").read_bytes()
    finding = check(MATCH, KEY, request, {})
    assert "request_sha256" in finding.broken, "the hash is of the envelope as sent"
