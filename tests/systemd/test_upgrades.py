"""A terminal of a ring in a booted Debian: the real package, apt and unattended-upgrades.

A good upgrade, a version that does not start, and the power cut twice in the middle of an upgrade. The
versions are the built package with another version number. Network: loopback only, with the repository. The
release is that of this machine; FACEPAY_RING_RELEASE=trixie is for a run by hand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from apt_repo import KEYRING, add, create, distribution

from agent.outbox.database import FILE
from agent.resources import config_file
from tests.debian import Debian, booted, installed_debian, needs_a_debian_of_its_own, release, run
from tests.package.apt_terminal import MISSING, signing_key
from tests.systemd.transcript import AGENT, CONFIG_FILE, Transcript

pytestmark = [
    pytest.mark.long,  # a Debian is booted three times
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: make reprepro, as root"),
]
MORE = ("unattended-upgrades",)
CHECK, REPAIR = "facepay-after-upgrade.service", "facepay-repair.service"
COMPARE = "facepay-compare.service"
KEPT = "/var/lib/facepay-upgrade"
SITE_PACKAGES = "opt/facepay-agent/lib/python3*/site-packages"
OWN_CONFIG = "/etc/facepay-agent/agent.d/60-own.toml"
# once a day without this
TRIAL = 'APT::Periodic::Update-Package-Lists "always";\nAPT::Periodic::Unattended-Upgrade "always";\n'
# a version that does not start is given 10 s in place of 120
DROP_IN = "[Service]\nEnvironment=WITHIN_S=10\n"
PORT = 8099
# in the order of the package
FIRST, LAST = "/opt/facepay-agent/bin/facepay", "/usr/lib/systemd/system/facepay-agent.service"


class Releases:
    """The built package under other version numbers. Each has another agent.toml than the release before."""

    def __init__(self, package: Path, folder: Path, number: int) -> None:
        self._package, self._tree, self._number = package, folder / "tree", number
        run("dpkg-deb", "--raw-extract", package, self._tree)
        (self._agent,) = self._tree.glob(f"{SITE_PACKAGES}/agent")

    def make(self, version: str, *, starts: bool = True) -> Path:
        """A package of this version; ``starts`` False: the agent ends at each start."""
        self._replace("DEBIAN/control", r"(?m)^Version: .*", f"Version: {version}+deb{self._number}")
        self._edit("__init__.py", r'__version__ = ".*"', f'__version__ = "{version}"')
        self._replace("etc/facepay-agent/agent.toml", r"\A", f"# release {version}\n")
        daemon = self._agent / "root" / "daemon.py"
        good = daemon.read_text()
        if not starts:
            self._edit("root/daemon.py", r"\Z", '\nraise RuntimeError("a bad release")\n')
        made = self._package.with_name(f"facepay-agent_{version}.deb")
        run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", self._tree, made)
        daemon.write_text(good)
        return made

    def _edit(self, module: str, pattern: str, text: str) -> None:
        """Change a module, and remove its bytecode, which Python would use without a check."""
        path = self._agent / module
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()
        self._replace(str(path.relative_to(self._tree)), pattern, text)

    def _replace(self, name: str, pattern: str, text: str) -> None:
        path = self._tree / name
        changed, count = re.subn(pattern, text, path.read_text(), count=1)
        assert count == 1, f"{name} has no {pattern}"
        path.write_text(changed)


@dataclass
class Terminal:
    """A terminal of a ring; ``boot`` starts it again with the same files."""

    debian: Debian
    repo: Path
    releases: Releases
    ring: str
    number: int
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def boot(self) -> Iterator[Transcript]:
        with booted(self.debian) as box:
            transcript = Transcript(box)
            transcript.lines = self.lines
            transcript.do(
                "systemd-run --quiet --unit=repository "
                f"python3 -m http.server --bind 127.0.0.1 --directory /srv/apt {PORT}"
            )
            yield transcript

    def publish(self, version: str, *, starts: bool = True) -> str:
        """Put a version into the ring; returns its name for apt."""
        package = self.releases.make(version, starts=starts)
        add(self.repo, [package])
        package.unlink()
        return f"{version}+deb{self.number}"

    def joins(self) -> None:
        """The files of config/apt, at the places that docs/how-to/fleet-operations.md names."""
        places = {
            "facepay.sources": "/etc/apt/sources.list.d",
            "facepay.pref": "/etc/apt/preferences.d",
            "52facepay": "/etc/apt/apt.conf.d",
            "facepay-after-upgrade": "/usr/local/sbin",
            "facepay-after-upgrade.service": "/etc/systemd/system",
            "facepay-repair.service": "/etc/systemd/system",
        }
        for name, place in places.items():
            text = config_file(f"apt/{name}").read_text()
            text = text.replace("https://apt.example/facepay", f"http://127.0.0.1:{PORT}")
            self.debian.file(f"{place}/{name}").write_text(text.replace("bookworm-all", self.ring))
        self.debian.file("/usr/local/sbin/facepay-after-upgrade").chmod(0o755)
        shutil.copy(self.repo / KEYRING, self.debian.file("/usr/share/keyrings/facepay.gpg"))
        self.debian.file("/etc/apt/apt.conf.d/60trial").write_text(TRIAL)
        for source in self.debian.file("/etc/apt").glob("sources.list"):
            source.unlink()  # Debian's mirror cannot be reached
        self.debian.run("systemctl", "disable", "apt-daily.timer", "apt-daily-upgrade.timer")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    codename = os.environ.get("FACEPAY_RING_RELEASE") or release()
    needs_a_debian_of_its_own(codename, MORE)
    folder = tmp_path_factory.mktemp("ring")
    with signing_key() as key, installed_debian(codename, MORE) as debian:
        create(debian.file("/srv/apt"), key)
        package = debian.file("/root/facepay-agent.deb")
        (number,) = re.findall(r"\+deb(\d+)", run("dpkg-deb", "--field", package, "Version"))
        releases = Releases(package, folder, int(number))
        ring = distribution(codename, "canary")
        yield Terminal(debian, debian.file("/srv/apt"), releases, ring, int(number))


def test_a_terminal_follows_its_ring_through_bad_upgrades_and_power_cuts(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    """One test, because each part needs the state of the part before."""
    try:
        with terminal.boot() as transcript:
            serves_before_it_joins_the_ring(terminal, transcript)
            a_good_version_is_installed_and_kept(terminal, transcript)
            a_bad_version_is_replaced_and_named(terminal, transcript)
            new = terminal.publish("0.9.3")
            power_is_cut(terminal, transcript, while_replaced)
        with terminal.boot() as transcript:
            half_installed_package_is_repaired(transcript)
            power_is_cut(terminal, transcript, while_configured)
        with terminal.boot() as transcript:
            interrupted_upgrade_is_completed(transcript, new)
            agent_starts_without_the_files_of_the_ring(terminal, transcript)
    finally:
        with capsys.disabled():
            print("\n" + "\n".join(terminal.lines))


def serves_before_it_joins_the_ring(terminal: Terminal, transcript: Transcript) -> None:
    """Installed from a file; the ring offers the same version."""
    transcript.do("apt-get install -qq --no-install-recommends /root/facepay-agent.deb")
    transcript.configure()
    transcript.box.file(OWN_CONFIG).write_text('[log]\nlevel = "info"\n')
    transcript.do(f"systemctl enable --now {COMPARE} {AGENT}")
    transcript.do("runuser -u facepay -- facepay keys show 2>/dev/null >/root/terminal.pem")
    transcript.ask()
    add(terminal.repo, [terminal.debian.file("/root/facepay-agent.deb")])
    terminal.joins()
    transcript.do(f"systemctl daemon-reload; systemctl enable {CHECK} {REPAIR} 2>&1")
    transcript.do("apt-get update -qq")
    transcript.do(f"systemctl start {CHECK}")
    assert kept(transcript) == installed(transcript)


def a_good_version_is_installed_and_kept(terminal: Terminal, transcript: Transcript) -> None:
    """With an edited agent.toml, keys in agent.d and an outbox with results."""
    config, results = configs(transcript), outbox(transcript)
    pid = transcript.show(AGENT, "MainPID")
    version = terminal.publish("0.9.1")
    assert unattended_upgrade(transcript) == "success"
    assert installed(transcript) == kept(transcript) == version
    assert transcript.show(AGENT, "MainPID") != pid
    transcript.ask()
    assert configs(transcript) == config and outbox(transcript)[: len(results)] == results
    log = transcript.box.file("/var/log/unattended-upgrades/unattended-upgrades.log").read_text()
    assert "All upgrades installed" in log and "conffile" not in log.lower(), log


def a_bad_version_is_replaced_and_named(terminal: Terminal, transcript: Transcript) -> None:
    good, results = installed(transcript), outbox(transcript)
    bad = terminal.publish("0.9.2", starts=False)
    drop_in = transcript.box.file(f"/etc/systemd/system/{CHECK}.d/trial.conf")
    drop_in.parent.mkdir()
    drop_in.write_text(DROP_IN)
    transcript.do("systemctl daemon-reload")
    assert unattended_upgrade(transcript) == "exit-code"
    drop_in.unlink()
    transcript.do("systemctl daemon-reload")
    assert installed(transcript) == kept(transcript) == good
    assert transcript.show(AGENT, "ActiveState") == "active", "postinst restarts a unit that did not start"
    transcript.ask()
    assert outbox(transcript)[: len(results)] == results
    assert transcript.do("apt-mark showhold") == "facepay-agent"
    status = json.loads(transcript.box.run("facepay", "status", "--json", ok=(0, 1, 2)))
    details = {each["code"]: each["detail"] for each in status["conditions"]}
    assert bad in details["upgrade_failed"], details
    found = transcript.box.run("facepay", "doctor", "--only", "sys.upgrades", ok=(1,))
    assert f"{bad} was not healthy; {good} is installed again and held" in found
    watched = transcript.box.run("facepay", "fleet", "watch", "--once", ok=(1, 2))
    assert re.search(r"shop-1/terminal-1 .* 0\.9\.1 .*upgrade_failed", watched), watched
    transcript.lines += watched.splitlines()
    assert unattended_upgrade(transcript) == "exit-code" and installed(transcript) == good, "held"
    transcript.do("apt-mark unhold facepay-agent")


def power_is_cut(terminal: Terminal, transcript: Transcript, moment: Callable[[Debian], bool]) -> None:
    """Kill the machine's PID 1 in the middle of the upgrade; all its processes end at once."""
    transcript.do("systemctl start apt-daily.service")
    transcript.do("systemctl start --no-block apt-daily-upgrade.service")
    deadline = time.monotonic() + 300
    while not moment(terminal.debian):
        assert time.monotonic() < deadline, f"{moment.__name__} did not occur"
        time.sleep(0.05)
    os.kill(transcript.box.init, signal.SIGKILL)
    transcript.note(f"power cut, {moment.__name__}")


def while_replaced(debian: Debian) -> bool:
    """dpkg has replaced the first of the old files, and not the last one."""
    return debian.has(f"{LAST}.dpkg-new") and not debian.has(f"{FIRST}.dpkg-new")


def while_configured(debian: Debian) -> bool:
    """postinst runs: dpkg has written the state before it, and not the state after it."""
    states = re.findall(r" status (\S+) facepay-agent:", debian.file("/var/log/dpkg.log").read_text())
    return states[-2:] == ["unpacked", "half-configured"]


def half_installed_package_is_repaired(transcript: Transcript) -> None:
    """At the next boot, before the agent starts, without a person and without the repository."""
    assert checked(transcript) == "success"
    assert len(starts(transcript)) == 1, "no start with the files of two versions"
    assert installed(transcript) == kept(transcript)
    assert transcript.do("dpkg --audit") == ""
    transcript.ask()


def interrupted_upgrade_is_completed(transcript: Transcript, version: str) -> None:
    assert checked(transcript) == "success"
    assert len(starts(transcript)) == 1
    assert installed(transcript) == kept(transcript) == version
    assert transcript.do("dpkg --audit") == ""
    transcript.ask()


def agent_starts_without_the_files_of_the_ring(terminal: Terminal, transcript: Transcript) -> None:
    """Deleted while the units are enabled: systemd starts no unit that requires a missing unit."""
    for name in (f"/etc/systemd/system/{REPAIR}", "/usr/local/sbin/facepay-after-upgrade"):
        terminal.debian.file(name).unlink()
        transcript.do("systemctl daemon-reload")
        transcript.do(f"systemctl stop {AGENT} {COMPARE} {REPAIR}; systemctl start {COMPARE} {AGENT}")
        assert transcript.show(AGENT, "ActiveState") == "active"
    transcript.ask()


def unattended_upgrade(transcript: Transcript) -> str:
    """The two services of Debian's timers; the result of the check that systemd starts after them."""
    before = transcript.show(CHECK, "InvocationID")
    transcript.do("systemctl start apt-daily.service")
    transcript.do("systemctl start apt-daily-upgrade.service")
    return checked(transcript, before)


def checked(transcript: Transcript, before: str = "") -> str:
    """The result of facepay-after-upgrade; ``before``: the id of its run before this one."""
    deadline = time.monotonic() + 300
    while transcript.show(CHECK, "InvocationID") == before or (
        transcript.show(CHECK, "ActiveState") == "activating"
    ):
        assert time.monotonic() < deadline, CHECK
        time.sleep(0.5)
    journal = ("journalctl", "--no-pager", "--boot", "-u", REPAIR, "-u", CHECK, "-o", "cat", "-n", "12")
    transcript.lines += transcript.box.run(*journal).splitlines()
    return transcript.show(CHECK, "Result")


def starts(transcript: Transcript) -> list[str]:
    """The starts of the agent since this boot."""
    log = transcript.box.run("journalctl", "--no-pager", "--boot", "--unit", AGENT, "-o", "cat")
    return [line for line in log.splitlines() if line.startswith(f"Starting {AGENT}")]


def installed(transcript: Transcript) -> str:
    return transcript.do("dpkg-query --show --showformat='${Version}' facepay-agent")


def kept(transcript: Transcript) -> str:
    """The version to return to, and the version of the stored package."""
    version = transcript.box.file(f"{KEPT}/version").read_text().strip()
    package = transcript.box.file(f"{KEPT}/facepay-agent.deb")
    assert run("dpkg-deb", "--field", package, "Version").strip() == version
    return version


def configs(transcript: Transcript) -> tuple[str, str]:
    return (
        transcript.box.file(CONFIG_FILE).read_text(),
        transcript.box.file(OWN_CONFIG).read_text(),
    )


def outbox(transcript: Transcript) -> list[tuple[str, bytes]]:
    """(id, signed result) of each stored result."""
    path = transcript.box.file(f"/var/lib/facepay-agent/{FILE}")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("SELECT result_id, payload FROM result ORDER BY seq").fetchall()
