"""docs/reference/reasons.md, from the closed lists: ``python -m tests.docs.reasons_page``."""

from __future__ import annotations

from pathlib import Path

from agent.core.reasons import Guidance, Reason, Refusal
from agent.texts import texts_below
from tests.texts import en, zh

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "reasons.md"

INTRO = """# Reasons, refusals and guidance

This page is generated from the code (`python -m tests.docs.reasons_page`). A test fails when the page is
out of date. The tables contain every code of the closed lists and its text for cashier or payer, in English
and Chinese.

A till must treat an unknown decision or reason as `undecided`.
"""


def _table(title: str, kind: str, codes: list[str]) -> str:
    texts = texts_below(kind)
    rows = "\n".join(f"| `{code}` | {en(texts[code])} | {zh(texts[code])} |" for code in codes)
    return f"\n## {title}\n\n| code | English | 中文 |\n|---|---|---|\n{rows}\n"


def page() -> str:
    """The complete page."""
    return (
        INTRO
        + _table("Reasons of a decision", "reason", [reason.value for reason in Reason])
        + _table(
            "Refusals (events without a verification)", "refusal", [refusal.value for refusal in Refusal]
        )
        + _table("Guidance for the payer", "guidance", [guidance.value for guidance in Guidance])
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
