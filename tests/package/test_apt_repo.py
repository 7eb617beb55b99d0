"""The apt repository with rings: real reprepro, gpg and apt, small packages, folders of the test only."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from apt_repo import RINGS, RepositoryError, add, built, create, distribution, listed, promote, withdraw

from agent import __version__
from agent.resources import config_file
from tests.package.apt_terminal import MISSING, AptTerminal, package, run

pytestmark = [
    pytest.mark.long,  # needs the program of a Debian package
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: make reprepro, as root"),
]
OLD, NEW, BAD = "0.2.0+deb12", "0.3.0+deb12", "0.4.0+deb12"


@pytest.fixture(scope="module")
def key() -> Iterator[str]:
    """A signing key; GNUPGHOME is short, because gpg's socket has a short path."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(dir="/tmp", prefix="gpg-") as home,
    ):
        patch.setenv("GNUPGHOME", home)
        unprotected = ("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key")
        run(*unprotected, "facepay", "ed25519", "sign")
        colons = run("gpg", "--batch", "--with-colons", "--list-keys", "facepay")
        yield next(line.split(":")[9] for line in colons.splitlines() if line.startswith("fpr:"))
        run("gpgconf", "--kill", "gpg-agent")


@pytest.fixture
def repo(tmp_path: Path, key: str) -> Path:
    made = tmp_path / "repo"
    create(made, key)
    return made


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


class Upgrades:
    """A terminal with the shipped facepay-after-upgrade; `facepay` is healthy except with ``BAD``."""

    def __init__(self, folder: Path, repo: Path) -> None:
        self.terminal = AptTerminal(folder / "terminal", repo, "canary")
        self.programs, self.kept = folder / "programs", folder / "kept"
        self.programs.mkdir()
        root = self.terminal.root
        status = f"[ -e {root}/stopped ] || cat {root}/opt/facepay-agent"
        stubs = {
            "facepay": f'[ "$1" != status ] || {{ {status}; exit; }}\n'
            f'[ "$1 $2" = "doctor --after-upgrade" ] && ! grep -q {BAD} {root}/opt/facepay-agent',
            "systemctl": f'test "$*" = "--quiet is-enabled facepay-agent" -a ! -e {root}/disabled',
            "dpkg": f'exec {shutil.which("dpkg")} --root={root} --force-not-root "$@"',
            "dpkg-query": f'exec {shutil.which("dpkg-query")} --admindir={root}/var/lib/dpkg "$@"',
        }
        for name, line in stubs.items():
            (self.programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (self.programs / name).chmod(0o755)

        self.environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "KEPT": str(self.kept),
            "ARCHIVES": str(root / "var/cache/apt/archives"),
        }
        words = [f"{name}={value}" for name, value in self.environment.items()]
        script = shlex.join(["env", *words, "sh", str(config_file("apt/facepay-after-upgrade"))])
        (root / "after-upgrade").write_text(f'#!/bin/sh\nexec {script} "$@"\n')  # for 52facepay
        (root / "after-upgrade").chmod(0o755)

    def check(self, ok: bool = True) -> str:
        """Run the script as systemd does."""
        return self.terminal.apt("sh", config_file("apt/facepay-after-upgrade"), ok=ok, **self.environment)

    @property
    def good(self) -> str:
        return (self.kept / "version").read_text().strip()


@pytest.fixture
def upgrades(tmp_path: Path, repo: Path) -> Upgrades:
    """The first version is installed and was healthy."""
    add(repo, [package(tmp_path, OLD)])
    made = Upgrades(tmp_path, repo)
    made.terminal.upgrade()
    made.check()
    assert made.good == OLD
    return made


def test_a_good_upgrade_is_kept(tmp_path: Path, repo: Path, upgrades: Upgrades) -> None:
    add(repo, [package(tmp_path, NEW)])
    assert upgrades.terminal.upgrade() == NEW
    upgrades.check()
    assert upgrades.good == NEW
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
    upgrades.terminal.apt("apt-mark", "unhold", "facepay-agent")
    assert upgrades.check() == ""


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


def test_the_unit_is_valid_and_the_script_is_plain_sh(tmp_path: Path) -> None:
    text = config_file("apt/facepay-after-upgrade.service").read_text()
    unit = tmp_path / "facepay-after-upgrade.service"
    unit.write_text(text.replace("/usr/local/sbin/facepay-after-upgrade", "/bin/true"))
    if shutil.which("systemd-analyze") is not None:
        done = subprocess.run(
            ["systemd-analyze", "verify", unit], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
    run("dash", "-n", config_file("apt/facepay-after-upgrade"))
