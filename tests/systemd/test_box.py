"""The installed package under systemd: READY, result, reload, hang, watchdog, kill -9, upgrade, stop.

On Debian 12 and 13.
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

from agent.outbox.database import FILE, STEPS
from tests.debian import RELEASES, booted, installed_debian, needs_a_debian_of_its_own
from tests.systemd.transcript import AGENT, CONFIG, CONFIG_FILE, Transcript

pytestmark = pytest.mark.long

COMPARE = "facepay-compare.service"
FLEET = "facepay-fleet-exporter.service"
METRICS = "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9817/metrics').read().decode())\""


@pytest.fixture(scope="module", params=RELEASES)
def transcript(request: pytest.FixtureRequest) -> Iterator[Transcript]:
    needs_a_debian_of_its_own(request.param)
    with installed_debian(request.param) as debian, booted(debian) as box:
        yield Transcript(box)


def test_a_terminal_from_installation_to_purge(
    transcript: Transcript, capsys: pytest.CaptureFixture[str]
) -> None:
    """One test, because each part needs the state of the part before."""
    try:
        installed_but_not_started(transcript)
        exposure_is_within_its_limit(transcript)
        compare_is_ready_as_shipped(transcript)
        agent_is_ready_once_configured(transcript)
        runs_with_few_rights(transcript)
        exporter_shows_the_terminal(transcript)
        transcript.ask()
        reload_applies_a_safe_change(transcript)
        reload_refuses_other_changes(transcript)
        watchdog_kills_a_hung_agent(transcript)
        kill_9_is_a_restart(transcript)
        upgrade_goes_live_at_once(transcript)
        outbox_of_an_earlier_release_is_migrated(transcript)
        stops_in_order(transcript)
        purge_stops_what_runs(transcript)
        second_installation_is_purged_while_it_serves(transcript)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(transcript.lines))


def installed_but_not_started(transcript: Transcript) -> None:
    transcript.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert {transcript.show(unit, "ActiveState") for unit in (AGENT, COMPARE, FLEET)} == {"inactive"}
    assert transcript.show(FLEET, "UnitFileState") == "disabled"


def exposure_is_within_its_limit(transcript: Transcript) -> None:
    """The installed units, checked by the systemd that runs them; ``verify`` finds the program, too."""
    for unit, worst in ((AGENT, 1.5), (COMPARE, 1.2), (FLEET, 1.2)):
        reported = transcript.do(f"systemd-analyze security --offline=true --no-pager {unit} | tail -n 1")
        found = re.search(r"exposure level for \S+: ([\d.]+)", reported)
        assert found and float(found[1]) <= worst, reported
        transcript.note(f"{unit}: exposure {found[1]} (at most {worst})")
        assert transcript.do(f"systemd-analyze verify --man=no {unit} 2>&1") == ""


def compare_is_ready_as_shipped(transcript: Transcript) -> None:
    transcript.do(f"systemctl enable --now {COMPARE}")
    assert (
        transcript.show(COMPARE, "StatusText")
        == "compare service ready on http://127.0.0.1:8100/face/compare"
    )
    # systemd keeps the listening socket, so a restart refuses no connection
    assert transcript.show(COMPARE, "NFileDescriptorStore") == "1"


def agent_is_ready_once_configured(transcript: Transcript) -> None:
    transcript.configure()
    transcript.do(f"systemctl enable --now {AGENT}")
    transcript.serving(restarts=0, within_s=1)
    assert transcript.show(AGENT, "StatusText") == "serving shop-1/terminal-1"
    transcript.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")


def runs_with_few_rights(transcript: Transcript) -> None:
    """The unit's limits are active: no root, no capability, no new privilege, filtered system calls."""
    pid = transcript.show(AGENT, "MainPID")
    reported = transcript.do(
        f"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status; stat -c %U /proc/{pid}"
    )
    assert reported.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "facepay"]
    visible = transcript.do(f"nsenter -t {pid} -m -- ls -A /root /home /var/lib/private 2>&1 || true")
    assert "till-1.key" not in visible, "home folders are hidden"
    refused = transcript.do(f"nsenter -t {pid} -m -- touch /etc/x /var/x 2>&1 || true")
    assert refused.count("Read-only file system") == 2, "not writable, even for root"


def exporter_shows_the_terminal(transcript: Transcript) -> None:
    """The unit as shipped, with the default options: broker and metrics on loopback."""
    transcript.do(f"systemctl enable --now {FLEET}")
    assert transcript.show(FLEET, "StatusText") == "fleet exporter ready on http://127.0.0.1:9817/metrics"
    deadline, wanted = time.monotonic() + 60, 'status{site="shop-1",terminal="terminal-1",status='
    while wanted not in (text := transcript.box.run("sh", "-ec", METRICS)):
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
    transcript.note(next(line for line in text.splitlines() if wanted in line))


def reload_applies_a_safe_change(transcript: Transcript) -> None:
    """The next verification has the new rule, in the same process."""
    before, config = transcript.show(AGENT, "MainPID"), transcript.box.file(CONFIG_FILE)
    config.write_text(CONFIG + "[policy]\nmin_sharpness = 95\n")
    reloaded(transcript, "config_taken")
    transcript.ask("undecided/face_unusable")
    config.write_text(CONFIG)
    reloaded(transcript, "config_taken")
    transcript.ask()
    assert transcript.show(AGENT, "MainPID") == before


def reload_refuses_other_changes(transcript: Transcript) -> None:
    """Journal and status contain the reason; the agent continues with the old config."""
    before, config = transcript.show(AGENT, "MainPID"), transcript.box.file(CONFIG_FILE)
    config.write_text(CONFIG.replace("terminal-1", "terminal-2"))
    assert "code=restart_needed" in reloaded(transcript, "config_refused")
    status = json.loads(transcript.box.run("facepay", "status", "--json", ok=(0, 1, 2)))
    assert status["config_refused"].startswith("restart_needed: terminal"), status
    assert (transcript.show(AGENT, "ActiveState"), transcript.show(AGENT, "MainPID")) == ("active", before)
    transcript.ask()
    config.write_text(CONFIG)
    reloaded(transcript, "config_taken")


def watchdog_kills_a_hung_agent(transcript: Transcript) -> None:
    transcript.do(f"systemctl kill --signal=STOP --kill-whom=main {AGENT}")
    transcript.serving(restarts=1, within_s=120)
    assert any("Watchdog timeout" in line for line in transcript.lines)
    transcript.ask()


def kill_9_is_a_restart(transcript: Transcript) -> None:
    transcript.do(f"systemctl kill --signal=KILL --kill-whom=main {AGENT}")
    transcript.serving(restarts=2, within_s=90)
    transcript.ask()


def upgrade_goes_live_at_once(transcript: Transcript) -> None:
    """The terminal keeps its key: the till's pinned key stays valid."""
    before = transcript.show(AGENT, "MainPID")
    transcript.do("apt-get install -qq --reinstall --no-install-recommends /root/facepay-agent.deb")
    assert transcript.show(AGENT, "ActiveState") == "active" and transcript.show(AGENT, "MainPID") != before
    transcript.journal()
    transcript.ask()


def outbox_of_an_earlier_release_is_migrated(transcript: Transcript) -> None:
    """A file of schema version 1, without the count of paid calls: the next start adds the column."""
    transcript.do(f"systemctl stop {AGENT}")
    path = transcript.box.file(f"/var/lib/facepay-agent/{FILE}")
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(
            "ALTER TABLE result DROP COLUMN asks; DROP TABLE forgotten; PRAGMA user_version = 1;"
        )
        before = db.execute("SELECT result_id, payload FROM result ORDER BY seq").fetchall()
    transcript.do(f"systemctl start {AGENT}")
    transcript.journal()
    transcript.ask()
    transcript.do(f"systemctl stop {AGENT}")
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        after = db.execute("SELECT result_id, payload FROM result ORDER BY seq").fetchall()
    assert len(before) >= 4 and after[:-1] == before
    transcript.do(f"systemctl start {AGENT}")


def reloaded(transcript: Transcript, event: str) -> str:
    """Reload as an operator; returns the log line of the agent."""
    start = len(transcript.lines)
    transcript.do(f"systemctl reload {AGENT}")
    deadline = time.monotonic() + 60
    while not (answers := [line for line in transcript.lines[start:] if f": {event}" in line]):
        assert time.monotonic() < deadline, transcript.lines[start:]
        transcript.journal()
    return answers[0]


def stops_in_order(transcript: Transcript) -> None:
    transcript.do(f"systemctl stop {AGENT}")
    transcript.journal()
    assert (transcript.show(AGENT, "Result"), transcript.show(AGENT, "ExecMainStatus")) == ("success", "0")


def purge_stops_what_runs(transcript: Transcript) -> None:
    transcript.do("apt-get purge -qq facepay-agent")
    assert {transcript.show(unit, "ActiveState") for unit in (COMPARE, FLEET)} == {"inactive"}
    assert not transcript.box.has("/etc/default/facepay-fleet-exporter")
    assert not transcript.box.has("/etc/facepay-agent") and not transcript.box.has("/var/lib/facepay-agent")
    assert transcript.do("systemctl --failed --no-legend") == ""


def second_installation_is_purged_while_it_serves(transcript: Transcript) -> None:
    """After a purge the terminal has another key. A purge stops a serving terminal."""
    before = transcript.box.file("/root/terminal.pem").read_bytes()
    transcript.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert transcript.show(AGENT, "UnitFileState") == "disabled", "no state of the first installation"
    transcript.configure()
    transcript.do(f"systemctl enable --now {COMPARE} {AGENT}")
    transcript.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")
    assert transcript.box.file("/root/terminal.pem").read_bytes() != before
    transcript.ask()
    transcript.do("apt-get purge -qq facepay-agent")
    assert [transcript.show(unit, "LoadState") for unit in (AGENT, COMPARE)] == ["not-found", "not-found"]
    assert (
        transcript.do("grep -lsz 'facepay-agent/bi[n]' /proc/[0-9]*/cmdline || getent passwd facepay || true")
        == ""
    )
    assert transcript.do("systemctl --failed --no-legend") == ""
