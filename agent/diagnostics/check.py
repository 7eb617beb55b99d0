"""What a check is, and what it finds: values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.diagnostics.world import World
from agent.log import without_url_secrets
from agent.texts import Text, named


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"  # works, but somebody should look
    FAIL = "fail"  # the cause of something that does not work
    SKIP = "skip"  # not applicable here, or the consequence of another check's failure


@dataclass(frozen=True, slots=True)
class Finding:
    """``because``: the failed check this one hangs on; empty for a finding of its own."""

    verdict: Verdict
    why: str
    remedy: Text | None = None
    because: str = ""


def passed(why: str) -> Finding:
    return Finding(Verdict.PASS, why)


def warning(why: str, remedy: Text) -> Finding:
    return Finding(Verdict.WARN, why, remedy)


def failed(why: str, remedy: Text) -> Finding:
    return Finding(Verdict.FAIL, why, remedy)


def skipped(why: str) -> Finding:
    """Does not apply here. Hinders no check that depends on this one."""
    return Finding(Verdict.SKIP, why)


def consequence(cause: str) -> Finding:
    return Finding(Verdict.SKIP, f"because {cause} failed", because=cause)


_SLOW = Text("fix.check_timed_out")


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. ``run`` may block: it has a thread of its own, abandoned after ``timeout_s``.

    An ``AgentError`` out of ``run`` is a failure with that error's code and fix.
    """

    id: str
    run: Callable[[World], Finding]
    depends_on: tuple[str, ...] = ()
    timeout_s: float = 10.0
    if_silent: Text = _SLOW

    @property
    def title(self) -> Text:
        return Text(f"check.{self.id}")


@dataclass(frozen=True, slots=True)
class CheckReport:
    check: Check
    finding: Finding
    spent_ms: int

    def facts(self) -> dict[str, object]:
        """Plain values for JSON, the same wherever a report is shown."""
        check, finding = self.check, self.finding
        return {
            "id": check.id,
            **named("title", check.title),
            "verdict": finding.verdict,
            "why": without_url_secrets(finding.why),
            "because": finding.because,
            **named("fix", finding.remedy),
            "spent_ms": self.spent_ms,
        }
