"""The contract and the code agree, in both directions."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.reasons import Decision, Guidance, Reason, Refusal
from agent.core.verification_types import Finished, State
from agent.messages import decode, fields
from agent.messages.decode import DecodeRules, read_ack, read_cancel, read_request
from agent.messages.signing import PublicKey
from agent.messages.topics import Topics
from agent.resources import config_file
from tests.contract import golden
from tests.contract.render import PAGE, page
from tests.contract.validator import assert_valid, channel_of, document, errors

MADE = golden.payloads()
SCHEMAS: dict[str, Any] = document()["components"]["schemas"]
RULES = DecodeRules(max_bytes=98_304, budget_max_ms=8_000)


# --- closed lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "codes"),
    [("decision", Decision), ("reason", Reason), ("refusal", Refusal), ("guidance", Guidance)],
)
def test_contract_closed_lists_equal_the_enums(schema: str, codes: type[StrEnum]) -> None:
    assert SCHEMAS[schema]["enum"] == [code.value for code in codes]


@pytest.mark.parametrize(
    ("schema", "groups"), [("reason", "x-who-acts"), ("refusal", "x-what-the-till-does")]
)
def test_contract_each_code_has_one_group(schema: str, groups: str) -> None:
    grouped = [code for codes in SCHEMAS[schema][groups].values() for code in codes]
    assert sorted(grouped) == sorted(SCHEMAS[schema]["enum"])


def test_contract_stages_equal_the_states() -> None:
    names = [state.__name__.lower() for state in get_args(State) if state is not Finished]
    assert SCHEMAS["stage"]["properties"]["stage"]["enum"] == names


def test_contract_limits_equal_those_of_the_decoder() -> None:
    request, reference = SCHEMAS["request"]["properties"], SCHEMAS["reference"]["properties"]
    assert request["ttl_ms"]["minimum"] == decode.TTL_MIN_MS
    assert request["ttl_ms"]["maximum"] == decode.TTL_MAX_MS
    assert request["transaction_id"]["maxLength"] == fields.TEXT_MAX_CHARS
    assert f"{{{fields.NONCE_MIN_CHARS},{fields.NONCE_MAX_CHARS}}}" in request["nonce"]["pattern"]
    assert request["crit"]["maxItems"] == request["require"]["maxItems"] == fields.LIST_MAX
    assert reference["url"]["maxLength"] == fields.URL_MAX_CHARS
    assert reference["image_b64"]["maxLength"] == fields.IMAGE_MAX_BYTES * 4 // 3 + 4


# --- topics -----------------------------------------------------------------------------------------


def test_contract_topics_equal_those_of_the_code() -> None:
    topics = Topics("shop-12", "terminal-3")
    for kind in ("request", "cancel", "ack", "event", "result", "get_state", "state_copy"):
        assert channel_of(topics.verify("till-1", kind)) == kind
    assert channel_of(topics.diag("back-office", "request")) == "diag"
    assert channel_of(topics.diag("back-office", "report")) == "report"
    assert channel_of(topics.state) == "state"
    assert channel_of(topics.health) == "health"
    for unknown in (topics.verify("till-1", "reply"), topics.state + "/x", "facepay/v2/a/b/state"):
        with pytest.raises(AssertionError, match="no topic"):
            channel_of(unknown)


def test_contract_each_topic_has_two_operations_and_only_state_is_retained() -> None:
    operations = document()["operations"]
    assert set(operations) == {
        f"{side}.{name}" for side in ("till", "terminal") for name in document()["channels"]
    }
    for name, operation in operations.items():
        side, channel = name.split(".")
        other = operations[f"{'till' if side == 'terminal' else 'terminal'}.{channel}"]
        assert {operation["action"], other["action"]} == {"send", "receive"}
        bindings = operation["bindings"]["mqtt"]
        assert bindings["retain"] is (channel == "state")
        assert bindings["qos"] == (0 if channel == "health" else 1)
        assert bindings == other["bindings"]["mqtt"]


# --- payloads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MADE)
def test_payload_is_valid_and_equals_the_golden_file(name: str) -> None:
    topic, payload = MADE[name]
    assert_valid(topic, payload)
    assert (golden.FOLDER / f"{name}.json").read_bytes() == payload, "run: python -m tests.contract.golden"


def test_golden_files_equal_the_payload_names() -> None:
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == set(MADE)


def test_contract_examples_equal_the_payloads() -> None:
    path = config_file("facepay.asyncapi.yaml")
    text = path.read_text(encoding="utf-8")
    assert golden.with_examples(text, MADE) == text, "run: python -m tests.contract.golden"
    shown = {
        example["name"]: example["payload"]
        for message in document()["components"]["messages"].values()
        for example in message["examples"]
    }
    assert shown == {name: json.loads(payload) for name, (_, payload) in MADE.items()}


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.contract.render"


@pytest.mark.parametrize("name", [name for name in MADE if name.startswith("result")])
def test_golden_result_is_signed_with_the_golden_key(name: str) -> None:
    key = PublicKey.load((golden.FOLDER / "terminal-key.pem").read_bytes())
    envelope = json.loads(MADE[name][1])
    assert key.verify(envelope["result"], envelope["jws"], "result")
    assert not key.verify(envelope["result"], envelope["jws"], "cancel")
    assert not key.verify(envelope["result"].replace("shop-12", "shop-13"), envelope["jws"], "result")


@pytest.mark.parametrize("name", ["request", "request-inline", "request-signed"])
def test_read_request_accepts_the_golden_requests(name: str) -> None:
    read = read_request(MADE[name][1], golden.TILL, RULES, received_ms=0)
    assert (read.request_id, read.epoch, read.budget_ms) == (golden.REQUEST_ID, golden.EPOCH, 8_000)


def test_read_cancel_and_read_ack_accept_the_golden_messages() -> None:
    for suffix in ("", "-signed"):
        assert read_cancel(MADE[f"cancel{suffix}"][1], golden.TILL, RULES) == golden.REQUEST_ID
        assert read_ack(MADE[f"ack{suffix}"][1], golden.TILL, RULES) == golden.RESULT_ID


# --- the schemas can fail ---------------------------------------------------------------------------

RESULT: dict[str, Any] = json.loads(json.loads(MADE["result-match"][1])["result"])
BROKEN_RESULTS = [
    pytest.param({"decision": "approved"}, id="an unknown decision"),
    pytest.param({"reason": "looks_fine"}, id="an unknown reason"),
    pytest.param({"reason": "no_face"}, id="a match with a reason of no match"),
    pytest.param({"decision": "undecided"}, id="undecided about the same person"),
    pytest.param({"compare": None}, id="a match without a comparison"),
    pytest.param({"seq": 0}, id="seq starts at 1"),
    pytest.param({"seq": 1.5}, id="seq is an integer"),
    pytest.param({"similarity": 99}, id="an undefined field"),
    pytest.param({"compare": RESULT["compare"] | {"similarity": 101}}, id="similarity beyond its scale"),
    pytest.param({"assurance": RESULT["assurance"] | {"liveness": "skipped"}}, id="an unknown liveness"),
    pytest.param({"issued_at": "2026-03-14 16:00"}, id="time without zone"),
    pytest.param({"request_sha256": "AB" * 32}, id="hex is lower-case"),
    pytest.param({"hint": {}}, id="no text for the cashier"),
]


@pytest.mark.parametrize("change", BROKEN_RESULTS)
def test_schema_refuses_an_invalid_result(change: dict[str, Any]) -> None:
    assert errors(RESULT, "result") == []
    assert errors(RESULT | change, "result") != []


@pytest.mark.parametrize("field", list(RESULT))
def test_schema_each_field_of_a_result_is_required(field: str) -> None:
    assert errors({name: value for name, value in RESULT.items() if name != field}, "result") != []


BROKEN_REQUESTS: list[Any] = [
    pytest.param({"sent_at_ms": -1}, id="sent before 1970"),
    pytest.param({"terminal": "terminal 3"}, id="a space in an id"),
    pytest.param({"transaction_id": "a\x1b[2J"}, id="control characters"),
    pytest.param({"ttl_ms": 999}, id="too short"),
    pytest.param({"ttl_ms": 60_001}, id="too long"),
    pytest.param({"ttl_ms": True}, id="true is no number"),
    pytest.param({"nonce": "0123456789abcdef"}, id="64 bits are too few"),
    pytest.param({"request_id": "7D444840-9DC0-41D1-B245-5FFDCE74FAD2"}, id="upper-case uuid"),
    pytest.param({"schema": "facepay.request/2"}, id="another version"),
    pytest.param({"reference": {"sha256": "0" * 64}}, id="no photo"),
    pytest.param({"reference": {"sha256": "0" * 64, "url": "u", "image_b64": "QUJD"}}, id="two photos"),
    pytest.param({"reference": {"url": "https://photos.example/1.jpg"}}, id="a photo without its hash"),
    pytest.param({"till": "till/1"}, id="a slash in an id"),
]


@pytest.mark.parametrize("change", BROKEN_REQUESTS)
def test_read_request_refuses_the_requests_that_the_schema_refuses(change: dict[str, Any]) -> None:
    tree = golden.REQUEST_TREE | change
    assert errors(tree, "request", exact=False) != []
    with pytest.raises(fields.Rejected):
        read_request(json.dumps(tree).encode(), golden.TILL, RULES, received_ms=0)


def test_request_with_an_unknown_field_is_accepted() -> None:
    payload = json.dumps(golden.REQUEST_TREE | {"basket": 3}).encode()
    topic = golden.TOPICS.verify(golden.TILL, "request")
    assert_valid(topic, payload, exact=False)
    assert read_request(payload, golden.TILL, RULES, received_ms=0)
    with pytest.raises(AssertionError, match="basket"):
        assert_valid(topic, payload)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("result", json.dumps(RESULT).encode()),
        ("result", b"[]"),
        ("event", b'{"schema":"facepay.event/1","event":"paid","request_id":null}'),
        ("request", b'{"a":1,"a":2}'),
    ],
    ids=["an unsigned result", "no object", "an unknown event", "a key twice"],
)
def test_assert_valid_refuses_other_messages(kind: str, payload: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        assert_valid(golden.TOPICS.verify(golden.TILL, kind), payload)


def test_package_contains_the_contract() -> None:
    assert Path(config_file("facepay.asyncapi.yaml")).is_file()


# --- the schema and the terminal agree ------------------------------------------------------------------

_TEXT = st.text(max_size=140) | st.text("a\u3000\u00a0\U0001f600\x1f\x7f\x85\u2028\n", max_size=3)
_ANY = st.none() | st.booleans() | st.integers(-1, 2**54) | st.floats(allow_nan=False) | _TEXT
_CHANGES = {
    "transaction_id": _TEXT | _ANY,
    "epoch": _TEXT | _ANY,
    "consent_ref": _TEXT | _ANY,
    "locale": _TEXT | _ANY,
    "require": st.lists(_TEXT | _ANY, max_size=18) | _ANY,
    "ttl_ms": st.integers(900, 1_100) | st.integers(59_900, 60_100).map(float) | _ANY,
    "sent_at_ms": st.integers(-10, 10) | _ANY,
    "site": st.sampled_from(["shop-12", "a b", "x" * 65, ""]) | st.integers(),
    "terminal": st.sampled_from(["terminal-3", "", "ä"]) | st.none(),
}
_REFERENCE = st.fixed_dictionaries(
    {"sha256": st.just(golden.PHOTO_SHA256)},
    optional={"url": _TEXT | _ANY, "image_b64": st.none() | st.just("")},
)


@given(change=st.fixed_dictionaries({}, optional={**_CHANGES, "reference": _REFERENCE}))
@example({"transaction_id": "\u3000"})
@example({"transaction_id": "a\x7f"})
@example({"ttl_ms": 8_000.0})
@example({"reference": {"sha256": golden.PHOTO_SHA256, "url": None, "image_b64": ""}})
def test_read_request_accepts_exactly_the_requests_of_the_schema(change: dict[str, Any]) -> None:
    tree = golden.REQUEST_TREE | change
    valid = errors(tree, "request", exact=False) == []
    try:
        read_request(json.dumps(tree).encode(), golden.TILL, RULES, received_ms=0)
    except fields.Rejected as error:
        assert not valid, error.detail
    else:
        assert valid, errors(tree, "request", exact=False)
