"""docs/reference/privacy.md, with the data at rest: ``python -m tests.docs.privacy_page``."""

from __future__ import annotations

from pathlib import Path
from string import Template

from agent.diagnostics.stored_files import FILE_KINDS, FileLocation

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "privacy.md"

TEMPLATE = Path(__file__).parent / "privacy_page.md"


def page() -> str:
    """The complete page."""
    rows = [
        f"| `{each.location}` | `{each.pattern}` | {each.purpose} | {each.personal} | {each.kept} | "
        f"{_may_not(each.forbidden)} |"
        for each in FILE_KINDS
    ]
    text = Template(TEMPLATE.read_text(encoding="utf-8"))
    return text.substitute(rows="\n".join(rows), state=FileLocation.STATE)


def _may_not(forbidden: int) -> str:
    return {0o077: "open it", 0o007: "open it (its group may)", 0o002: "change it"}[forbidden]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
