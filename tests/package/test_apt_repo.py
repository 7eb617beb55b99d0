"""The apt repository with rings: real reprepro, gpg and apt, small packages, folders of the test only."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from apt_repo import (
    RINGS,
    VALID_DAYS,
    RepositoryError,
    add,
    built,
    create,
    distribution,
    listed,
    promote,
    renew,
    valid_until,
    withdraw,
)

from agent import __version__
from agent.resources import config_file
from tests.package.after_upgrade import BAD, NEW, OLD, Upgrades
from tests.package.apt_terminal import MISSING, AptTerminal, package, run

pytestmark = [
    pytest.mark.long,  # needs the program of a Debian package
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: make reprepro, as root"),
]


def test_a_version_reaches_each_ring_when_it_is_promoted(tmp_path: Path, repo: Path) -> None:
    add(repo, [package(tmp_path, OLD)])
    promote(repo, "canary", "early")
    promote(repo, "early", "all")
    terminals = {ring: AptTerminal(tmp_path / ring, repo, ring) for ring in RINGS}
    assert {ring: each.upgrade() for ring, each in terminals.items()} == dict.fromkeys(RINGS, OLD)
    add(repo, [package(tmp_path, NEW)])
    assert {ring: each.upgrade() for ring, each in terminals.items()} == dict.fromkeys(RINGS, OLD) | {
        "canary": NEW
    }
    promote(repo, "canary", "all")
    assert terminals["all"].upgrade() == NEW and terminals["early"].upgrade() == OLD


def test_a_terminal_returns_to_the_version_that_it_kept_without_the_repository(
    tmp_path: Path, repo: Path
) -> None:
    add(repo, [package(tmp_path, OLD)])
    terminal = AptTerminal(tmp_path / "terminal", repo, "canary")
    terminal.upgrade()
    add(repo, [package(tmp_path, NEW)])
    assert terminal.upgrade() == NEW
    shutil.rmtree(repo)
    (kept,) = (terminal.root / "var/cache/apt/archives").glob(f"facepay-agent_{OLD.replace('+', '*')}_*.deb")
    terminal.apt("apt-get", "install", "-y", "-qq", "--allow-downgrades", kept)
    assert terminal.installed == OLD


def test_a_changed_repository_and_another_key_are_refused(tmp_path: Path, repo: Path) -> None:
    add(repo, [package(tmp_path, OLD)])
    terminal = AptTerminal(tmp_path / "terminal", repo, "canary")
    release = repo / "dists" / distribution("bookworm", "canary")
    index = next(release.rglob("Packages"))
    signed = index.read_bytes()
    for path in release.rglob("Packages*"):
        path.unlink()
    index.write_bytes(signed.replace(OLD.encode(), NEW.encode()))
    terminal.apt("apt-get", "update", "-qq", ok=False)
    other = AptTerminal(tmp_path / "other", repo, "early")
    (other.root / "keyring.gpg").write_bytes(b"")
    assert "is not signed" in other.apt("apt-get", "update", ok=False)


def test_an_index_ends_and_is_renewed(tmp_path: Path, repo: Path, key: str) -> None:
    """An old index could be replayed without end, and would keep security updates from a terminal."""
    add(repo, [package(tmp_path, OLD)])
    codename = distribution("bookworm", "canary")
    left = parsedate_to_datetime(valid_until(repo, codename)) - datetime.now(UTC)
    assert timedelta(days=VALID_DAYS - 1) < left <= timedelta(days=VALID_DAYS)
    terminal = AptTerminal(tmp_path / "terminal", repo, "canary")
    release = repo / "dists" / codename / "Release"
    ended = re.sub(r"(?m)^Valid-Until: .*", "Valid-Until: Sun, 01 Nov 2026 00:00:00 UTC", release.read_text())
    release.write_text(ended)
    signed = release.with_name("InRelease")
    run("gpg", "--batch", "--yes", "--local-user", key, "--clearsign", "--output", signed, release)
    assert "is expired" in terminal.apt("apt-get", "update", ok=False)
    renew(repo)
    assert terminal.upgrade() == OLD


def test_a_repository_of_an_earlier_release_gets_an_end(tmp_path: Path, repo: Path) -> None:
    conf = repo / "conf" / "distributions"
    conf.write_text(re.sub(r"(?m)^ValidFor: .*\n", "", conf.read_text()))
    run("reprepro", "--silent", "--basedir", repo, "export")
    codename = distribution("trixie", "all")
    assert "Valid-Until" not in (repo / "dists" / codename / "InRelease").read_text()
    renew(repo)
    assert valid_until(repo, codename)


def test_nothing_else_of_the_repository_is_installed(tmp_path: Path, repo: Path) -> None:
    """The pin of the shipped file, against a repository whose key was stolen."""
    other = package(tmp_path, "9.0+deb12", "sudo")
    with pytest.raises(RepositoryError, match="no release of facepay-agent"):
        add(repo, [other])
    run("reprepro", "--silent", "--basedir", repo, "includedeb", distribution("bookworm", "canary"), other)
    terminal = AptTerminal(tmp_path / "terminal", repo, "canary")
    terminal.apt("apt-get", "update", "-qq")
    assert "no installation candidate" in terminal.apt("apt-get", "install", "-y", "sudo", ok=False)


def test_a_lower_version_an_unknown_key_and_a_wrong_order_are_errors(tmp_path: Path, repo: Path) -> None:
    add(repo, [package(tmp_path, NEW)])
    with pytest.raises(RepositoryError, match="is not higher"):
        add(repo, [package(tmp_path, OLD)])
    with pytest.raises(RepositoryError, match="does not follow"):
        promote(repo, "all", "canary")
    with pytest.raises(RepositoryError, match="no package is in early"):
        promote(repo, "early", "all")
    with pytest.raises(RepositoryError, match="no secret key"):
        create(tmp_path / "second", "0" * 40)
    with pytest.raises(RepositoryError, match="no fingerprint"):
        create(tmp_path / "third", "facepay")  # a name can match several keys
    withdraw(repo, "canary")
    assert listed(repo, distribution("bookworm", "canary")) == []


def test_an_older_package_in_the_folder_is_not_added_again(tmp_path: Path, repo: Path) -> None:
    for version in ("0.0.1+deb12", f"{__version__}+deb12"):
        package(tmp_path, version)
    assert built(repo) == []
    add(repo, built(tmp_path))
    assert [version for _, version in listed(repo, distribution("bookworm", "canary"))] == [
        f"{__version__}+deb12"
    ]


def test_a_good_upgrade_is_kept(tmp_path: Path, repo: Path, upgrades: Upgrades) -> None:
    add(repo, [package(tmp_path, NEW)])
    assert upgrades.terminal.upgrade() == NEW
    upgrades.check()
    assert upgrades.good == NEW and upgrades.problem is None
    assert NEW in run("dpkg-deb", "--field", upgrades.kept / "facepay-agent.deb", "Version")
    assert upgrades.check() == "", "nothing to do at the next boot"


def test_a_bad_upgrade_returns_to_the_good_version_and_stays_there(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    add(repo, [package(tmp_path, BAD)])
    assert upgrades.terminal.upgrade() == BAD
    shutil.rmtree(upgrades.terminal.root / "var/cache/apt/archives")  # apt-get clean
    (upgrades.terminal.root / "var/cache/apt/archives/partial").mkdir(parents=True)
    assert f"{OLD} is installed again and held" in upgrades.check(ok=False)
    assert (upgrades.terminal.installed, upgrades.good) == (OLD, OLD)
    assert upgrades.terminal.upgrade() == OLD, "held: the next run does not install it again"
    assert f"{OLD} is held" in upgrades.check(ok=False), "each later run reports the hold"
    assert str(upgrades.problem) == f"{BAD} was not healthy; {OLD} is installed again and held"
    upgrades.terminal.apt("apt-mark", "unhold", "facepay-agent")
    assert upgrades.check() == ""
    assert f"{BAD} has been in the ring for 3 days" in str(upgrades.problem), "it is still published"
    withdraw(repo, "canary")
    upgrades.terminal.apt("apt-get", "update", "-qq")
    assert upgrades.check() == "" and upgrades.problem is None


def test_a_version_that_is_not_installed_is_recorded_from_its_first_day(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    """Whatever the reason is: a hold, unattended-upgrades is off, a file that it does not replace."""
    waiting = upgrades.kept / "waiting"
    for version in (NEW, BAD):
        add(repo, [package(tmp_path, version)])
        upgrades.terminal.apt("apt-get", "update", "-qq")
        upgrades.check()
        installed, offered, since = waiting.read_text().split()
        assert (installed, offered) == (OLD, version)
        waiting.write_text(waiting.read_text().replace(since, "1767225600"))
    assert waiting.read_text().split()[2] == "1767225600", "another version in the ring is no new start"
    assert f"{BAD} has been in the ring" in str(upgrades.problem)
    waiting.write_text(f"{OLD} {BAD} damaged\n")
    upgrades.check()
    assert int(waiting.read_text().split()[2]) > 1_767_225_600, "a damaged time is replaced"


def test_a_version_that_was_installed_from_a_file_is_kept(tmp_path: Path, repo: Path) -> None:
    """As README.md does: apt stores no copy of the file."""
    made = package(tmp_path, OLD)
    upgrades = Upgrades(tmp_path, repo)
    upgrades.terminal.apt("apt-get", "install", "-y", "-qq", made)
    assert "apt kept no package" in upgrades.check(ok=False)
    assert str(upgrades.problem) == f"{OLD} is healthy, but apt stored no package to return to"
    add(repo, [made])
    upgrades.terminal.apt("apt-get", "update", "-qq")
    upgrades.check()
    assert upgrades.good == OLD and upgrades.problem is None


def test_a_changed_config_file_stops_no_return(tmp_path: Path, repo: Path, upgrades: Upgrades) -> None:
    """dpkg would ask, and end without an answer."""
    add(repo, [package(tmp_path, BAD)])
    upgrades.terminal.upgrade()
    (upgrades.terminal.root / "etc" / "facepay-agent").write_text("of the operator")
    assert f"{OLD} is installed again and held" in upgrades.check(ok=False)
    assert upgrades.terminal.installed == OLD
    assert (upgrades.terminal.root / "etc" / "facepay-agent").read_text() == "of the operator"


def test_a_fault_of_another_package_stops_no_return(tmp_path: Path, repo: Path, upgrades: Upgrades) -> None:
    add(repo, [package(tmp_path, BAD)])
    upgrades.terminal.upgrade()
    run(upgrades.programs / "dpkg", "--unpack", package(tmp_path, "1.0", "other", "exit 1"))
    assert f"{OLD} is installed again and held" in upgrades.check(ok=False)
    assert f"{OLD} is held" in upgrades.check(ok=False)


def test_the_status_before_an_upgrade_is_that_of_the_healthy_version(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    """unattended-upgrades runs dpkg once for each package: the run after the upgrade records nothing."""
    add(repo, [package(tmp_path, BAD)])
    upgrades.terminal.upgrade()
    other = package(tmp_path, "1.0", "other")
    upgrades.terminal.apt("apt-get", "install", "-y", "-qq", other)
    assert (upgrades.kept / "before.json").read_text() == OLD


def test_a_version_stays_where_no_agent_answered_before(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    """A return would keep a correction from a terminal whose agent does not start."""
    (upgrades.terminal.root / "stopped").touch()
    add(repo, [package(tmp_path, BAD)])
    upgrades.terminal.upgrade()
    assert "no agent answered" in upgrades.check(ok=False)
    assert upgrades.terminal.installed == BAD


def test_unattended_upgrades_keeps_the_package(upgrades: Upgrades) -> None:
    """Its default removes each package after the installation."""
    dump = upgrades.terminal.apt("apt-config", "dump", "Unattended-Upgrade::Keep-Debs-After-Install")
    assert dump.split() == ["Unattended-Upgrade::Keep-Debs-After-Install", '"true";']


def test_a_power_cut_during_an_upgrade_ends_with_a_checked_version(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    """The files of the new version are unpacked, and nothing is configured."""
    for version, wanted in ((NEW, NEW), (BAD, NEW)):
        made = package(tmp_path, version)
        add(repo, [made])
        shutil.copy(made, upgrades.terminal.root / "var/cache/apt/archives")
        run(upgrades.programs / "dpkg", "--unpack", made)
        assert upgrades.terminal.installed == version
        upgrades.check(ok=version == wanted)
        assert (upgrades.terminal.installed, upgrades.good) == (wanted, wanted)


def test_a_bad_first_version_is_reported(tmp_path: Path, repo: Path) -> None:
    add(repo, [package(tmp_path, BAD)])
    upgrades = Upgrades(tmp_path, repo)
    upgrades.terminal.upgrade()
    assert "no version is kept" in upgrades.check(ok=False)
    assert upgrades.terminal.installed == BAD


def test_a_machine_without_an_agent_keeps_each_version(
    tmp_path: Path, repo: Path, upgrades: Upgrades
) -> None:
    add(repo, [package(tmp_path, BAD)])
    assert upgrades.terminal.upgrade() == BAD
    (upgrades.terminal.root / "disabled").touch()
    assert upgrades.check() == "" and upgrades.terminal.installed == BAD


def test_the_units_are_valid_and_the_script_is_plain_sh(tmp_path: Path) -> None:
    for name in ("facepay-after-upgrade.service", "facepay-repair.service"):
        unit = tmp_path / name
        text = config_file(f"apt/{name}").read_text()
        unit.write_text(text.replace("/usr/local/sbin/facepay-after-upgrade", "/bin/true"))
        if shutil.which("systemd-analyze") is not None:
            done = subprocess.run(
                ["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True
            )
            assert (done.returncode, done.stderr) == (0, "")
    run("dash", "-n", config_file("apt/facepay-after-upgrade"))
