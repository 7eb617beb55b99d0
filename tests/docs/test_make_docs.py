"""`make docs` writes every generated page, and each generated page is current."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.bench import page as bench_page

ROOT = Path(__file__).parent.parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
PAGES = re.findall(r"^DOC_PAGES := (.*)$", MAKEFILE, re.MULTILINE)[0].split()


def writers() -> set[str]:
    """Modules in tests/ that write a page of docs/, the examples of a page or a document of config/."""
    found = set[str]()
    for path in (ROOT / "tests").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        about = ast.get_docstring(ast.parse(text)) or ""
        is_page = re.match(r"(docs|config)/\S+\.(md|yaml)", about) or "tests/contract/golden/" in about
        if is_page and '__name__ == "__main__"' in text:
            found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


def test_make_docs_runs_each_module_that_writes_a_page() -> None:
    assert len(PAGES) == 12
    assert set(PAGES) == writers()


@pytest.mark.parametrize("name", PAGES)
def test_each_doc_page_is_a_module(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_the_benchmark_page_is_current() -> None:
    shown = bench_page.PAGE.read_text(encoding="utf-8")
    assert shown == bench_page.page(bench_page.runs()), "run: make docs"
