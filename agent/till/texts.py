"""Words for people: the locale files, read once when first needed."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Literal

from agent.resources import data

FALLBACK = "en"
LOCALES = ("en", "zh-CN")

Kind = Literal["reason", "refusal", "guidance"]


@cache
def _table(locale: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(data(f"locales/{locale}.toml").read_text(encoding="utf-8"))


def pick(wanted: str | None) -> str:
    """The shipped locale that fits a BCP 47 tag best: ``zh-Hans-CN`` is served by ``zh-CN``; else English."""
    language = (wanted or FALLBACK).split("-")[0].lower()
    return next((name for name in LOCALES if name.split("-")[0] == language), FALLBACK)


def text(kind: Kind, word: str, locale: str | None) -> dict[str, str]:
    """``{locale: text}`` for a word of a closed list: the wanted locale, or English."""
    name = pick(locale)
    return {name: _table(name)[kind][word]}
