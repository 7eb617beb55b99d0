"""The site of ``make docs-site``: strict, searchable, and without any resource from another host."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']([^\"']+)|<link\b[^>]*\bhref=[\"']([^\"']+)"
)
_IN_STYLES = re.compile(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs comes with the docs extra: make docs-site")
    folder = tmp_path_factory.mktemp("site")
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_site_build_has_a_page_for_each_source(site: Path) -> None:
    sources = {page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")}
    built = {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")}
    assert {path.with_name("index") if path.name == "README" else path for path in sources} <= built


def test_site_loads_nothing_from_another_host(site: Path) -> None:
    loaded: list[str] = []
    for page in site.rglob("*.html"):
        loaded += [script or link for script, link in _LOADED.findall(page.read_text(encoding="utf-8"))]
    for style in site.rglob("*.css"):
        loaded += _IN_STYLES.findall(style.read_text(encoding="utf-8"))
    assert loaded
    assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == []


def test_site_search_finds_a_condition_and_a_chinese_word(site: Path) -> None:
    docs = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    for word in ("camera_stalled", "保存期限"):
        assert any(word in entry["text"] or word in entry["title"] for entry in docs), word


def test_site_shows_a_source_file_as_its_path(site: Path) -> None:
    text = (site / "tutorial" / "first-till.html").read_text(encoding="utf-8")
    assert "agent/kits/till/acceptance.py" in text
    assert 'href="../../agent' not in text
