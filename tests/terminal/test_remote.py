"""Remote reports contain config keys instead of config values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config import Config
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.redact import ConfigRedactor
from agent.errors import AgentError
from agent.root.remote_doctor import NOT_REMOTE, remote_checks
from agent.texts import Text, locales, texts_below
from tests.texts import zh

CONFIG = Config.model_validate(
    {
        "camera": {"source": "empty"},
        "compare": {"url": "https://api.example:8443/face/compare", "bucket": "terminals"},
        "mqtt": {"host": "api.example", "username": "pi-7", "key_file": "/etc/x/terminal.key"},
        "storage": {"directory": "/srv/shop"},
    }
)
HIDER = ConfigRedactor(CONFIG, Path("/etc/facepay-agent/agent.toml"))


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("https://api.example:8443/face/compare: refused", "<compare.url>: refused"),
        ("api.example:443: refused", "<compare.url, mqtt.host>:<port>: refused"),
        ("10.1.2.3:443 and fe80::1:2:3 refused", "<address>:<port> and <address> refused"),
        ("mqtt.key_file: /etc/x/terminal.key has mode 0644", "mqtt.key_file: <mqtt.key_file> has mode 0644"),
        ("/srv/shop/photo-of-anna.jpg: odd", "<storage.directory><path>: odd"),
        ("/etc/facepay-agent/agent.toml:3: mqtt.hots", "<config file>:3: mqtt.hots"),
        ("user pi-7, bucket terminals", "user <mqtt.username>, bucket <compare.bucket>"),
        ("request_id=7d444840-9dc0-41d1-b245-5ffdce74fad2", "request_id=id-1"),
        (
            "API.Example and fe80::1%eth0 and ::1 refused at 12:30:05",
            "<compare.url, mqtt.host> and <address> and <address> refused at 12:30:05",
        ),
        (
            "again 3 times; last error: error   till.connection: link_failed host=api.exam",
            "again 3 times; last error: link_failed …",
        ),
        (
            'x; last error: {"at": "9", "level": "error", "event": "link_failed", "host": "api.e',
            "x; last error: link_failed …",
        ),
        ("x; last error: error of anna's", "x; last error:  …"),
        (
            zh(Text("why.service.state.with_error", why="x", error="error   a.link: link_failed host=api.e")),
            zh(Text("why.service.state.with_error", why="x", error="link_failed …")),
        ),
        ("9.3 fps of 10, 3 of 4 passed", "9.3 fps of 10, 3 of 4 passed"),
    ],
)
def test_config_value_is_replaced_by_its_key(line: str, hidden: str) -> None:
    assert ConfigRedactor(CONFIG, Path("/etc/facepay-agent/agent.toml")).text(line) == hidden


def test_fix_keeps_its_text() -> None:
    row = {
        "id": "x",
        "why": "camera empty",
        "why_zh": "camera empty",
        "because": "",
        "fix": "Delete it if it is not needed.",
        "fix_zh": "",
    }
    row["fix"] += " chmod 600 /srv/shop"
    hidden = HIDER.row(row)
    assert hidden["why"] == hidden["why_zh"] == "camera <camera.source>"
    assert hidden["fix"] == "Delete it if it is not needed. chmod 600 <storage.directory>"


@pytest.mark.parametrize("kind", ["why", "fix"])
def test_fact_in_a_text_of_a_report_stands_apart(kind: str) -> None:
    """A value next to a letter, e.g. a Chinese one, would not be found as a word and replaced."""
    for name, text in texts_below(kind).items():
        for locale in locales():
            assert not re.search(r"\w\{|\}\w", text.template(locale)), (name, locale)


def test_remote_checks_exclude_checks_with_side_effects() -> None:
    assert {check.id for check in remote_checks(())} == {check.id for check in CHECKS} - set(NOT_REMOTE)
    for name in NOT_REMOTE:
        with pytest.raises(AgentError) as unknown:
            remote_checks((name,))
        assert unknown.value.code == "check_unknown"
