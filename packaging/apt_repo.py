"""A signed apt repository with a distribution for each Debian release and ring, made by reprepro.

`make apt-repo` runs this program. A terminal has the distribution of its ring in its sources (config/apt). A
new version goes to `canary` first. `--promote` copies the version of a ring to a later ring, so each ring
gets the bytes that the ring before has tested. Any web server can serve the folder, because apt verifies the
signature. Each index is valid for ``VALID_DAYS`` days, so an old one can be replayed for this time only. Each
run signs all indexes again; ``--renew`` does only this.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from build_deb import RELEASES
from environment import MACHINES, ROOT

PACKAGE = "facepay-agent"
RINGS = ("canary", "early", "all")  # in the order in which they get a version
KEYRING = "facepay.gpg"
VALID_DAYS = 30  # a terminal that cannot read a newer index for this time accepts no package and reports it


class RepositoryError(Exception):
    """The repository was not changed as requested. The message names the reason."""


def distribution(release: str, ring: str) -> str:
    """The name in ``Suites`` of an apt source."""
    return f"{release}-{ring}"


def create(repo: Path, key: str) -> None:
    """Write the configuration and the public key. ``key``: fingerprint of a secret key of gpg.

    Raises ``RepositoryError``: gpg has no such key, or the text is no fingerprint. gpg exports every key that
    matches another text, and the terminals would trust all of them.
    """
    if re.fullmatch(r"[0-9A-Fa-f]{40}", key) is None:
        raise RepositoryError(f"{key} is no fingerprint of 40 hex digits: gpg --list-secret-keys facepay")
    public = _run("gpg", "--batch", "--export", key)
    secret = _run("gpg", "--batch", "--list-secret-keys", "--with-colons", key, check=False)
    if not public or b"sec:" not in secret:
        raise RepositoryError(f"gpg has no secret key {key}: gpg --quick-generate-key facepay ed25519 sign")
    blocks = [
        "\n".join(
            (
                "Origin: facepay",
                "Label: facepay-agent",
                f"Suite: {distribution(release, ring)}",
                f"Codename: {distribution(release, ring)}",
                f"Architectures: {' '.join(MACHINES)}",
                "Components: main",
                f"SignWith: {key}",
                f"ValidFor: {VALID_DAYS}d",
            )
        )
        for release in RELEASES
        for ring in RINGS
    ]
    (repo / "conf").mkdir(parents=True, exist_ok=True)
    (repo / "conf" / "distributions").write_text("\n\n".join(blocks) + "\n")
    (repo / KEYRING).write_bytes(public)
    _reprepro(repo, "export")


def add(repo: Path, packages: Sequence[Path], ring: str = RINGS[0]) -> None:
    """Put packages into a ring. The version names the Debian release: 0.2.0+deb12.

    Raises ``RepositoryError``: another package, or a version that is not higher than that of the ring.
    """
    numbers = {f"+deb{number}": release for release, (number, _, _) in RELEASES.items()}
    for package in packages:
        name, version, arch = (
            _run("dpkg-deb", "--field", package, field).decode().strip()
            for field in ("Package", "Version", "Architecture")
        )
        release = next((each for end, each in numbers.items() if version.endswith(end)), None)
        if name != PACKAGE or release is None:
            raise RepositoryError(f"{package}: {name} {version} is no release of {PACKAGE} for a Debian")
        codename = distribution(release, ring)
        _reprepro(repo, "--architecture", arch, "includedeb", codename, package)
        if (arch, version) not in listed(repo, codename):
            raise RepositoryError(f"{codename} has {listed(repo, codename)}: {version} is not higher")


def built(folder: Path) -> list[Path]:
    """The packages of this version that `make deb` wrote; older ones can be in the same folder."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return sorted(folder.glob(f"{PACKAGE}_{version}+deb*.deb"))


def promote(repo: Path, source: str, target: str) -> None:
    """Copy the version of a ring to a later ring, for every Debian release.

    Raises ``RepositoryError``: the order of the rings is another one, or the source is empty.
    """
    if RINGS.index(source) >= RINGS.index(target):
        raise RepositoryError(f"{target} does not follow {source}: {' → '.join(RINGS)}")
    pairs = [(distribution(release, source), distribution(release, target)) for release in RELEASES]
    if not any(listed(repo, here) for here, _ in pairs):
        raise RepositoryError(f"no package is in {source}")
    for here, there in pairs:
        if listed(repo, here):
            _reprepro(repo, "copy", there, here, PACKAGE)
            if listed(repo, there) != listed(repo, here):
                raise RepositoryError(f"{there} keeps {listed(repo, there)}, {here} has {listed(repo, here)}")


def withdraw(repo: Path, ring: str) -> None:
    """Remove the package from a ring: no further terminal installs it. Installed versions stay."""
    for release in RELEASES:
        _reprepro(repo, "remove", distribution(release, ring), PACKAGE)


def renew(repo: Path) -> None:
    """Sign the index of each ring again, for ``VALID_DAYS`` days from now, with the key of the repository.

    The configuration is written again, so a repository of an earlier release gets the limit, too.
    """
    (key,) = set(re.findall(r"(?m)^SignWith: (\w+)$", (repo / "conf" / "distributions").read_text()))
    create(repo, key)


def valid_until(repo: Path, codename: str) -> str:
    """``Valid-Until`` of the signed index, e.g. ``Tue, 29 Dec 2026 02:20:00 UTC``."""
    (found,) = re.findall(r"(?m)^Valid-Until: (.*)$", (repo / "dists" / codename / "InRelease").read_text())
    return str(found)


def listed(repo: Path, codename: str) -> list[tuple[str, str]]:
    """(architecture, version) of the packages in a distribution."""
    lines = _reprepro(repo, "list", codename).decode().splitlines()
    return sorted((line.split("|")[2].split(":")[0], line.split()[-1]) for line in lines)


def main() -> None:
    options = _options()
    try:
        if options.key:
            create(options.repo, options.key)
        if not (options.repo / "conf" / "distributions").exists():
            raise RepositoryError("name the signing key once: make apt-repo ARGS='--key FINGERPRINT'")
        if options.promote:
            promote(options.repo, *options.promote)
        elif options.withdraw:
            withdraw(options.repo, options.withdraw)
        elif not options.renew:
            add(options.repo, options.packages or built(ROOT / "dist"))
        renew(options.repo)
    except RepositoryError as error:
        sys.exit(str(error))
    for release in RELEASES:
        for ring in RINGS:
            codename = distribution(release, ring)
            versions = ", ".join(f"{version} {arch}" for arch, version in listed(options.repo, codename))
            print(f"{codename:<16} {versions or '-'}")
    print(f"valid until {valid_until(options.repo, codename)}; before: make apt-repo ARGS=--renew")


def _reprepro(repo: Path, *words: str | Path) -> bytes:
    return _run("reprepro", "--silent", "--basedir", repo, *words)


def _run(*words: str | Path, check: bool = True) -> bytes:
    """stdout of a program. Raises ``RepositoryError`` with stderr."""
    program = shutil.which(str(words[0]))
    if program is None:
        raise RepositoryError(f"{words[0]} is missing: sudo apt-get install reprepro gpg dpkg")
    done = subprocess.run([program, *map(str, words[1:])], check=False, capture_output=True)
    if check and done.returncode != 0:
        raise RepositoryError(f"{words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "packages", nargs="*", type=Path, help="packages for canary (those of this version in dist)"
    )
    parser.add_argument("--repo", type=Path, default=ROOT / "dist" / "apt", help="the repository (dist/apt)")
    parser.add_argument("--key", help="fingerprint of the signing key; once, or to replace the key")
    parser.add_argument(
        "--promote", nargs=2, choices=RINGS, metavar=("FROM", "TO"), help="copy to a later ring"
    )
    parser.add_argument("--withdraw", choices=RINGS, help="remove the package from a ring")
    parser.add_argument("--renew", action="store_true", help=f"only sign again, for {VALID_DAYS} days")
    return parser.parse_args()


if __name__ == "__main__":
    main()
