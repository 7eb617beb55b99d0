"""Each failure of the service has a documented error code of CompareFace."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.compare import codes, compareface, contract
from agent.compare.contract import ApiFailure
from agent.core.reasons import Reason
from agent.errors import CompareError
from agent.service.causes import Cause
from agent.service.compareface_errors import BY_CAUSE, BY_CODE, error_body, error_code
from agent.service.service_listener import body_for_every_api

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "compareface.md"


def test_tables_are_complete() -> None:
    assert BY_CODE.keys() == codes.table().keys() - {0}
    assert BY_CAUSE.keys() == set(Cause)


def test_every_error_code_is_one_of_the_provider() -> None:
    assert {*BY_CODE.values(), *BY_CAUSE.values()} <= compareface.table().keys()


@pytest.mark.parametrize("code", sorted(codes.table().keys() - {0}))
def test_client_decodes_the_error_of_each_code(code: int) -> None:
    body = error_body(ApiFailure(code, fail_flag=1), "r")
    with pytest.raises(CompareError) as caught:
        compareface.parse_answer(200, body)
    assert caught.value.code == compareface.table()[BY_CODE[code]].reason
    assert "unknown" not in str(caught.value)


@pytest.mark.parametrize("cause", list(Cause))
def test_cause_decides_before_the_code(cause: Cause) -> None:
    failure = ApiFailure(21, "why", fail_flag=2, cause=cause)
    assert error_code(failure) == BY_CAUSE[cause]
    message = json.loads(error_body(failure, "r"))["Response"]["Error"]["Message"]
    assert message == f"{cause}: why (image B)"


@pytest.mark.parametrize("parse", [contract.parse_answer, compareface.parse_answer])
def test_refused_connection_is_busy_for_the_client_of_either_api(
    parse: Callable[[int, bytes], object],
) -> None:
    body = body_for_every_api(ApiFailure(15, cause=Cause.CONNECTIONS))
    with pytest.raises(CompareError) as caught:
        parse(200, body)
    assert caught.value.code == Reason.COMPARE_BUSY


def test_documented_table_is_the_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table_text = text[text.index("| `Error.Code` |") :].partition("\n")[2]
    rows = re.findall(r"^\| `([A-Za-z.]+)` \| (.*?) \| (.*?) \|", table_text, re.MULTILINE)
    documented = {
        code: (set(re.findall(r"`(\w+)`", causes)), {int(number) for number in re.findall(r"-?\d+", numbers)})
        for code, causes, numbers in rows
    }
    table: dict[str, tuple[set[str], set[int]]] = defaultdict(lambda: (set(), set()))
    for cause, code in BY_CAUSE.items():
        table[code][0].add(str(cause))
    for number, code in BY_CODE.items():
        table[code][1].add(number)
    assert documented == dict(table)
