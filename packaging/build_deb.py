"""Make the Debian package: a ready Python environment under /opt/facepay-agent, units, config, licences.

`make deb` runs it. It needs no root and nothing of Debian's build tools but dpkg-deb. What is inside and why:
docs/reference/packaging.md.
"""

from __future__ import annotations

import argparse
import compileall
import hashlib
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
import tomllib
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
OPT = Path("opt/facepay-agent")
DOC = Path("usr/share/doc/facepay-agent")
EXTRAS = "demo,terminal"

# Debian release -> its number, its Python, its glibc (which wheels may ask for)
RELEASES = {"bookworm": (12, (3, 11), 36), "trixie": (13, (3, 13), 41)}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

# source in the repository -> place on the terminal
FILES = {
    "config/agent.toml": "etc/facepay-agent/agent.toml",
    "config/service.toml": "etc/facepay-agent/service.toml",
    "systemd/facepay-agent.service": "usr/lib/systemd/system/facepay-agent.service",
    "systemd/facepay-compare.service": "usr/lib/systemd/system/facepay-compare.service",
    "systemd/facepay.sysusers": "usr/lib/sysusers.d/facepay-agent.conf",
    "systemd/facepay.tmpfiles": "usr/lib/tmpfiles.d/facepay-agent.conf",
    "README.md": f"{DOC}/README.md",
    "CHANGELOG.md": f"{DOC}/CHANGELOG.md",
    "config/facepay.asyncapi.yaml": f"{DOC}/examples/facepay.asyncapi.yaml",
    "config/mosquitto/mosquitto.conf": f"{DOC}/examples/mosquitto.conf",
    "config/mosquitto/acl": f"{DOC}/examples/mosquitto.acl",
    "config/grafana/facepay.json": f"{DOC}/examples/grafana.json",
}

PROGRAM = """#!/opt/facepay-agent/bin/python3
import sys

from agent.cli import main

sys.exit(main())
"""


def main() -> None:
    options = _options()
    number, python, glibc = RELEASES[options.release]
    if sys.version_info[:2] != python:
        sys.exit(
            f"{options.release} has Python {python[0]}.{python[1]}, this is {platform.python_version()}: "
            "the package carries bytecode, so build it with the same (make deb PYTHON=python3.N)"
        )
    os.environ.setdefault("SOURCE_DATE_EPOCH", _commit_time())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    version = f"{version}+deb{number}"
    with tempfile.TemporaryDirectory(prefix="facepay-deb-") as scratch:
        wheels, tree = Path(scratch, "wheels"), Path(scratch, "tree")
        collect(wheels, options.arch, glibc)
        site = fill_environment(tree, wheels, options.arch, glibc)
        copy_files(tree)
        collect_licences(tree, site)
        write_control(tree, version, options.arch, options.release)
        set_modes(tree)
        options.output.mkdir(parents=True, exist_ok=True)
        package = options.output / f"facepay-agent_{version}_{options.arch}.deb"
        _run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z12", "--build", tree, package)
    print(package)


def collect(wheels: Path, arch: str, glibc: int) -> None:
    """Our wheel and all it needs, as wheels; what has no wheel is built, on its own architecture only."""
    pip = (sys.executable, "-m", "pip")
    _run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT)
    (ours,) = wheels.glob("facepay_agent-*.whl")
    wanted = f"{ours}[{EXTRAS}]"
    if arch == _this_arch():
        _run(*pip, "wheel", "--quiet", "--wheel-dir", wheels, wanted)
    else:
        _run(*pip, "download", "--quiet", "--dest", wheels, *_platforms(arch, glibc), wanted)


def fill_environment(tree: Path, wheels: Path, arch: str, glibc: int) -> Path:
    """A virtual environment on the system's Python, written down instead of made. Returns site-packages.

    Three things make one: ``pyvenv.cfg``, a link to the interpreter, site-packages.
    """
    site = tree / OPT / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-index", "--no-deps")
    cross = () if arch == _this_arch() else _platforms(arch, glibc)
    _run(*pip, *cross, "--target", site, *sorted(wheels.glob("*.whl")))
    shutil.rmtree(site / "bin", ignore_errors=True)  # start scripts with this machine's interpreter in them
    for name in ("direct_url.json", "RECORD"):  # where pip found a wheel is this machine's business
        for path in site.glob(f"*.dist-info/{name}"):
            path.unlink()
    (tree / OPT / "bin").mkdir()
    (tree / OPT / "bin" / "python3").symlink_to("/usr/bin/python3")
    (tree / OPT / "bin" / "facepay").write_text(PROGRAM)
    # The system's packages stay visible behind ours: libcamera's binding exists nowhere else.
    (tree / OPT / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = true\nversion = {platform.python_version()}\n"
    )
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/facepay").symlink_to(f"/{OPT}/bin/facepay")
    # Bytecode that is valid by itself: the service cannot write any, and file times do not matter.
    compileall.compile_dir(
        site,
        quiet=2,  # some wheels carry templates that are no Python; the interpreter will not load them either
        stripdir=str(tree),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        workers=0,
    )
    return site


def copy_files(tree: Path) -> None:
    for source, place in FILES.items():
        target = tree / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, target)


def collect_licences(tree: Path, site: Path) -> None:
    """Every licence text of every wheel, and a list that says what each declares.

    Raises:
        SystemExit: a wheel without a licence text; nobody may pass it on before a person has looked.
    """
    lines = [(HERE / "copyright").read_text(), "Python packages in this package:", ""]
    for info in sorted(site.glob("*.dist-info")):
        about = HeaderParser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
        name, version = about["Name"], about["Version"]
        texts = [path for path in sorted(info.rglob("*")) if path.is_file() and _is_licence(path.name)]
        if not texts:
            sys.exit(f"{name} {version} has no licence text in its wheel")
        folder = tree / DOC / "third-party" / name
        for path in texts:
            target = folder / path.relative_to(info).as_posix().removeprefix("licenses/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        lines.append(f"  {name} {version}: {_declared(about)}")
    (tree / DOC / "copyright").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_control(tree: Path, version: str, arch: str, release: str) -> None:
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
    """The modes of the files must not depend on the umask of who builds."""
    programs = {tree / "DEBIAN" / name for name in ("postinst", "prerm", "postrm")}
    programs.add(tree / OPT / "bin" / "facepay")
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    parser.add_argument(
        "--release", choices=RELEASES, default=release, help="Debian release (this machine's)"
    )
    parser.add_argument(
        "--arch", choices=MACHINES, default=_this_arch(), help="architecture (this machine's)"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the package (dist)")
    options = parser.parse_args()
    if options.release not in RELEASES:
        parser.error(f"this machine is no Debian of {', '.join(RELEASES)}: say --release")
    return options


def _this_arch() -> str:
    return next((arch for arch, name in MACHINES.items() if name == platform.machine()), "amd64")


def _platforms(arch: str, glibc: int) -> tuple[str, ...]:
    """pip's words for: wheels of another architecture, for a system with this glibc 2.x."""
    machine = MACHINES[arch]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)] + [f"manylinux2014_{machine}"]
    return ("--only-binary=:all:", "--implementation=cp", *(f"--platform={tag}" for tag in tags))


def _md5(path: Path) -> str:
    """dpkg's own check of installed files; it guards against rot, not against people."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _is_licence(name: str) -> bool:
    return name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS"))


def _declared(about: Message) -> str:
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if "License" in line]
    return about["License-Expression"] or about["License"] or ", ".join(classifiers) or "see its text"


def _commit_time() -> str:
    """Of the last commit, so that the same source gives the same package; else of the changelog."""
    asked = ("git", "-C", str(ROOT), "log", "-1", "--format=%ct")
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    return done.stdout.strip() or str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "is ignored" not in line]
        sys.exit("\n".join([f"{Path(str(command[0])).name} ended with {done.returncode}", *said[-15:]]))


if __name__ == "__main__":
    main()
