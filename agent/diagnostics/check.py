"""Values of the doctor: checks, findings and reports."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from agent.diagnostics.check_inputs import CheckInputs
from agent.log import without_url_secrets
from agent.texts import Text, json_fields


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict
    WARN = "warn"  # works, but needs attention
    FAIL = "fail"  # the cause of a fault
    SKIP = "skip"  # not applicable here, or a consequence of the failure of another check


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        reason: a ``Text`` in every language, or an English sentence, e.g. the message of an error.
        because: the failed check that caused a skip; otherwise empty.
    """

    verdict: Verdict
    reason: str | Text
    remedy: Text | None = None
    because: str = ""

    @property
    def why(self) -> str:
        """The reason in English."""
        return str(self.reason)


def passed(reason: str | Text) -> Finding:
    return Finding(Verdict.PASS, reason)


def warning(reason: str | Text, remedy: Text) -> Finding:
    return Finding(Verdict.WARN, reason, remedy)


def failed(reason: str | Text, remedy: Text) -> Finding:
    return Finding(Verdict.FAIL, reason, remedy)


def skipped(reason: str | Text) -> Finding:
    """The check does not apply here. Checks that depend on it still run."""
    return Finding(Verdict.SKIP, reason)


def consequence(cause: str) -> Finding:
    return Finding(Verdict.SKIP, Text("why.consequence", cause=cause), because=cause)


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. ``run`` may block: its thread is abandoned after ``timeout_s``.

    An ``AgentError`` from ``run`` is a failure with the code and the fix of the error.
    """

    id: str
    run: Callable[[CheckInputs], Finding]
    depends_on: tuple[str, ...] = ()
    timeout_s: float = 10.0

    @property
    def title(self) -> Text:
        return Text(f"check.{self.id}")

    @property
    def group(self) -> str:
        """The part of the terminal, e.g. ``camera``."""
        return self.id.partition(".")[0]

    @property
    def docs(self) -> str:
        """The section of the documentation about this check."""
        return f"docs/reference/doctor.md#{''.join(self.id.split('.'))}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    check: Check
    finding: Finding
    spent_ms: int

    def facts(self) -> dict[str, object]:
        check, finding = self.check, self.finding
        return {
            "id": check.id,
            **json_fields("title", check.title),
            "verdict": finding.verdict,
            **_reason_fields(finding.reason),
            "because": finding.because,
            **json_fields("fix", finding.remedy),
            "docs": check.docs,
            "spent_ms": self.spent_ms,
        }


def _reason_fields(reason: str | Text) -> dict[str, str]:
    """JSON fields, one per language, without the secrets of urls."""
    return {field: without_url_secrets(sentence) for field, sentence in json_fields("why", reason).items()}
