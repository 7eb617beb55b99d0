"""A minimal Debian for tests of the package: as a directory for chroot, or booted with its own systemd.

Both need root. Mounts are in separate namespaces, so that none is left when a test is killed. ``codename``:
the release, one of ``RELEASES``; empty is this machine's release. The package contains bytecode, so the
package of another release than this machine's is built inside a chroot with that release's Python.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stored import delete_unused, kept, stored

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "packaging" / "lock" / "terminal.txt"
RELEASES = ("bookworm", "trixie")  # Debian 12 and 13
INSIDE = "systemd,systemd-sysv,dbus,python3,mosquitto,zlib1g,libstdc++6,faketime"
BUILD = ("python3-venv", "ca-certificates")
NOT_PACKAGED = (":!tests", ":!Makefile", ":!.ci")  # for git: a change there needs no new package
_IN_BOX = ("env", "-u", "TMPDIR")  # a folder of this machine
# In one cgroup, the systemd of one container would end and remove the services of another container.
_BOOT = """
mount -t tmpfs tmpfs /run
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/facepay-$$
echo $$ >/sys/fs/cgroup/facepay-$$/cgroup.procs
exec systemd-nspawn -q -D "$0" --register=no --keep-unit --boot --private-network --resolv-conf=off \
    --timezone=off --link-journal=no --machine=terminal-1
"""
_REMOVE_CGROUP = """
mount -t cgroup2 none /sys/fs/cgroup
[ ! -d /sys/fs/cgroup/facepay-$0 ] || find /sys/fs/cgroup/facepay-$0 -depth -type d -delete
# and the groups of containers whose test was killed
for group in $(find /sys/fs/cgroup -maxdepth 1 -name 'facepay-*' -mmin +60); do
    ! grep -q '^populated 0' "$group/cgroup.events" || find "$group" -depth -type d -delete || true
done
"""


def run(*command: str | Path, ok: tuple[int, ...] = (0,), timeout_s: float = 300) -> str:
    """stdout and stderr of a command that must end with a code in ``ok``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "COLUMNS": "100"}
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode in ok, f"{command} ended with {done.returncode}:\n{done.stdout[-4_000:]}"
    return done.stdout


class Debian:
    """A root file system in which a test runs commands."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run a command in a chroot with its own /proc; its background processes end with it."""
        return self.run_with({}, *command, ok=ok)

    def run_with(
        self, binds: Mapping[str, Path], *command: str, ok: tuple[int, ...] = (0,), timeout_s: float = 300
    ) -> str:
        """As ``run``, with folders of this machine mounted at the paths of ``binds``."""
        own = ("unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.root}/proc")
        mounts = ""
        for place, source in binds.items():
            self.file(place).mkdir(parents=True, exist_ok=True)
            mounts += f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(self.file(place)))}\n"
        script = f'{mounts}exec chroot "$0" env -u TMPDIR "$@"'
        return run(*own, "sh", "-ec", script, self.root, *command, ok=ok, timeout_s=timeout_s)

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def has(self, path: str) -> bool:
        return os.path.lexists(self.file(path))


class Booted(Debian):
    """A Debian that runs with systemd as PID 1."""

    def __init__(self, root: Path, init: int) -> None:
        super().__init__(root)
        self.init = init

    def run(self, *command: str, ok: tuple[int, ...] = (0,)) -> str:
        return run(
            "nsenter",
            "-t",
            str(self.init),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "--",
            *_IN_BOX,
            *command,
            ok=ok,
        )

    def wait_for(self, *command: str, answer: str, timeout_s: float) -> float:
        """Seconds until the command's output is ``answer``."""
        began = time.monotonic()
        while (output := self.run(*command, ok=(0, 1, 3, 4)).strip()) != answer:
            assert time.monotonic() - began < timeout_s, f"{command}: {output!r}, not {answer!r}"
            time.sleep(0.2)
        return time.monotonic() - began


@contextmanager
def installed_debian(codename: str = "", more: tuple[str, ...] = ()) -> Iterator[Debian]:
    """A fresh copy of the minimal system with the package in /root; deleted afterwards.

    ``more``: packages of Debian that this system also has, because the booted one has no network.
    """
    base, package = system_with(codename, more), built_package(codename)
    with tempfile.TemporaryDirectory(prefix="facepay-debian-") as scratch:
        root = Path(scratch, "root")
        run("cp", "-a", "--reflink=auto", base, root)
        shutil.copy(package, root / "root" / "facepay-agent.deb")
        yield Debian(root)


@contextmanager
def booted(debian: Debian) -> Iterator[Booted]:
    """A container with systemd as PID 1, its own processes, and a network with loopback only."""
    begin = ("unshare", "--mount", "--propagation", "private", "sh", "-ec", _BOOT, str(debian.root))
    with tempfile.TemporaryFile() as console:
        machine = subprocess.Popen(begin, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        init = 0
        try:
            init = _child_of(machine)
            box = Booted(debian.root, init)
            box.wait_for("systemctl", "is-system-running", answer="running", timeout_s=180)
            yield box
        finally:
            _end(machine, init)


def _end(machine: subprocess.Popen[bytes], init: int) -> None:
    """Kill the container: the end of its PID 1 ends its other processes; nothing of the box is used again.

    The end of nspawn alone is not enough: the container can continue without it.
    """
    if init:
        with contextlib.suppress(ProcessLookupError):
            os.kill(init, signal.SIGKILL)
    else:
        machine.kill()
    machine.wait(60)
    if init:
        _wait_for_end(init)
    run("unshare", "--mount", "--propagation", "private", "sh", "-ec", _REMOVE_CGROUP, str(machine.pid))


def _wait_for_end(init: int) -> None:
    """Wait until the container's processes have ended: the kernel ends the first one last."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"the container's PID 1, {init}, did not end within 30 s")


def needs_a_debian_of_its_own(codename: str = "", more: tuple[str, ...] = ()) -> None:
    """Skip with a reason where no Debian can be made. Later failures of the set-up are test failures."""
    if os.geteuid() != 0:
        pytest.skip("needs root: debootstrap, chroot, mount")
    if (codename or release()) not in RELEASES:
        pytest.skip("needs a Debian 12 or 13 to build the package on")
    if _is_native(codename):
        own = run("/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])").split()
        if own != [str(part) for part in sys.version_info[:2]]:
            pytest.skip(f"needs the tests to run on Debian's own Python {'.'.join(own)}: bytecode")
    kept_systems = (_base(codename),) if _is_native(codename) else (_base(codename), _build_base(codename))
    if not all(each.exists() for each in (*kept_systems, _base_with(codename, more))):
        if not mirror():
            pytest.skip("needs a Debian mirror for this release in apt's sources")
        try:
            url = f"{mirror()}dists/{codename or release()}/InRelease"
            urllib.request.urlopen(url, timeout=20).close()
        except (urllib.error.URLError, TimeoutError) as error:
            pytest.skip(f"needs a Debian mirror: {mirror()}: {error}")


def release() -> str:
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def _is_native(codename: str) -> bool:
    return codename in ("", release())


@functools.cache
def built_package(codename: str = "") -> Path:
    """The package of `make deb`, stored for each state of the sources: all workers share it."""
    name = f"{codename or release()}-package"
    folder = stored(kept(f"{name}-{_package_digest(codename)}"), lambda folder: _build(codename, folder))
    delete_unused(f"{name}-*")
    (package,) = folder.glob("*.deb")
    return package


def _build(codename: str, folder: Path) -> None:
    if _is_native(codename):
        run(sys.executable, ROOT / "packaging" / "build_deb.py", "--fast", "--output", folder, timeout_s=900)
    else:
        epoch = run("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()
        build = ("/opt/build/bin/python", "/src/packaging/build_deb.py", "--fast", "--output", "/out")
        command = ("env", f"SOURCE_DATE_EPOCH={epoch}", *build)
        with tempfile.TemporaryDirectory() as source:  # without .git: the minimal system has no git
            for name in run("git", "-C", ROOT, "ls-files", "-z").split("\0")[:-1]:
                if (ROOT / name).is_file():  # a deleted file is still listed
                    Path(source, name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / name, Path(source, name))
            binds = {"/src": Path(source), "/out": folder}
            Debian(_build_system(codename)).run_with(binds, *command, timeout_s=900)


def _package_digest(codename: str) -> str:
    """Of all that the package is made from: the checkout without its tests, and the tools of the build."""
    listed = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *NOT_PACKAGED)
    names = sorted({*run("git", "-C", ROOT, *listed).split("\0")} - {""})
    digest = hashlib.sha256(_tools(codename).encode())
    for path in (ROOT / name for name in names):
        content = path.read_bytes() if path.is_file() else b""  # a deleted file is still listed
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _tools(codename: str) -> str:
    if not _is_native(codename):
        return _build_base(codename).name
    installed = {f"{each.name} {each.version}" for each in importlib.metadata.distributions()}
    return "\n".join([sys.version, *sorted(installed)])


def _build_system(codename: str) -> Path:
    """The minimal system with the build tools of `make deb` in /opt/build, stored for the next run."""
    return stored(_build_base(codename), lambda partial: _make_build_system(codename, partial))


def _make_build_system(codename: str, partial: Path) -> None:
    partial.rmdir()
    run("cp", "-a", "--reflink=auto", minimal_system(codename), partial)
    made = Debian(partial)
    _copy_of_this_machine(partial, "resolv.conf", "hosts")
    made.run("apt-get", "update", "-qq")
    made.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *BUILD)
    _copy_of_this_machine(partial, "ssl/certs/ca-certificates.crt")  # after the package wrote its own
    made.run("apt-get", "clean")
    made.run("python3", "-m", "venv", "/opt/build")
    shutil.copy(LOCK, partial / "opt/build/terminal.txt")
    install = ("/opt/build/bin/python", "-m", "pip", "install", "-q")
    made.run(*install, *_build_requirements())
    made.run(*install, "--require-hashes", "-r", "/opt/build/terminal.txt")  # for the man page


def _copy_of_this_machine(root: Path, *names: str) -> None:
    for name in names:
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)


def _build_requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required: list[str] = project["build-system"]["requires"]
    return required


def _build_base(codename: str) -> Path:
    parts = (INSIDE, BUILD, _build_requirements(), LOCK.read_text())
    what = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    return kept(f"{codename}-build-{what}")


@functools.cache
def minimal_system(codename: str = "", arch: str = "") -> Path:
    """The system of debootstrap, stored for the next run.

    ``arch``: Debian's name of another architecture, for which the kernel has an emulator.
    """
    return stored(_base(codename, arch), lambda partial: _bootstrap(codename, arch, partial))


def system_with(codename: str, packages: tuple[str, ...]) -> Path:
    """The minimal system with more packages of Debian, stored for the next run."""
    if not packages:
        return minimal_system(codename)
    return stored(_base_with(codename, packages), lambda partial: _add(codename, packages, partial))


def _add(codename: str, packages: tuple[str, ...], partial: Path) -> None:
    partial.rmdir()
    run("cp", "-a", "--reflink=auto", minimal_system(codename), partial)
    _copy_of_this_machine(partial, "resolv.conf", "hosts")
    made = Debian(partial)
    made.run("apt-get", "update", "-qq")
    install = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    made.run_with({}, *install, timeout_s=900)
    made.run("apt-get", "clean")


def _base_with(codename: str, packages: tuple[str, ...]) -> Path:
    if not packages:
        return _base(codename)
    what = hashlib.sha256(repr((_base(codename).name, packages)).encode()).hexdigest()[:8]
    return kept(f"{codename or release()}-{packages[0]}-{what}")


def _bootstrap(codename: str, arch: str, partial: Path) -> None:
    kind = (f"--arch={arch}",) if arch else ()
    options = ("--variant=minbase", f"--include={INSIDE}", *kind)
    run("debootstrap", *options, codename or release(), partial, mirror(), timeout_s=900)
    shutil.rmtree(partial / "var/cache/apt/archives")


def _base(codename: str = "", arch: str = "") -> Path:
    what = hashlib.sha256(f"{INSIDE} {arch or platform.machine()}".encode()).hexdigest()[:8]
    return kept(f"{codename or release()}-{what}")


def mirror() -> str:
    """The mirror that this machine's apt uses for its release; empty when there is none."""
    command = ("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)")
    for line in run(*command).splitlines():
        codename, component, uri = line.split(" ", 2)
        if (codename, component) == (release(), "main"):
            return uri
    return ""


def _child_of(machine: subprocess.Popen[bytes]) -> int:
    """The process id of the container's PID 1 on this machine: the only child of nspawn."""
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert machine.poll() is None, f"systemd-nspawn ended with {machine.returncode}"
        for pid in map(int, children.read_text().split()):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"systemd"):
                return pid
        time.sleep(0.05)
    raise AssertionError("the machine did not boot within 90 s")
