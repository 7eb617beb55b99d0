"""docs/reasons.md, from the closed lists and the locale files: ``python -m tests.docs.reasons_page``."""

from __future__ import annotations

from pathlib import Path

from agent.core.reasons import Guidance, Reason, Refusal
from agent.texts import group
from tests.texts import en, zh

PAGE = Path(__file__).parent.parent.parent / "docs" / "reasons.md"

INTRO = """# What people read: reasons, refusals and hints

One line per word of the closed lists, in English and Chinese. This page is written from the code
(`python -m tests.docs.reasons_page`); a test fails when it is out of date.

A till treats a decision or reason it does not know as `undecided`.
"""


def _table(title: str, kind: str, words: list[str]) -> str:
    texts = group(kind)
    rows = "\n".join(f"| `{word}` | {en(texts[word])} | {zh(texts[word])} |" for word in words)
    return f"\n## {title}\n\n| word | English | 中文 |\n|---|---|---|\n{rows}\n"


def page() -> str:
    """The whole page."""
    return (
        INTRO
        + _table("Reasons under a decision", "reason", [reason.value for reason in Reason])
        + _table("Refusals (events, no verification)", "refusal", [refusal.value for refusal in Refusal])
        + _table("Hints to the payer", "guidance", [guidance.value for guidance in Guidance])
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
