"""docs/reference/doctor.md, written from the table of checks: ``python -m tests.docs.doctor_page``."""

from __future__ import annotations

from pathlib import Path

from agent.diagnostics.checks.table import CHECKS
from tests.texts import zh

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "doctor.md"

INTRO = """# Checks of `facepay doctor`

This page is generated from the code (`python -m tests.docs.doctor_page`). A test fails when the page is out
of date. The ids of the checks are stable. A check is skipped when a check that it needs failed. The output
then names the failed check (`because … failed`), so one fault causes one failure.

| verdict | meaning |
|---|---|
| `pass` | no fault found |
| `warn` | the part works, and an operator must check it |
| `fail` | the part does not work; the line is the cause |
| `skip` | the check does not apply here, or a check that it needs failed |

Exit code: 0, 1 (at least one warning) or 2 (at least one failure). `--json` prints the same results.

While an agent runs, the agent owns the camera and the broker connection. The doctor then reads their status
over the local socket and skips `mqtt.roundtrip`. `camera.focus` and `camera.mounting` analyze one frame of
the agent; both are skipped during a verification. Without a running agent the doctor opens camera and broker
for a few seconds. `api.auth` sends one signed API call without an image. The API checks the signature first
and then rejects the call because the image is missing.

| check | what | 中文 | needs |
|---|---|---|---|
"""


def page() -> str:
    """The complete page."""
    rows = (
        f"| `{each.id}` | {each.title} | {zh(each.title)} | {', '.join(f'`{n}`' for n in each.depends_on)} |"
        for each in CHECKS
    )
    return INTRO + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
