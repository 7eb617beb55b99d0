"""The documented table of codes is complete and names the test that reaches each code."""

from __future__ import annotations

import re
from pathlib import Path

from agent.compare.codes import table

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (-?\d+) \| (.+?) \| (.+?) \| (.*?) \|$", re.MULTILINE)


def rows() -> dict[int, tuple[str, str]]:
    text = (ROOT / "docs" / "reference" / "compare-contract.md").read_text(encoding="utf-8")
    codes = text[text.index("## Codes") :]
    return {int(code): (reached, why) for code, _, reached, why in ROW.findall(codes)}


def test_every_code_has_a_row() -> None:
    assert rows().keys() == table().keys() - {0}


def test_each_code_names_a_test_that_reaches_it_or_a_reason() -> None:
    for code, (reached, why) in rows().items():
        assert (reached == "–") == bool(why.strip()), code
        for name in re.findall(r"test_\w+", reached):
            source = (Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8")
            assert re.search(rf"(?<![\d-]){code}(?!\d)", source), f"{name} never mentions {code}"
