"""The apt repository with rings: real reprepro, gpg and apt, small packages, folders of the test only."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from apt_repo import KEYRING, RINGS, RepositoryError, add, create, distribution, listed, promote, withdraw

from agent.resources import config_file

NEEDED = ("reprepro", "gpg", "dpkg-deb", "apt-get", "dpkg")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
pytestmark = [
    pytest.mark.long,  # needs the program of a Debian package
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}: make reprepro, as root"),
]
OLD, NEW = "0.2.0+deb12", "0.3.0+deb12"


def run(*command: str | Path, ok: bool = True) -> str:
    done = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


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


def package(folder: Path, version: str, name: str = "facepay-agent", arch: str = "all") -> Path:
    """A package with one file that contains the version."""
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt" / name).write_text(version)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": arch,
        "Section": "misc",
        "Priority": "optional",
    }
    fields |= {"Maintainer": "test <root@localhost>", "Description": "for a test"}
    (tree / "DEBIAN" / "control").write_text("".join(f"{field}: {text}\n" for field, text in fields.items()))
    file = folder / f"{name}_{version}_{arch}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", tree, file)
    return file


def amd64(folder: Path, version: str) -> Path:
    return package(folder, version, arch=run("dpkg", "--print-architecture").strip())


@pytest.fixture
def repo(tmp_path: Path, key: str) -> Path:
    made = tmp_path / "repo"
    create(made, key)
    return made


class Terminal:
    """A root folder with its own apt and dpkg state, and the shipped files of config/apt for one ring."""

    def __init__(self, root: Path, repo: Path, ring: str) -> None:
        self.root = root
        for place in (
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/apt/lists/partial",
            "var/log/apt",
            "etc/apt",
        ):
            (root / place).mkdir(parents=True)
        for place in ("sources.list.d", "preferences.d", "apt.conf.d", "trusted.gpg.d"):
            (root / "etc/apt" / place).mkdir()
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        (root / "var/lib/dpkg/status").write_text("")
        (root / "keyring.gpg").write_bytes((repo / KEYRING).read_bytes())
        replaced = {
            "https://apt.example/facepay": f"copy:{repo}",
            "bookworm-all": distribution("bookworm", ring),
            "/usr/share/keyrings/facepay.gpg": str(root / "keyring.gpg"),
        }
        folders = {
            "facepay.sources": "sources.list.d",
            "facepay.pref": "preferences.d",
            "52facepay": "apt.conf.d",
        }
        for name, folder in folders.items():
            text = config_file(f"apt/{name}").read_text()
            for old, new in replaced.items():
                text = text.replace(old, new)
            (root / "etc/apt" / folder / name).write_text(text)
        self._options = root / "apt.conf"
        self._options.write_text(
            f'Dir "{root}"; Dir::State::status "{root}/var/lib/dpkg/status"; APT::Sandbox::User "root";\n'
            f'Dir::Bin::methods "/usr/lib/apt/methods"; Dir::Bin::dpkg "{shutil.which("dpkg")}";\n'
            f'DPkg::Options {{ "--root={root}"; "--force-not-root"; "--force-script-chrootless"; }};\n'
            'DPkg::Run-Directory "/"; Debug::NoLocking "true";\n'
        )

    def apt(self, *words: str | Path, ok: bool = True) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("APT_CONFIG", str(self._options))
            patch.setenv("DEBIAN_FRONTEND", "noninteractive")
            return run(*words, ok=ok)

    def upgrade(self) -> str | None:
        """Update and install; the version that is installed then."""
        self.apt("apt-get", "update", "-qq")
        self.apt("apt-get", "install", "-y", "-qq", "facepay-agent")
        return self.installed

    @property
    def installed(self) -> str | None:
        file = self.root / "opt" / "facepay-agent"
        return file.read_text() if file.exists() else None


def test_a_version_reaches_each_ring_when_it_is_promoted(tmp_path: Path, repo: Path) -> None:
    add(repo, [amd64(tmp_path, OLD)])
    promote(repo, "canary", "early")
    promote(repo, "early", "all")
    terminals = {ring: Terminal(tmp_path / ring, repo, ring) for ring in RINGS}
    assert {ring: each.upgrade() for ring, each in terminals.items()} == dict.fromkeys(RINGS, OLD)
    add(repo, [amd64(tmp_path, NEW)])
    assert {ring: each.upgrade() for ring, each in terminals.items()} == dict.fromkeys(RINGS, OLD) | {
        "canary": NEW
    }
    promote(repo, "canary", "all")
    assert terminals["all"].upgrade() == NEW and terminals["early"].upgrade() == OLD


def test_a_terminal_returns_to_the_version_that_it_kept_without_the_repository(
    tmp_path: Path, repo: Path
) -> None:
    add(repo, [amd64(tmp_path, OLD)])
    terminal = Terminal(tmp_path / "terminal", repo, "canary")
    terminal.upgrade()
    add(repo, [amd64(tmp_path, NEW)])
    assert terminal.upgrade() == NEW
    shutil.rmtree(repo)
    (kept,) = (terminal.root / "var/cache/apt/archives").glob(f"facepay-agent_{OLD.replace('+', '*')}_*.deb")
    terminal.apt("apt-get", "install", "-y", "-qq", "--allow-downgrades", kept)
    assert terminal.installed == OLD


def test_a_changed_repository_and_another_key_are_refused(tmp_path: Path, repo: Path) -> None:
    add(repo, [amd64(tmp_path, OLD)])
    terminal = Terminal(tmp_path / "terminal", repo, "canary")
    release = repo / "dists" / distribution("bookworm", "canary")
    index = next(release.rglob("Packages"))
    signed = index.read_bytes()
    for path in release.rglob("Packages*"):
        path.unlink()
    index.write_bytes(signed.replace(OLD.encode(), NEW.encode()))
    terminal.apt("apt-get", "update", "-qq", ok=False)
    other = Terminal(tmp_path / "other", repo, "early")
    (other.root / "keyring.gpg").write_bytes(b"")
    assert "is not signed" in other.apt("apt-get", "update", ok=False)


def test_nothing_else_of_the_repository_is_installed(tmp_path: Path, repo: Path) -> None:
    """The pin of the shipped file, against a repository whose key was stolen."""
    other = package(tmp_path, "9.0+deb12", "sudo", run("dpkg", "--print-architecture").strip())
    with pytest.raises(RepositoryError, match="no release of facepay-agent"):
        add(repo, [other])
    run("reprepro", "--silent", "--basedir", repo, "includedeb", distribution("bookworm", "canary"), other)
    terminal = Terminal(tmp_path / "terminal", repo, "canary")
    terminal.apt("apt-get", "update", "-qq")
    assert "no installation candidate" in terminal.apt("apt-get", "install", "-y", "sudo", ok=False)


def test_a_lower_version_an_unknown_key_and_a_wrong_order_are_errors(tmp_path: Path, repo: Path) -> None:
    add(repo, [amd64(tmp_path, NEW)])
    with pytest.raises(RepositoryError, match="is not higher"):
        add(repo, [amd64(tmp_path, OLD)])
    with pytest.raises(RepositoryError, match="does not follow"):
        promote(repo, "all", "canary")
    with pytest.raises(RepositoryError, match="no package is in early"):
        promote(repo, "early", "all")
    with pytest.raises(RepositoryError, match="no secret key"):
        create(tmp_path / "second", "0" * 40)
    withdraw(repo, "canary")
    assert listed(repo, distribution("bookworm", "canary")) == []
