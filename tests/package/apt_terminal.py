"""A terminal's apt in a folder: real apt and dpkg with their own state, and the files of config/apt."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from apt_repo import KEYRING, distribution

from agent.resources import config_file

NEEDED = ("reprepro", "gpg", "dpkg-deb", "apt-get", "dpkg", "apt-mark")
MISSING = [name for name in NEEDED if shutil.which(name) is None]


def run(*command: str | Path, ok: bool = True, **environment: str) -> str:
    done = subprocess.run(
        [*map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | environment,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def package(folder: Path, version: str, name: str = "facepay-agent", postinst: str = "") -> Path:
    """A package for this machine, with a file and a config file that contain the version."""
    arch = run("dpkg", "--print-architecture").strip()
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt" / name).write_text(version)
    (tree / "etc").mkdir()
    (tree / "etc" / name).write_text(version)
    (tree / "DEBIAN" / "conffiles").write_text(f"/etc/{name}\n")
    if postinst:
        (tree / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\n{postinst}\n")
        (tree / "DEBIAN" / "postinst").chmod(0o755)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": arch,
        "Section": "misc",
        "Priority": "optional",
        "Maintainer": "test <root@localhost>",
        "Description": "for a test",
    }
    (tree / "DEBIAN" / "control").write_text("".join(f"{field}: {text}\n" for field, text in fields.items()))
    file = folder / f"{name}_{version}_{arch}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", tree, file)
    return file


@contextmanager
def signing_key() -> Iterator[str]:
    """The fingerprint of a new key; GNUPGHOME is short, because gpg's socket has a short path."""
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


class AptTerminal:
    """A root folder with the files of config/apt for one ring of a repository."""

    def __init__(self, root: Path, repo: Path, ring: str) -> None:
        self.root = root
        places = ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/apt/lists/partial", "var/log/apt"]
        places += [
            f"etc/apt/{each}" for each in ("sources.list.d", "preferences.d", "apt.conf.d", "trusted.gpg.d")
        ]
        for place in (*places, "var/cache/apt/archives/partial"):
            (root / place).mkdir(parents=True)
        (root / "var/lib/dpkg/status").write_text("")
        (root / "keyring.gpg").write_bytes((repo / KEYRING).read_bytes())
        replaced = {
            "https://apt.example/facepay": f"copy:{repo}",
            "bookworm-all": distribution("bookworm", ring),
            "/usr/share/keyrings/facepay.gpg": str(root / "keyring.gpg"),
            "/usr/local/sbin/facepay-after-upgrade": str(root / "after-upgrade"),  # absent at first
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
        self.config = root / "apt.conf"
        self.config.write_text(
            f'Dir "{root}"; Dir::State::status "{root}/var/lib/dpkg/status"; APT::Sandbox::User "root";\n'
            f'Dir::Bin::methods "/usr/lib/apt/methods"; Dir::Bin::dpkg "{shutil.which("dpkg")}";\n'
            f'DPkg::Options {{ "--root={root}"; "--force-not-root"; "--force-script-chrootless"; }};\n'
            'DPkg::Run-Directory "/"; Debug::NoLocking "true";\n'
        )

    def apt(self, *words: str | Path, ok: bool = True, **environment: str) -> str:
        """Run a program with this terminal's apt."""
        own = {"APT_CONFIG": str(self.config), "DEBIAN_FRONTEND": "noninteractive"}
        return run(*words, ok=ok, **(own | environment))

    def upgrade(self) -> str | None:
        """Update and upgrade, or install; the version that is installed then."""
        self.apt("apt-get", "update", "-qq")
        if self.installed is None:
            self.apt("apt-get", "install", "-y", "-qq", "facepay-agent")
        else:
            self.apt("apt-get", "upgrade", "-y", "-qq")
        return self.installed

    @property
    def installed(self) -> str | None:
        file = self.root / "opt" / "facepay-agent"
        return file.read_text() if file.exists() else None
