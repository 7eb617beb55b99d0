"""A failed call has the operator text of the code table, in both languages."""

from __future__ import annotations

import pytest

from agent.compare.codes import table
from agent.compare.contract import ApiFailure, failure_body, parse_answer
from agent.errors import CompareError
from tests.texts import en, zh


@pytest.mark.parametrize("code", [code for code in table() if code != 0])
def test_every_code_has_an_operator_text_in_english_and_chinese(code: int) -> None:
    with pytest.raises(CompareError) as caught:
        parse_answer(200, failure_body(ApiFailure(code), "session"))
    assert caught.value.api_code == code
    assert en(caught.value.fix).isascii() and en(caught.value.fix)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in zh(caught.value.fix))
