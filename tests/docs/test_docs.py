"""Documents that are written from the code stay true to it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from agent.core.reasons import Guidance, Reason, Refusal
from agent.resources import data
from tests.docs import conditions_page, doctor_page, privacy_page, retention_page
from tests.docs.reasons_page import PAGE, page

ROOT = Path(__file__).parent.parent.parent


def test_the_reasons_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.reasons_page"


def test_the_doctors_page_is_current() -> None:
    said = doctor_page.PAGE.read_text(encoding="utf-8")
    assert said == doctor_page.page(), "run: python -m tests.docs.doctor_page"


def test_the_privacy_page_is_current() -> None:
    said = privacy_page.PAGE.read_text(encoding="utf-8")
    assert said == privacy_page.page(), "run: python -m tests.docs.privacy_page"


def test_the_conditions_page_and_the_table_of_troubles_are_current() -> None:
    said = conditions_page.PAGE.read_text(encoding="utf-8")
    assert said == conditions_page.page(), "run: python -m tests.docs.conditions_page"
    readme = conditions_page.README.read_text(encoding="utf-8")
    assert readme == conditions_page.with_table(readme), "run: python -m tests.docs.conditions_page"


def test_the_retention_table_has_the_limits_of_the_code() -> None:
    said = retention_page.PAGE.read_text(encoding="utf-8")
    assert said == retention_page.page(), "run: python -m tests.docs.retention_page"


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_every_word_has_a_text_and_no_text_is_left_over(locale: str) -> None:
    texts = tomllib.loads(data(f"messages/{locale}.toml").read_text(encoding="utf-8"))
    for kind, words in (("reason", Reason), ("refusal", Refusal), ("guidance", Guidance)):
        assert set(texts[kind]) == {word.value for word in words}
        assert all(text.strip() for text in texts[kind].values())


@pytest.mark.parametrize(
    "name", ["README.md", *(p.relative_to(ROOT) for p in sorted(ROOT.glob("docs/**/*.md")))]
)
def test_links_between_documents_lead_somewhere(name: str | Path) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert ((ROOT / name).parent / target).exists(), f"{name} links to {target}"
