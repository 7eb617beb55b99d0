"""Texts from tills, brokers and APIs are shown and control no terminal, in the output of any command."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import terminal_output
from agent.cli.status import _colour
from agent.config import Config
from agent.control.status import status_document
from agent.control.status_text import status_lines
from agent.health.metrics import render
from agent.terminal_output import SafeText, below, control, escaped
from tests.control.test_status import now

DOCUMENT = status_document(Config(), now())
HOSTILE = "\x1b]52;c;cm0gLXJm\x07\r\x1b[2K\x9b2J\u202eevil\x7f"


@given(st.text())
def test_no_written_text_holds_a_control_character(text: str) -> None:
    out = io.StringIO()
    SafeText(out).write(text)
    left = terminal_output._COLOUR.sub("", out.getvalue())
    assert all(each in "\n\t" or unicodedata.category(each) not in ("Cc", "Cf", "Zl", "Zp") for each in left)


@given(st.text())
def test_json_stays_the_same_value(text: str) -> None:
    """JSON holds no colour sequences, because JSON escapes ESC."""
    assert json.loads(escaped(json.dumps({"a": text}, ensure_ascii=False))) == {"a": text}


@pytest.mark.parametrize("text", ["✓ 正在验证\n", "\x1b[32mgreen\x1b[0m", "\x1b[1;33mwarn\x1b[0m", "a\tb"])
def test_escape_keeps_own_text_and_colours(text: str) -> None:
    assert escaped(text) == text


@pytest.mark.parametrize("text", ["\x1b[8mhidden", "\x1b[30;40mblack", "\x1b[2Kgone", "\x1b]0;title\x07"])
def test_other_sequences_are_shown(text: str) -> None:
    assert escaped(text).startswith("\\u001b")


def test_own_sequences_go_around_the_escaping() -> None:
    out = io.StringIO()
    safe = SafeText(out)
    control("\r\x1b[2K", safe)  # type: ignore[arg-type]
    print("line", file=safe)
    assert out.getvalue() == "\r\x1b[2Kline\n" and below(safe) is out  # type: ignore[arg-type]


def test_the_command_line_escapes_what_any_command_prints() -> None:
    """Run the entry point with arguments that a usage error repeats."""
    script = (
        "import sys\nfrom agent.cli import main, run\n"
        f"say = lambda: (print({HOSTILE!r}), print({HOSTILE!r}, file=sys.stderr))\n"
        "run.run = say\n"
        "sys.argv = ['facepay', 'run']; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=120
    )
    for output in (done.stdout, done.stderr):
        assert "evil" in output and not set(output) & set("\x1b\x07\x9b\u202e\x7f\r"), done


def test_status_consequences_are_dim() -> None:
    found = {**DOCUMENT, "consequences": [{"code": "camera_frozen", "because": "camera_absent"}]}
    line = next(line for line in status_lines(found) if "camera_frozen" in line)
    assert _colour(line, found) == "dim"


def test_no_value_of_a_status_begins_a_line_of_its_own() -> None:
    document = {**DOCUMENT, "config_refused": "x\nserving  ONLINE\x1b[2K"}
    lines = status_lines(document)
    assert any("x\\nserving  ONLINE\\x1b[2K" in line for line in lines)
    assert not any(line.startswith("serving") for line in lines)


def test_a_label_of_the_metrics_holds_no_control_character() -> None:
    text = render({**DOCUMENT, "site": f"s{HOSTILE}\nfake 1"}).decode()
    assert "evil" in text
    assert all(each == "\n" or each.isprintable() for each in text) and "\nfake" not in text
