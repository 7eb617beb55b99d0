"""The installed package under a real systemd: READY, result, reload, hang, watchdog, kill -9, upgrade, stop.

Replay camera, mosquitto and compare service are inside the machine; its network is loopback alone. The
shipped units run as they are, WatchdogSec=30 included.
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
from tests.systemd.story import AGENT, Story

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
def story() -> Iterator[Story]:
    needs_a_debian_of_its_own()
    with installed_debian() as debian, booted(debian) as box:
        yield Story(box)


def test_a_terminal_from_installation_to_purge(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """One test, because each part stands on the one before."""
    try:
        installed_but_not_started(story)
        has_the_score_it_claims(story)
        compare_is_ready_as_shipped(story)
        agent_is_ready_once_configured(story)
        runs_with_few_rights(story)
        story.ask()
        reload_takes_what_is_safe(story)
        reload_refuses_what_is_not(story)
        watchdog_kills_a_hung_agent(story)
        kill_9_is_a_restart(story)
        upgrade_goes_live_at_once(story)
        an_earlier_releases_outbox_is_carried_over(story)
        stops_in_order(story)
        purge_stops_what_runs(story)
        a_second_life_ends_while_it_serves(story)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(story.lines))


def installed_but_not_started(story: Story) -> None:
    story.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert [story.show(unit, "ActiveState") for unit in (AGENT, COMPARE)] == ["inactive", "inactive"]


def has_the_score_it_claims(story: Story) -> None:
    """As installed, by the systemd that will run them; the program is there, too, for ``verify`` to find."""
    for unit, worst in ((AGENT, 1.5), (COMPARE, 1.2)):
        reported = story.do(f"systemd-analyze security --offline=true --no-pager {unit} | tail -n 1")
        found = re.search(r"exposure level for \S+: ([\d.]+)", reported)
        assert found and float(found[1]) <= worst, reported
        story.note(f"{unit}: exposure {found[1]} (at most {worst})")
        assert story.do(f"systemd-analyze verify --man=no {unit} 2>&1") == ""


def compare_is_ready_as_shipped(story: Story) -> None:
    story.do(f"systemctl enable --now {COMPARE}")
    assert story.show(COMPARE, "StatusText") == "compare service ready on http://127.0.0.1:8100/face/compare"


def agent_is_ready_once_configured(story: Story) -> None:
    configured(story)
    story.do(f"systemctl enable --now {AGENT}")
    story.serving(restarts=0, within_s=1)
    assert story.show(AGENT, "StatusText") == "serving shop-1/terminal-1"
    story.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")


def configured(story: Story) -> None:
    """What an operator does to a terminal once: its config, the API's key, the till it listens to."""
    key = Signer.generate()
    key.save(story.box.file("/root/till-1.key"))
    story.box.file("/srv/till-1.pem").write_bytes(key.public.pem())
    story.box.file(CONFIG_FILE).write_text(CONFIG)
    story.box.file("/etc/facepay-agent/credentials/secret-key").write_bytes(EXAMPLE_SECRET)
    story.do("runuser -u facepay -- facepay keys trust till-1 /srv/till-1.pem")


def runs_with_few_rights(story: Story) -> None:
    """What the unit asks for is in force: no root, no capability, no new privilege, filtered system calls."""
    pid = story.show(AGENT, "MainPID")
    reported = story.do(f"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status; stat -c %U /proc/{pid}")
    assert reported.split() == ["CapEff:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2", "facepay"]
    sees = story.do(f"nsenter -t {pid} -m -- ls -A /root /home /var/lib/private 2>&1 || true")
    assert "till-1.key" not in sees, "others' homes are hidden"
    refused = story.do(f"nsenter -t {pid} -m -- touch /etc/x /var/x 2>&1 || true")
    assert refused.count("Read-only file system") == 2, "even root could not write there"


def reload_takes_what_is_safe(story: Story) -> None:
    """The next verification has the new rule, in the process that was there before."""
    before, config = story.show(AGENT, "MainPID"), story.box.file(CONFIG_FILE)
    config.write_text(CONFIG + "[policy]\nmin_sharpness = 100\n")
    reloaded(story, "config_taken")
    story.ask("undecided/face_unusable")
    config.write_text(CONFIG)
    reloaded(story, "config_taken")
    story.ask()
    assert story.show(AGENT, "MainPID") == before


def reload_refuses_what_is_not(story: Story) -> None:
    """Named as the reason, in the journal and in the status; what was in force goes on serving."""
    before, config = story.show(AGENT, "MainPID"), story.box.file(CONFIG_FILE)
    config.write_text(CONFIG.replace("terminal-1", "terminal-2"))
    assert "code=restart_needed" in reloaded(story, "config_refused")
    status = json.loads(story.box.run("facepay", "status", "--json", ok=(0, 1, 2)))
    assert status["config_refused"].startswith("restart_needed: terminal"), status
    assert (story.show(AGENT, "ActiveState"), story.show(AGENT, "MainPID")) == ("active", before)
    story.ask()
    config.write_text(CONFIG)
    reloaded(story, "config_taken")


def watchdog_kills_a_hung_agent(story: Story) -> None:
    story.do(f"systemctl kill --signal=STOP --kill-whom=main {AGENT}")
    story.serving(restarts=1, within_s=60)
    assert any("Watchdog timeout" in line for line in story.lines)
    story.ask()


def kill_9_is_a_restart(story: Story) -> None:
    story.do(f"systemctl kill --signal=KILL --kill-whom=main {AGENT}")
    story.serving(restarts=2, within_s=30)
    story.ask()


def upgrade_goes_live_at_once(story: Story) -> None:
    """The terminal keeps its key: the till's pin, made before the first start, still holds."""
    before = story.show(AGENT, "MainPID")
    story.do("apt-get install -qq --reinstall --no-install-recommends /root/facepay-agent.deb")
    assert story.show(AGENT, "ActiveState") == "active" and story.show(AGENT, "MainPID") != before
    story.journal()
    story.ask()


def an_earlier_releases_outbox_is_carried_over(story: Story) -> None:
    """The file as version 1 wrote it, before paid calls were counted: the next start adds what is missing."""
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


def reloaded(story: Story, event: str) -> str:
    """What an operator types; returns the one line the agent answers it with."""
    seen = len(story.lines)
    story.do(f"systemctl reload {AGENT}")
    deadline = time.monotonic() + 10
    while not (answers := [line for line in story.lines[seen:] if f": {event}" in line]):
        assert time.monotonic() < deadline, story.lines[seen:]
        story.journal()
    return answers[0]


def stops_in_order(story: Story) -> None:
    story.do(f"systemctl stop {AGENT}")
    story.journal()
    assert (story.show(AGENT, "Result"), story.show(AGENT, "ExecMainStatus")) == ("success", "0")


def purge_stops_what_runs(story: Story) -> None:
    story.do("apt-get purge -qq facepay-agent")
    assert story.show(COMPARE, "ActiveState") == "inactive"
    assert not story.box.has("/etc/facepay-agent") and not story.box.has("/var/lib/facepay-agent")
    assert story.do("systemctl --failed --no-legend") == ""


def a_second_life_ends_while_it_serves(story: Story) -> None:
    """A purged terminal is a new one: another key. And nobody has to stop it before the next purge."""
    before = story.box.file("/root/terminal.pem").read_bytes()
    story.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    assert story.show(AGENT, "UnitFileState") == "disabled", "nothing of the first life is left"
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
