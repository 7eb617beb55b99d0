"""No text for a technician advises the payer or the cashier, e.g. to pay in another way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agent
from agent.compare import codes, compareface
from agent.compare.contract import ApiFailure, failure_body, parse_answer
from agent.core.reasons import Reason
from agent.errors import AgentError, CompareError
from agent.health.conditions import fix_for
from agent.page import page_texts
from agent.texts import locales, read_messages
from tests.texts import en, zh

AGENT = Path(agent.__file__).parent
# What a till or the payer's screen shows. All other texts are of doctor, status, why, page and commands.
FOR_TILLS = {"reason", "refusal", "guidance", "api_code", "compareface", "display"}
ADVICE = re.compile(
    r"\b(take|pay(ing)? (with|by)|use) (a )?(card|cash)\b|\bcash\b|another (way to pay|payment)"
    r"|other way to pay|please try again|ask the customer"
    r"|现金|刷卡|银行卡|其他(付款|支付)?方式|请顾客|收银员",
    re.IGNORECASE,
)


@pytest.mark.parametrize("locale", locales())
def test_no_text_for_a_technician_advises_the_payer(locale: str) -> None:
    texts = read_messages(AGENT / f"data/messages/{locale}.toml")
    found = [key for key, text in texts.items() if key.split(".")[0] not in FOR_TILLS and ADVICE.search(text)]
    assert found == []


def test_the_advice_of_the_tills_texts_is_found() -> None:
    for locale in locales():
        texts = read_messages(AGENT / f"data/messages/{locale}.toml")
        for key in ("reason.compare_unreachable", "reason.attempt_limit", "api_code.unknown"):
            assert ADVICE.search(texts[key]), key


def test_page_gets_no_text_of_the_tills_but_the_guidance_in_the_picture() -> None:
    assert {"reason", "refusal", "api_code"}.isdisjoint(page_texts.document())
    assert set(page_texts.document()["outcome"]) == {each.value for each in Reason}


@pytest.mark.parametrize("code", [code for code in codes.table() if code])
def test_an_api_code_has_the_fix_of_a_technician(code: int) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, failure_body(ApiFailure(code), "session"))
    assert_for_technicians(caught.value)


@pytest.mark.parametrize("code", [-99_999, 99_999])
def test_an_unknown_api_code_has_the_fix_of_a_technician(code: int) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, b'{"code": %d}' % code)
    assert_for_technicians(caught.value)


@pytest.mark.parametrize("name", [*compareface.table(), "Unknown.Code"])
def test_a_compareface_code_has_the_fix_of_a_technician(name: str) -> None:
    assert_for_technicians(compareface.error_of_code(name, ""))


def assert_for_technicians(error: AgentError) -> None:
    fix = fix_for(error)
    assert fix.key.split(".")[0] in ("fix", "condition")
    for text in (en(fix), zh(fix), str(error)):
        assert not ADVICE.search(text), text
