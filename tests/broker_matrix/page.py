"""docs/how-to/brokers.md: the table of ``expected`` in the text of ``page.md``.

Run ``python -m tests.broker_matrix.page``.
"""

from __future__ import annotations

from pathlib import Path
from string import Template

from tests.broker_matrix.checks import CHECKS
from tests.broker_matrix.expected import EXPECTED

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "brokers.md"
TEMPLATE = Path(__file__).parent / "page.md"


def page() -> str:
    """The whole page."""
    rows = [f"| {check} | {' | '.join(cells[check] for cells in EXPECTED.values())} |" for check in CHECKS]
    head = f"| | {' | '.join(EXPECTED)} |\n|---|{'---|' * len(EXPECTED)}\n"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(table=head + "\n".join(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
