"""What a check is, and what it finds: values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.diagnostics.world import World
from agent.log import without_url_secrets


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"  # works, but somebody should look
    FAIL = "fail"  # the cause of something that does not work
    SKIP = "skip"  # not applicable here, or the consequence of another check's failure


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about it, one line each."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Finding:
    """``because``: the failed check this one hangs on; empty for a finding of its own."""

    verdict: Verdict
    why: str
    remedy: Remedy | None = None
    because: str = ""


def passed(why: str) -> Finding:
    return Finding(Verdict.PASS, why)


def warning(why: str, remedy: Remedy) -> Finding:
    return Finding(Verdict.WARN, why, remedy)


def failed(why: str, remedy: Remedy) -> Finding:
    return Finding(Verdict.FAIL, why, remedy)


def skipped(why: str) -> Finding:
    """Does not apply here. Hinders no check that depends on this one."""
    return Finding(Verdict.SKIP, why)


def consequence(cause: str) -> Finding:
    return Finding(Verdict.SKIP, f"because {cause} failed", because=cause)


_SLOW = Remedy("Run it again; if it stays so, restart the terminal.", "请重试；如仍无响应，请重启终端。")


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. ``run`` may block: it has a thread of its own, abandoned after ``timeout_s``.

    An ``AgentError`` out of ``run`` is a failure with that error's code and fix.
    """

    id: str
    title: str
    title_zh: str
    run: Callable[[World], Finding]
    depends_on: tuple[str, ...] = ()
    timeout_s: float = 10.0
    if_silent: Remedy = _SLOW


@dataclass(frozen=True, slots=True)
class Report:
    check: Check
    finding: Finding
    spent_ms: int

    def facts(self) -> dict[str, object]:
        """Plain values for JSON, the same wherever a report is shown."""
        check, finding = self.check, self.finding
        return {
            "id": check.id,
            "title": check.title,
            "title_zh": check.title_zh,
            "verdict": finding.verdict,
            "why": without_url_secrets(finding.why),
            "because": finding.because,
            "fix": finding.remedy.en if finding.remedy else "",
            "fix_zh": finding.remedy.zh if finding.remedy else "",
            "spent_ms": self.spent_ms,
        }
