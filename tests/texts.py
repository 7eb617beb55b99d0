"""A text in one language, for assertions."""

from __future__ import annotations

from agent.texts import Text


def en(text: Text) -> str:
    return text.write("en")


def zh(text: Text) -> str:
    return text.write("zh-CN")
