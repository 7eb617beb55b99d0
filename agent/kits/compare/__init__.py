"""The 2018 contract as a black box: asks any endpoint everything the page says, and tells what it answers.

Written against the page and the bytes of real clients, not against our service: nothing of ``agent.compare``
that builds a request or reads an answer is used here.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.errors import CompareError
from agent.kits.compare import check_answers, check_errors, check_requests, check_signatures
from agent.kits.compare.probe import (
    Account,
    CheckOutcome,
    CheckRow,
    ContractCheck,
    Differs,
    NotOffered,
    Probe,
)

__all__ = ["CHECKS", "NOT_CHECKED", "Account", "CheckOutcome", "CheckRow", "Probe", "run"]

CHECKS: tuple[ContractCheck, ...] = (
    *check_answers.CHECKS,
    *check_requests.CHECKS,
    *check_signatures.CHECKS,
    *check_errors.CHECKS,
)
NOT_CHECKED = "3, 12, 13, 15, 107, 108, 213, -1103, -1200: an account's or a server's state, not a request's"


async def run(probe: Probe, told: Callable[[str], None] = lambda _words: None) -> tuple[CheckRow, ...]:
    """Every check, one after the other; each is one question or a few. ``told`` of each before it is asked.

    Raises:
        CompareError: ``compare_unreachable`` when not even the first question is answered.
    """
    await probe.knock()
    rows = []
    for number, check in enumerate(CHECKS, 1):
        told(f"{number} of {len(CHECKS)}: {check.name}")
        rows.append(await _judged(check, probe))
    return tuple(rows)


async def _judged(check: ContractCheck, probe: Probe) -> CheckRow:
    try:
        outcome, reason = CheckOutcome.PASS, await check.run(probe)
    except Differs as error:
        outcome, reason = CheckOutcome.DIFFERS, str(error)
    except NotOffered as error:
        outcome, reason = CheckOutcome.NOT_OFFERED, str(error)
    except CompareError as error:
        outcome, reason = CheckOutcome.DIFFERS, f"no answer: {error}"
    return CheckRow(check.group, check.name, outcome, reason)
