"""Generated documents are current."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from agent import __version__
from agent.core.reasons import Guidance, Reason, Refusal
from agent.resources import data
from tests.docs import conditions_page, doctor_page, faults_page, privacy_page, retention_page
from tests.docs.reasons_page import PAGE, page

ROOT = Path(__file__).parent.parent.parent


def test_the_reasons_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.reasons_page"


def test_the_doctors_page_is_current() -> None:
    output = doctor_page.PAGE.read_text(encoding="utf-8")
    assert output == doctor_page.page(), "run: python -m tests.docs.doctor_page"


def test_the_page_of_faults_is_current() -> None:
    output = faults_page.PAGE.read_text(encoding="utf-8")
    assert output == faults_page.page(), "run: python -m tests.docs.faults_page"


def test_the_privacy_page_is_current() -> None:
    output = privacy_page.PAGE.read_text(encoding="utf-8")
    assert output == privacy_page.page(), "run: python -m tests.docs.privacy_page"


def test_the_conditions_page_and_its_overview_are_current() -> None:
    output = conditions_page.PAGE.read_text(encoding="utf-8")
    assert output == conditions_page.page(), "run: python -m tests.docs.conditions_page"
    assert output.count(conditions_page.table()) == 1, "run: python -m tests.docs.conditions_page"


def test_the_retention_table_has_the_limits_of_the_code() -> None:
    output = retention_page.PAGE.read_text(encoding="utf-8")
    assert output == retention_page.page(), "run: python -m tests.docs.retention_page"


@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_each_code_of_a_closed_list_has_a_text_and_there_is_no_other_text(locale: str) -> None:
    texts = tomllib.loads(data(f"messages/{locale}.toml").read_text(encoding="utf-8"))
    for kind, codes in (("reason", Reason), ("refusal", Refusal), ("guidance", Guidance)):
        assert set(texts[kind]) == {code.value for code in codes}
        assert all(text.strip() for text in texts[kind].values())


def test_readme_has_at_most_8_kb() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8_000, "move details to docs/"


def test_the_version_is_the_same_everywhere() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert __version__ == declared == releases[0]


def test_the_site_lists_every_page() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = re.findall(r"[\w/-]+\.md", str(navigation))
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert sorted(listed) == sorted(pages), "list each page once under nav: in mkdocs.yml"


def test_hooks_of_pre_commit_run_the_checks_of_make_lint() -> None:
    program = re.compile(r"/bin/([a-z-]+(?: [a-z]+)?)")
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = config["repos"][0]["hooks"]
    checks = set(program.findall(recipe.replace("$(BIN)", "/bin")))
    assert len(checks) == 4 and {program.findall(hook["entry"])[0] for hook in hooks} == checks
