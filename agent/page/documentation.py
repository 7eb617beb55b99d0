"""Sections of the documentation in one language: the targets of the links in findings and conditions.

A section is made of the message files, so each language of the page has each section, and no section mixes
two. The page serves the sections itself, because a terminal may have no other network.
"""

import html
import re
from collections.abc import Iterator

from agent.texts import Text, has_text, locales, texts_below

_HTML = """<!doctype html>
<html lang="{locale}"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · facepay</title><link rel="stylesheet" href="/page.css">
<main class="document"><nav>{links}</nav>
<section class="wide"><h1>{title}</h1><p class="quiet"><code>{name}</code></p>{body}</section></main></html>
"""


def section(page: str, anchor: str, locale: str) -> str | None:
    """One section as an HTML document; None for an unknown one.

    Args:
        page: ``doctor`` or ``conditions``, as the file in docs/reference.
        anchor: the name of the section in that file.
        locale: an installed language.
    """
    if page == "doctor":
        checks_by_anchor = {name.replace(".", ""): name for name in texts_below("check")}
        name = checks_by_anchor.get(anchor, "")
        parts = _check(name, locale) if name else None
        title = Text(f"check.{name}")
    else:
        name = anchor if page == "conditions" and has_text(f"condition.{anchor}.title") else ""
        parts = _condition(name, locale) if name else None
        title = Text(f"condition.{name}.title")
    if parts is None:
        return None
    facts = {"title": html.escape(title.write(locale)), "name": html.escape(name), "body": "".join(parts)}
    return _HTML.format(locale=locale, links=_links(locale), **facts)


def _check(name: str, locale: str) -> Iterator[str]:
    """The possible results. A value that only a run shows is written as an ellipsis."""
    results = [
        text.template(locale) for key, text in texts_below("why").items() if key.startswith(f"{name}.")
    ]
    if results:
        yield _heading("doc_results", locale)
        yield (
            "<ul>"
            + "".join(f"<li>{_marked(re.sub(r'{.*?}', '…', result))}</li>" for result in results)
            + "</ul>"
        )


def _condition(name: str, locale: str) -> Iterator[str]:
    for heading, part in (("doc_cause", "cause"), ("doc_fix", "fix")):
        yield _heading(heading, locale)
        yield f"<p>{_marked(Text(f'condition.{name}.{part}').write(locale))}</p>"


def _heading(key: str, locale: str) -> str:
    return f"<h2>{html.escape(Text(f'page.{key}').write(locale))}</h2>"


def _links(locale: str) -> str:
    """Back to the page, and this section in the other languages."""
    others = (other for other in locales() if other != locale)
    names = "".join(
        f' <a href="?lang={other}" lang="{other}">{html.escape(Text("page.language").write(other))}</a>'
        for other in others
    )
    return f'<a href="/">{html.escape(Text("page.doc_back").write(locale))}</a>{names}'


def _marked(text: str) -> str:
    """The text as HTML; `` `code` `` becomes an element."""
    return re.sub("`(.+?)`", r"<code>\1</code>", html.escape(text))
