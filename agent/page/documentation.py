"""Sections of the installed documentation as text: the targets of the links in findings and conditions.

The page serves the sections itself, because a terminal may have no other network.
"""

from __future__ import annotations

import re
from functools import lru_cache

from agent.resources import documents

PAGES = ("doctor", "conditions")  # of docs/reference
_CACHED = 128  # sections, more than both pages have; the request names the key, so the number must be bounded
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


@lru_cache(maxsize=_CACHED)
def section(page: str, anchor: str) -> str | None:
    """The section of ``docs/reference/PAGE.md`` with its heading; None: not found or not installed."""
    if page not in PAGES:
        return None
    try:
        text = (documents() / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    except OSError:
        return None
    headings = list(_HEADING.finditer(text))
    for number, heading in enumerate(headings):
        if _anchor(heading[2]) == anchor:
            later = (each.start() for each in headings[number + 1 :] if len(each[1]) <= len(heading[1]))
            return text[heading.start() : next(later, len(text))].rstrip() + "\n"
    return None


def _anchor(heading: str) -> str:
    """The name that a heading has as a link target, as on GitHub."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
