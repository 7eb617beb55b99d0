"""The error of a till for each refusal of a terminal."""

from __future__ import annotations

import pytest

from agent.core.reasons import Refusal
from agent.kits.till.client import refused
from agent.texts import Text, texts_below

GENERAL = Text("fix.request_refused_by_terminal")


def test_each_refusal_and_no_other_code_has_a_fix() -> None:
    assert texts_below("refusal_fix").keys() == set(Refusal)


@pytest.mark.parametrize("refusal", Refusal)
def test_refusal_has_its_sentence_and_its_own_fix_in_each_language(refusal: Refusal) -> None:
    error = refused(refusal, "details of the terminal")
    assert error.code == refusal and error.fix != GENERAL
    for locale in ("en", "zh-CN"):
        assert isinstance(error.detail, Text)
        assert error.detail.write(locale).startswith(Text(f"refusal.{refusal}").write(locale))


def test_refusal_for_a_missing_signature_names_the_option_and_the_command() -> None:
    error = refused("signature_missing", "this terminal accepts only signed messages from this till")
    assert "--sign-key" in str(error.fix) and "facepay keys trust" in str(error.fix)
    assert isinstance(error.detail, Text) and error.detail.write("zh-CN") == "请求没有签名。"


def test_refusal_for_a_photo_in_the_request_quotes_the_detail() -> None:
    error = refused("request_malformed", "reference.image_b64 is not allowed here")
    assert "image_b64" in str(error.detail) and "inline_reference" in str(error.fix)


def test_unknown_refusal_of_a_newer_terminal_is_quoted() -> None:
    error = refused("too_hot", "85 C")
    assert (str(error.detail), error.fix) == ("too_hot: 85 C", GENERAL)
