"""docs/reasons.md, from the closed lists and the locale files: ``python -m tests.docs.reasons_page``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agent.core.reasons import Guidance, Reason, Refusal
from agent.resources import data

PAGE = Path(__file__).parent.parent.parent / "docs" / "reasons.md"

INTRO = """# What people read: reasons, refusals and hints

One line per word of the closed lists, in English and Chinese. This page is written from the code
(`python -m tests.docs.reasons_page`); a test fails when it is out of date.

A till treats a decision or reason it does not know as `undecided`.
"""


def _table(title: str, kind: str, words: list[str]) -> str:
    texts = [
        tomllib.loads(data(f"locales/{name}.toml").read_text(encoding="utf-8"))[kind]
        for name in ("en", "zh-CN")
    ]
    rows = "\n".join(f"| `{word}` | {texts[0][word]} | {texts[1][word]} |" for word in words)
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
