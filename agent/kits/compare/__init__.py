"""The conformance kit for the 2018 compare API: sends every documented request to an endpoint as a black box.

Source: the API's documentation page and the bytes of real clients, not ``agent.service``. The kit does not
use the code of ``agent.compare`` that builds requests or decodes answers.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.errors import CompareError
from agent.kits.compare import check_answers, check_errors, check_requests, check_signatures
from agent.kits.compare.probe import Account, CheckOutcome, CheckRow, Differs, NotOffered, Probe, json_body

__all__ = ["CHECKS", "NOT_CHECKED", "Account", "CheckOutcome", "CheckRow", "Probe", "run"]

CHECKS = check_answers.CHECKS + check_requests.CHECKS + check_signatures.CHECKS + check_errors.CHECKS
NOT_CHECKED = "3, 12, 13, 15, 107, 108, 213, -1103, -1200: an account's or a server's state, not a request's"


async def run(probe: Probe, progress: Callable[[str], None] = lambda _words: None) -> tuple[CheckRow, ...]:
    """Run every check in order, with one or a few API calls each. ``progress``: called before each check.

    Raises ``CompareError`` (``compare_unreachable``): the first API call has no answer.
    """
    await probe.send(json_body({}), authorization="-")
    rows = []
    for number, check in enumerate(CHECKS, 1):
        progress(f"{number} of {len(CHECKS)}: {check.name}")
        try:
            outcome, reason = CheckOutcome.PASS, await check.run(probe)
        except Differs as error:
            outcome, reason = CheckOutcome.DIFFERS, str(error)
        except NotOffered as error:
            outcome, reason = CheckOutcome.NOT_OFFERED, str(error)
        except CompareError as error:
            outcome, reason = CheckOutcome.DIFFERS, f"no answer: {error}"
        rows.append(CheckRow(check.group, check.name, outcome, reason))
    return tuple(rows)
