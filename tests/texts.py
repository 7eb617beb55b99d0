"""A text in one language, and a third language, for assertions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import texts
from agent.resources import data
from agent.texts import Text


def en(text: Text) -> str:
    return text.write("en")


def zh(text: Text) -> str:
    return text.write("zh-CN")


@contextmanager
def french_installed(folder: Path) -> Iterator[None]:
    """The message files with a third language: each French text is ``[fr]`` and the English text."""
    for locale in texts.locales():
        (folder / f"{locale}.toml").write_bytes(data(f"messages/{locale}.toml").read_bytes())
    english = (folder / "en.toml").read_text(encoding="utf-8")
    french = re.sub(r'^((?:"[^"]+"|[\w-]+) = )"', r'\1"[fr] ', english, flags=re.MULTILINE)
    (folder / "fr.toml").write_text(french, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "data", lambda name: folder / name.removeprefix("messages").lstrip("/"))
        _forget_files()
        try:
            yield
        finally:
            patch.undo()
            _forget_files()


def _forget_files() -> None:
    texts.locales.cache_clear()
    texts._messages.cache_clear()
