"""Build the Debian package: a Python environment in /opt/facepay-agent, units, config, licences.

`make deb` runs this program. It needs no root, and of Debian's build tools only dpkg-deb. The content with
reasons: docs/reference/packaging.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

import archive
import documents
import manual
import package_metadata
from environment import MACHINES, OPT, ROOT, collect_wheels, make_environment, run, this_arch

HERE = Path(__file__).parent

# Debian release -> its number, its Python, its glibc (for the choice of wheels)
RELEASES = {"bookworm": (12, (3, 11), 36), "trixie": (13, (3, 13), 41)}

# source in the repository -> place on the terminal
FILES = {
    "config/agent.toml": "etc/facepay-agent/agent.toml",
    "config/service.toml": "etc/facepay-agent/service.toml",
    "systemd/facepay-agent.service": "usr/lib/systemd/system/facepay-agent.service",
    "systemd/facepay-compare.service": "usr/lib/systemd/system/facepay-compare.service",
    "systemd/facepay-display.service": "usr/lib/systemd/system/facepay-display.service",
    "systemd/facepay-fleet-exporter.service": "usr/lib/systemd/system/facepay-fleet-exporter.service",
    "systemd/facepay-fleet-exporter.default": "etc/default/facepay-fleet-exporter",
    # not enabled; the reason is in the file
    "config/apt/facepay-repair.service": "usr/lib/systemd/system/facepay-repair.service",
    "systemd/facepay.sysusers": "usr/lib/sysusers.d/facepay-agent.conf",
    "systemd/facepay.tmpfiles": "usr/lib/tmpfiles.d/facepay-agent.conf",
}


def main() -> None:
    options = _options()
    number, python, glibc = RELEASES[options.release]
    if sys.version_info[:2] != python:
        sys.exit(
            f"{options.release} has Python {python[0]}.{python[1]}, this is {platform.python_version()}: "
            "the package contains bytecode, so build it with the same version (make deb PYTHON=python3.N)"
        )
    if "SOURCE_DATE_EPOCH" not in os.environ:
        os.environ["SOURCE_DATE_EPOCH"] = _commit_time()
    os.environ["TZ"] = "UTC"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    target = (options.release, options.arch, glibc, options.output)
    print(build(f"{version}+deb{number}", *target, fast=options.fast))


def build(version: str, release: str, arch: str, glibc: int, output: Path, *, fast: bool) -> Path:
    """Build the package in ``output`` with progress on stderr. Returns its path."""
    progress = Progress(6)
    epoch_s = int(os.environ["SOURCE_DATE_EPOCH"])
    with tempfile.TemporaryDirectory(prefix="facepay-deb-") as scratch:
        wheels, tree = Path(scratch, "wheels"), Path(scratch, "tree")
        progress.step("collect the wheels of packaging/lock/terminal.txt")
        collect_wheels(wheels, arch, glibc)
        progress.step(f"install {len(list(wheels.glob('*.whl')))} wheels, compile their modules")
        site = make_environment(tree, wheels, arch, glibc)
        progress.step("copy units, configs, documents and licences")
        copy_files(tree)
        documents.copy(tree, site)
        manual.write(tree, version, epoch_s)
        package_metadata.licences(tree, site)
        progress.step("write the bill of materials and the changelog")
        package_metadata.bill_of_materials(tree, site, wheels, version, arch, epoch_s)
        package_metadata.changelog(tree, version, release, epoch_s)
        progress.step("write the control files")
        camera = camera_of(arch, site)
        write_control(tree, version, arch, release, camera)
        set_modes(tree)
        set_times(tree, epoch_s)
        output.mkdir(parents=True, exist_ok=True)
        package = output / f"facepay-agent_{version}_{arch}.deb"
        progress.step("compress")
        how = ("-Zzstd", "-z12") if fast else ("-Znone",)
        run("dpkg-deb", "--root-owner-group", *how, "--build", tree, package)
        if not fast:
            archive.compress(package, arch)
    progress.end(f"{package.stat().st_size / 1e6:.0f} MB; {' '.join(camera.note.split())}")
    return package


class Progress:
    """Numbered steps on stderr, with the seconds since the start."""

    def __init__(self, steps: int) -> None:
        self._began_s = time.monotonic()
        self._steps, self._number = steps, 0

    def step(self, what: str) -> None:
        self._number += 1
        self._line(f"[{self._number}/{self._steps}] {what}")

    def end(self, what: str) -> None:
        self._line(f"done: {what}")

    def _line(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_s:5.1f} s  {text}", file=sys.stderr, flush=True)


def copy_files(tree: Path) -> None:
    for source, place in FILES.items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, target)


class Camera(NamedTuple):
    """What the package needs for the Pi's camera module."""

    note: str  # a paragraph of the description, in the form of Debian's control file
    recommends: str


def camera_of(arch: str, site: Path) -> Camera:
    """The note about picamera2, which exists for aarch64 only. A cross build cannot compile it."""
    if arch != "arm64":
        return Camera(" Cameras: USB (v4l2) and streams. picamera2 exists for arm64 only.", "")
    if (site / "picamera2").exists():
        return Camera(" Contains picamera2. The Pi's camera module also needs python3-libcamera.", "")
    return Camera(
        " This build does not contain picamera2. For the Pi's camera module, on Raspberry Pi OS, run:\n"
        " sudo apt install python3-picamera2 python3-libcamera",
        ", python3-picamera2",
    )


def write_control(tree: Path, version: str, arch: str, release: str, camera: Camera) -> None:
    debian = tree / "DEBIAN"
    debian.mkdir()
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = RELEASES[release][1]
    values = {
        "VERSION": version,
        "ARCH": arch,
        "RELEASE": release,
        "SIZE": str(sum(path.stat().st_size for path in files) // 1024),
        "PYTHON": f"{major}.{minor}",
        "NEXT_PYTHON": f"{major}.{minor + 1}",
        "RECOMMENDS": camera.recommends,
        "CAMERA": camera.note,
    }
    text = (HERE / "control.in").read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    (debian / "control").write_text(text)
    kept = {place for place in FILES.values() if place.startswith("etc/")}
    (debian / "conffiles").write_text("".join(f"/{place}\n" for place in sorted(kept)))
    shipped = {path.relative_to(tree).as_posix(): path for path in files}
    (debian / "md5sums").write_text(
        "".join(f"{_md5(path)}  {place}\n" for place, path in shipped.items() if place not in kept)
    )
    for script in ("postinst", "prerm", "postrm"):
        shutil.copyfile(HERE / script, debian / script)


def set_modes(tree: Path) -> None:
    """Set fixed modes, which must not depend on the umask of the build.

    The agent's config belongs to root until tmpfiles.d gives it to the service's group, which does not exist
    before the installation. At no time may every user read the config.
    """
    programs = {tree / "DEBIAN" / name for name in ("postinst", "prerm", "postrm")}
    programs.add(tree / OPT / "bin" / "facepay")
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
    (tree / FILES["config/agent.toml"]).chmod(0o640)


def set_times(tree: Path, epoch_s: int) -> None:
    """Set one time of change, which must not depend on the checkout.

    dpkg-deb replaces only the times after ``SOURCE_DATE_EPOCH``. A file that was checked out before the last
    commit would keep its own.
    """
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    parser.add_argument(
        "--release", choices=RELEASES, default=release, help="Debian release (this machine's)"
    )
    parser.add_argument("--arch", choices=MACHINES, default=this_arch(), help="architecture (this machine's)")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the package (dist)")
    parser.add_argument(
        "--fast", action="store_true", help="compress in a few seconds, into a larger package"
    )
    options = parser.parse_args()
    if options.release not in RELEASES:
        parser.error(f"this machine is not a Debian of {', '.join(RELEASES)}: use --release")
    return options


def _md5(path: Path) -> str:
    """The checksum that dpkg verifies: against damage, not against attacks."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _commit_time() -> str:
    """Time of the last commit, so that the same source gives the same package; else of the changelog."""
    command = ("git", "-C", str(ROOT), "log", "-1", "--format=%ct")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() or str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


if __name__ == "__main__":
    main()
