"""Remote reports contain config keys instead of config values."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Config
from agent.diagnostics.checks.table import CHECKS
from agent.diagnostics.redact import ConfigRedactor
from agent.errors import AgentError
from agent.root.remote_doctor import NOT_REMOTE, remote_checks

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
            "again 3 times; last error: error   till.link: link_failed host=api.exam",
            "again 3 times; last error: link_failed …",
        ),
        (
            'x; last error: {"at": "9", "level": "error", "event": "link_failed", "host": "api.e',
            "x; last error: link_failed …",
        ),
        ("x; last error: error of anna's", "x; last error:  …"),
        ("9.3 fps of 10, 3 of 4 passed", "9.3 fps of 10, 3 of 4 passed"),
    ],
)
def test_config_value_is_replaced_by_its_key(line: str, hidden: str) -> None:
    assert ConfigRedactor(CONFIG, Path("/etc/facepay-agent/agent.toml")).text(line) == hidden


def test_fix_keeps_its_text() -> None:
    row = {
        "id": "x",
        "why": "camera empty",
        "because": "",
        "fix": "Delete it if it is not needed.",
        "fix_zh": "",
    }
    row["fix"] += " chmod 600 /srv/shop"
    hidden = HIDER.row(row)
    assert hidden["why"] == "camera <camera.source>"
    assert hidden["fix"] == "Delete it if it is not needed. chmod 600 <storage.directory>"


def test_remote_checks_exclude_checks_with_side_effects() -> None:
    assert {check.id for check in remote_checks(())} == {check.id for check in CHECKS} - set(NOT_REMOTE)
    for name in NOT_REMOTE:
        with pytest.raises(AgentError) as unknown:
            remote_checks((name,))
        assert unknown.value.code == "check_unknown"
