"""The words of the closed lists for the page's script, in every language."""

from __future__ import annotations

from agent.texts import group, locales

KINDS = ("frame", "phase", "decision", "reason", "refusal")


def document() -> dict[str, dict[str, list[str]]]:
    """Kind, word, the text in each language in the order of ``locales()``."""
    return {
        kind: {word: [text.write(locale) for locale in locales()] for word, text in group(kind).items()}
        for kind in KINDS
    }
