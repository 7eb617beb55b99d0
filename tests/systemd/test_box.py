"""The installed package under a real systemd: READY, result, reload, hang, watchdog, kill -9, upgrade, stop.

Replay camera, mosquitto and compare service are inside the system, whose network is loopback only. The
shipped units are unchanged, with WatchdogSec=30.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from agent.messages.signing import Signer
from agent.outbox.database import FILE, STEPS
from agent.service.settings import EXAMPLE_SECRET
from tests.debian import booted, installed_debian, needs_a_debian_of_its_own
from tests.systemd.story import AGENT, Transcript

pytestmark = pytest.mark.long

COMPARE = "facepay-compare.service"
CONFIG_FILE = "/etc/facepay-agent/agent.toml"
CONFIG = """
site = "shop-1"
terminal = "terminal-1"
accepted_risks = ["plain_mqtt", "plain_http_compare", "replay_camera", "liveness_off"]
inline_reference = true
[camera]
source = "one_obama_podium"
[compare]
appid = "1250000001"
bucket = "terminals"
secret_id = "AKIDEXAMPLEEXAMPLEEXAMPLE"
secret_key_file = "/run/credentials/facepay-agent.service/secret-key"
"""


@pytest.fixture(scope="module")
def story() -> Iterator[Transcript]:
    needs_a_debian_of_its_own()
    with installed_debian() as debian, booted(debian) as box:
        yield Transcript(box)


def test_a_terminal_from_installation_to_purge(story: Transcript, capsys: pytest.CaptureFixture[str]) -> None:
    """One test, because each part needs the state of the part before."""
    try:
        installed_but_not_started(story)
        exposure_is_within_its_limit(story)
        compare_is_ready_as_shipped(story)
        agent_is_ready_once_configured(story)
        runs_with_few_rights(story)
        story.ask()
        reload_applies_a_safe_change(story)
        reload_refuses_other_changes(story)
        watchdog_kills_a_hung_agent(story)
        kill_9_is_a_restart(story)
        upgrade_goes_live_at_once(story)
        outbox_of_an_earlier_release_is_migrated(story)
        stops_in_order(story)
        purge_stops_what_runs(story)
        second_installation_is_purged_while_it_serves(story)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(story.lines))


def installed_but_not_started(story: Transcript) -> None:
    story.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert [story.show(unit, "ActiveState") for unit in (AGENT, COMPARE)] == ["inactive", "inactive"]


def exposure_is_within_its_limit(story: Transcript) -> None:
    """The installed units, checked by the systemd that runs them; ``verify`` finds the program, too."""
    for unit, worst in ((AGENT, 1.5), (COMPARE, 1.2)):
        reported = story.do(f"systemd-analyze security --offline=true --no-pager {unit} | tail -n 1")
        found = re.search(r"exposure level for \S+: ([\d.]+)", reported)
        assert found and float(found[1]) <= worst, reported
        story.note(f"{unit}: exposure {found[1]} (at most {worst})")
        assert story.do(f"systemd-analyze verify --man=no {unit} 2>&1") == ""


def compare_is_ready_as_shipped(story: Transcript) -> None:
    story.do(f"systemctl enable --now {COMPARE}")
    assert story.show(COMPARE, "StatusText") == "compare service ready on http://127.0.0.1:8100/face/compare"


def agent_is_ready_once_configured(story: Transcript) -> None:
    configured(story)
    story.do(f"systemctl enable --now {AGENT}")
    story.serving(restarts=0, within_s=1)
    assert story.show(AGENT, "StatusText") == "serving shop-1/terminal-1"
    story.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")


def configured(story: Transcript) -> None:
    """The steps of an operator: config, API key, key of a till."""
    key = Signer.generate()
    key.save(story.box.file("/root/till-1.key"))
    story.box.file("/srv/till-1.pem").write_bytes(key.public.pem())
    story.box.file(CONFIG_FILE).write_text(CONFIG)
    story.box.file("/etc/facepay-agent/credentials/secret-key").write_bytes(EXAMPLE_SECRET)
    story.do("runuser -u facepay -- facepay keys trust till-1 /srv/till-1.pem")


def runs_with_few_rights(story: Transcript) -> None:
    """The unit's limits are active: no root, no capability, no new privilege, filtered system calls."""
    pid = story.show(AGENT, "MainPID")
    reported = story.do(f"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status; stat -c %U /proc/{pid}")
    assert reported.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "facepay"]
    sees = story.do(f"nsenter -t {pid} -m -- ls -A /root /home /var/lib/private 2>&1 || true")
    assert "till-1.key" not in sees, "home folders are hidden"
    refused = story.do(f"nsenter -t {pid} -m -- touch /etc/x /var/x 2>&1 || true")
    assert refused.count("Read-only file system") == 2, "not writable, even for root"


def reload_applies_a_safe_change(story: Transcript) -> None:
    """The next verification has the new rule, in the same process."""
    before, config = story.show(AGENT, "MainPID"), story.box.file(CONFIG_FILE)
    config.write_text(CONFIG + "[policy]\nmin_sharpness = 100\n")
    reloaded(story, "config_taken")
    story.ask("undecided/face_unusable")
    config.write_text(CONFIG)
    reloaded(story, "config_taken")
    story.ask()
    assert story.show(AGENT, "MainPID") == before


def reload_refuses_other_changes(story: Transcript) -> None:
    """Journal and status contain the reason; the agent continues with the old config."""
    before, config = story.show(AGENT, "MainPID"), story.box.file(CONFIG_FILE)
    config.write_text(CONFIG.replace("terminal-1", "terminal-2"))
    assert "code=restart_needed" in reloaded(story, "config_refused")
    status = json.loads(story.box.run("facepay", "status", "--json", ok=(0, 1, 2)))
    assert status["config_refused"].startswith("restart_needed: terminal"), status
    assert (story.show(AGENT, "ActiveState"), story.show(AGENT, "MainPID")) == ("active", before)
    story.ask()
    config.write_text(CONFIG)
    reloaded(story, "config_taken")


def watchdog_kills_a_hung_agent(story: Transcript) -> None:
    story.do(f"systemctl kill --signal=STOP --kill-whom=main {AGENT}")
    story.serving(restarts=1, within_s=60)
    assert any("Watchdog timeout" in line for line in story.lines)
    story.ask()


def kill_9_is_a_restart(story: Transcript) -> None:
    story.do(f"systemctl kill --signal=KILL --kill-whom=main {AGENT}")
    story.serving(restarts=2, within_s=30)
    story.ask()


def upgrade_goes_live_at_once(story: Transcript) -> None:
    """The terminal keeps its key: the till's pinned key stays valid."""
    before = story.show(AGENT, "MainPID")
    story.do("apt-get install -qq --reinstall --no-install-recommends /root/facepay-agent.deb")
    assert story.show(AGENT, "ActiveState") == "active" and story.show(AGENT, "MainPID") != before
    story.journal()
    story.ask()


def outbox_of_an_earlier_release_is_migrated(story: Transcript) -> None:
    """A file of schema version 1, without the count of paid calls: the next start adds the column."""
    story.do(f"systemctl stop {AGENT}")
    path = story.box.file(f"/var/lib/facepay-agent/{FILE}")
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("ALTER TABLE result DROP COLUMN asks; PRAGMA user_version = 1;")
        before = db.execute("SELECT result_id, payload FROM result ORDER BY seq").fetchall()
    story.do(f"systemctl start {AGENT}")
    story.journal()
    story.ask()
    story.do(f"systemctl stop {AGENT}")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        after = db.execute("SELECT result_id, payload FROM result ORDER BY seq").fetchall()
    assert len(before) >= 4 and after[:-1] == before
    story.do(f"systemctl start {AGENT}")


def reloaded(story: Transcript, event: str) -> str:
    """Reload as an operator; returns the log line of the agent."""
    start = len(story.lines)
    story.do(f"systemctl reload {AGENT}")
    deadline = time.monotonic() + 10
    while not (answers := [line for line in story.lines[start:] if f": {event}" in line]):
        assert time.monotonic() < deadline, story.lines[start:]
        story.journal()
    return answers[0]


def stops_in_order(story: Transcript) -> None:
    story.do(f"systemctl stop {AGENT}")
    story.journal()
    assert (story.show(AGENT, "Result"), story.show(AGENT, "ExecMainStatus")) == ("success", "0")


def purge_stops_what_runs(story: Transcript) -> None:
    story.do("apt-get purge -qq facepay-agent")
    assert story.show(COMPARE, "ActiveState") == "inactive"
    assert not story.box.has("/etc/facepay-agent") and not story.box.has("/var/lib/facepay-agent")
    assert story.do("systemctl --failed --no-legend") == ""


def second_installation_is_purged_while_it_serves(story: Transcript) -> None:
    """After a purge the terminal has another key. A purge stops a serving terminal."""
    before = story.box.file("/root/terminal.pem").read_bytes()
    story.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert story.show(AGENT, "UnitFileState") == "disabled", "no state of the first installation"
    configured(story)
    story.do(f"systemctl enable --now {COMPARE} {AGENT}")
    story.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")
    assert story.box.file("/root/terminal.pem").read_bytes() != before
    story.ask()
    story.do("apt-get purge -qq facepay-agent")
    assert [story.show(unit, "LoadState") for unit in (AGENT, COMPARE)] == ["not-found", "not-found"]
    assert (
        story.do("grep -lsz 'facepay-agent/bi[n]' /proc/[0-9]*/cmdline || getent passwd facepay || true")
        == ""
    )
    assert story.do("systemctl --failed --no-legend") == ""
