"""The texts of the diagnostics page, from the message files.

The page's script gets the texts of all languages as JSON. The HTML files hold no text: an element names its
text by ``data-text`` (English), ``data-texts`` (all languages) or ``data-label`` (``aria-label``, English).
The script replaces the English texts when a user chooses another language.
"""

import html
import re
from typing import Any

from agent.texts import SOURCE, Text, locales, texts_below

KINDS = ("page", "frame", "guidance", "measure", "phase", "decision", "outcome")


def document() -> dict[str, Any]:
    """``locales``, and per kind: code -> texts with placeholders, in the order of ``locales``."""
    return {"locales": locales()} | {
        kind: {
            code: [text.template(locale) for locale in locales()] for code, text in texts_below(kind).items()
        }
        for kind in KINDS
    }


def fill(page: str) -> str:
    """An HTML file with its texts. Raises ``TextError``: no text has this key."""
    page = re.sub(r'data-text="(\w+)">', lambda match: match[0] + _text(match[1], SOURCE), page)
    page = re.sub(
        r'data-label="(\w+)"', lambda match: f'{match[0]} aria-label="{_text(match[1], SOURCE)}"', page
    )
    return re.sub(r' data-texts="(\w+)">', lambda match: ">" + _texts(match[1]), page)


def _texts(key: str) -> str:
    return " ".join(f'<span lang="{locale}">{_text(key, locale)}</span>' for locale in locales())


def _text(key: str, locale: str) -> str:
    """The text as HTML; `` `code` `` becomes an element."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(Text(f"page.{key}").write(locale)))
