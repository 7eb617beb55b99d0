"""The conformance kits for both compare APIs: send every documented request to an endpoint as a black box.

Source: the documentation pages of the APIs and the bytes of real clients, not ``agent.service``. The kits do
not use the code of ``agent.compare`` that builds requests or decodes answers.
"""

from collections.abc import Callable, Sequence

from agent.errors import CompareError
from agent.kits.compare import check_refusals, check_requests, compareface_checks
from agent.kits.compare.compareface_probe import CompareFaceProbe, Signing
from agent.kits.compare.probe import (
    CheckOutcome,
    CheckRow,
    ContractCheck,
    Differs,
    NotOffered,
    Probe,
    SomeProbe,
    json_body,
)

CHECKS = check_requests.CHECKS + check_refusals.CHECKS
NOT_CHECKED = "3, 12, 13, 15, 107, 108, 213, -1103, -1200: an account's or a server's state, not a request's"


async def run(probe: Probe, progress: Callable[[str], None] = lambda _words: None) -> tuple[CheckRow, ...]:
    """Run every check in order, with one or a few API calls each. ``progress``: called before each check.

    Raises ``CompareError`` (``compare_unreachable``): the first API call has no answer.
    """
    await probe.send(json_body({}), authorization="-")
    return await _run(CHECKS, probe, progress)


async def run_compareface(
    probe: CompareFaceProbe, progress: Callable[[str], None] = lambda _words: None
) -> tuple[CheckRow, ...]:
    """As ``run``, for CompareFace of 2020-03-03."""
    await probe.ask({}, Signing(headers={"Authorization": ""}))
    return await _run(compareface_checks.CHECKS, probe, progress)


async def _run(
    checks: Sequence[ContractCheck[SomeProbe]], probe: SomeProbe, progress: Callable[[str], None]
) -> tuple[CheckRow, ...]:
    rows = []
    for number, check in enumerate(checks, 1):
        progress(f"{number} of {len(checks)}: {check.name}")
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
