"""docs/doctor.md, written from the table of checks: ``python -m tests.docs.doctor_page``."""

from __future__ import annotations

from pathlib import Path

from agent.diagnostics.table import CHECKS
from tests.texts import zh

PAGE = Path(__file__).parent.parent.parent / "docs" / "doctor.md"

INTRO = """# What `facepay doctor` looks at

Written from the code (`python -m tests.docs.doctor_page`); a test fails when it is out of date. The ids are
stable. A check whose need has failed is skipped, `because` that one failed: one fault, one failure.

`pass` · `warn`: works, but somebody should look · `fail`: the cause of something that does not work · `skip`:
not applicable here, or a consequence. Exit 0, 1 (a warning) or 2 (a failure); `--json` says the same.

Beside a running agent the camera and the broker connection are the agent's: it is asked over its socket, and
`camera.focus` and `mqtt.roundtrip` are skipped. Without one they are opened for a few seconds. `api.auth`
sends one signed question that holds no picture: it is refused for that, after its signature was judged.

| check | what | 中文 | needs |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = (
        f"| `{each.id}` | {each.title} | {zh(each.title)} | {', '.join(f'`{n}`' for n in each.depends_on)} |"
        for each in CHECKS
    )
    return INTRO + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
