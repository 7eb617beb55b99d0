"""Each refusal has a cause in the answer, in the log and in the metrics; the log keeps each session."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.http_connection import Closed
from agent.log import Sparing
from agent.service.causes import Cause
from agent.service.compare_service import CompareService
from agent.service.settings import EXAMPLE_SECRET
from tests.service.kit import APPID, account, files, post, running, sign, slow_machine_config
from tests.service.pictures import photo, plain
from tests.service.test_endpoint import raw_multipart

OBAMA = photo("obama_portrait")
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "compare-contract.md"
JSON = {"Content-Type": "application/json"}


def field(name: str, value: bytes) -> tuple[str, bytes]:
    return f'name="{name}"', value


APP = field("appid", APPID.encode())
OPEN_PART: dict[str, Any] = raw_multipart(APP)
CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("media_type", 21, {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
    ("json_invalid", 21, {"content": b"{", "headers": JSON}),
    ("json_no_object", 21, {"content": b"[]", "headers": JSON}),
    ("json_key_repeated", 21, {"content": b'{"appid":"1","appid":"2"}', "headers": JSON}),
    ("field_type", 21, {"json": {"appid": APPID, "urlA": 7}}),
    ("field_characters", 21, raw_multipart(field("appid", b"\xff"))),
    ("field_repeated", 21, raw_multipart(APP, APP)),
    ("parts_too_many", 21, raw_multipart(*[field("x", b"")] * 40)),
    ("multipart_unfinished", 21, {**OPEN_PART, "content": OPEN_PART["content"][:-6]}),
    ("multipart_broken", 21, {**OPEN_PART, "content": b"nonsense"}),
    ("no_face", -1101, files(plain(300, 300), OBAMA)),
    ("format", -1400, files(b"GIF89a", OBAMA)),
    ("unfinished", -1102, files(OBAMA[:2_000], OBAMA)),
    ("not_public", -1308, {"json": {"appid": APPID, "urlA": "http://127.0.0.1/", "urlB": "http://x/"}}),
    ("url", -1505, {"json": {"appid": APPID, "urlA": "http://a:70000/", "urlB": "http://x/"}}),
]


@pytest.fixture(scope="module")
def service() -> Iterator[CompareService]:
    accounts = (account("AKIDEXAMPLEEXAMPLEEXAMPLE"), account("SLOW", appid="2", rate_per_s=0.001, burst=1))
    with running(slow_machine_config(accounts=accounts)) as made:
        yield made


def metrics(service: CompareService) -> str:
    with httpx.Client(trust_env=False, verify=False) as http:
        return http.get(service.url.replace("/face/compare", "/metrics")).text


@pytest.mark.parametrize(("cause", "code", "request_"), CASES, ids=[case[0] for case in CASES])
def test_cause_is_in_answer_log_and_metrics(
    service: CompareService,
    caplog: pytest.LogCaptureFixture,
    cause: str,
    code: int,
    request_: dict[str, Any],
) -> None:
    caplog.set_level(logging.INFO)
    answer = post(service, **request_)
    assert (answer["code"], answer["data"]["cause"]) == (code, cause)
    logged = [record.__dict__["facts"] for record in caplog.records if record.msg == "answered"]
    assert logged[-1]["cause"] == cause and logged[-1]["session"] == answer["data"]["session_id"]
    assert logged[-1]["account"] == APPID
    assert f'facepay_service_refusals_total{{cause="{cause}",code="{code}"}}' in metrics(service)


def test_account_rate_is_named_and_counted_for_its_account(service: CompareService) -> None:
    answers = [
        post(service, authorization=sign(appid="2", secret_id="SLOW"), json={"appid": "2"}) for _ in range(2)
    ]
    assert [(each["code"], each["data"]["cause"]) for each in answers[1:]] == [(15, "account_rate")]
    assert 'facepay_service_account_answers_total{appid="2",code="15"}' in metrics(service)


def test_labels_are_bounded_by_the_config(service: CompareService) -> None:
    """A client with a key can sign for any appid; the label is the account's appid."""
    for number in range(20):
        post(service, authorization=sign(appid=f"invented-{number}"), json={"appid": f"invented-{number}"})
        post(service, authorization=sign(secret_id=f"unknown-{number}"), json={})
    text = metrics(service)
    assert "invented" not in text and "unknown-" not in text
    assert set(re.findall(r'appid="([^"]*)"', text)) <= {APPID, "2", "none"}


def test_metrics_show_queue_memory_and_cache(service: CompareService) -> None:
    for _ in range(2):
        post(service, **files(OBAMA, OBAMA))
    text = metrics(service)
    for name in ("queue_depth 0.0", "flight_bytes 0.0", "connections ", "ready 1.0", "comparisons_open 0.0"):
        assert f"facepay_service_{name}" in text
    assert re.search(r"facepay_service_cache_hits [1-9]", text)
    assert re.search(r"facepay_service_queue_wait_seconds_count [1-9]", text)


def test_log_limit_drops_no_session_of_an_account(
    service: CompareService, caplog: pytest.LogCaptureFixture
) -> None:
    limit = Sparing()
    caplog.set_level(logging.INFO)
    sessions = [post(service, json={"appid": APPID})["data"]["session_id"] for _ in range(150)]
    forged = [post(service, authorization=sign(key=EXAMPLE_SECRET + b"x"), json={}) for _ in range(150)]
    records = [record for record in caplog.records if record.msg == "answered"]
    written = {record.__dict__["facts"]["session"] for record in records if limit.filter(record)}
    assert set(sessions) <= written
    assert len({each["data"]["session_id"] for each in forged} & written) < 100, "other lines stay limited"


def test_documented_causes_are_the_causes() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = text[text.index("## Causes") : text.index("## Closed connections")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {str(each) for each in Cause}


def test_documented_causes_of_closed_connections_are_the_causes() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = text[text.index("## Closed connections") : text.index("## Injected faults")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {str(each) for each in Closed}
